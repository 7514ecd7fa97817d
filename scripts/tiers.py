"""Run the tiers of the test suite one after another and say what happened.

A tier is a list of commands. Each command either is a pytest run, whose counts are read from its JUnit report, or
counts as one test of its own. A tier that fails does not stop the next one. The last line printed is
``N passed, N failed``; the exit status is 1 when anything failed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
LOGS = ROOT / ".tools" / "logs"
TAIL_LINES = 60
STOP_SECONDS = 20
KERNEL = ("tests/conversation", "tests/policy", "tests/store", "tests/contracts")
COVERED = "src/tom/conversation/*,src/tom/policy/*,src/tom/store/*"
PARALLEL = ("-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile")
QUICK = "not slow and not trust and not browser and not services"


@dataclass(frozen=True, slots=True)
class Check:
    """One command. ``pytest``: its counts come from a JUnit report; otherwise it is one test by itself."""

    name: str
    command: tuple[str, ...]
    pytest: bool = False


@dataclass(frozen=True, slots=True)
class Tier:
    """Commands that belong together. ``needs``: programs, one of each group must be on the PATH."""

    name: str
    checks: tuple[Check, ...]
    seconds: int
    needs: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class Outcome:
    """What a tier came to. ``note`` says why it did not run."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    note: str = ""


def tool(name: str, *arguments: str) -> Check:
    """A tool of the environment."""
    return Check(name, (str(BIN / name), *arguments))


def tests(name: str, marks: str, *arguments: str) -> Check:
    """A pytest run of the tests with these marks."""
    return Check(
        name, (str(BIN / "python"), "-m", "pytest", "-v", "--durations=12", "-m", marks, *arguments), pytest=True
    )


def covered(name: str, marks: str) -> tuple[Check, ...]:
    """The kernel's tests under coverage, then the demand for every branch."""
    run = tests(name, marks, *(folder for folder in KERNEL if (ROOT / folder).is_dir()))
    rcfile = f"--data-file={LOGS / 'coverage'}"
    return (
        Check(name, (str(BIN / "coverage"), "run", rcfile, f"--include={COVERED}", *run.command[1:]), pytest=True),
        tool("coverage", "combine", "--quiet", rcfile, str(LOGS)),
        tool(
            "coverage", "report", rcfile, "--fail-under=100", "--show-missing", "--skip-covered", f"--include={COVERED}"
        ),
    )


def tiers(*, fast: bool, trust: bool) -> list[Tier]:
    """The tiers of this run, in order."""
    elsewhere = tuple(f"--ignore={folder}" for folder in (*KERNEL, "tests/docs"))
    chosen = [
        Tier("check", checks(), 300),
        Tier("kernel", covered("kernel", QUICK), 300),
        Tier("fast", (tests("fast", QUICK, *PARALLEL, *elsewhere),), 600),
    ]
    if fast:
        return chosen
    browser = (("chromium", "chromium-browser", "google-chrome"),)
    chosen += [
        Tier(
            "services",
            (tests("services", "services and not trust and not browser", *PARALLEL, "--ignore=tests/docs"),),
            1500,
        ),
        Tier(
            "slow",
            (tests("slow", "slow and not services and not trust and not browser", *PARALLEL, "--ignore=tests/docs"),),
            1800,
        ),
        Tier("browser", (tests("browser", "browser and not trust", "--ignore=tests/docs"),), 600, needs=browser),
        Tier("docs", (tests("docs", "not trust", "tests/docs"),), 600),
    ]
    if trust:
        chosen.append(Tier("trust", (tests("trust", "trust", "--timeout=3000"),), 3600, needs=browser))
    return chosen


def checks() -> tuple[Check, ...]:
    """What is read and not run."""
    return (
        tool("ruff", "check", "--quiet"),
        Check("ruff format", (str(BIN / "ruff"), "format", "--check", "--quiet")),
        tool("pyright"),
        tool("lint-imports"),
        tool("codespell"),
        tool("bandit", "-q", "-ll", "-c", "pyproject.toml", "-r", "src"),
    )


def counts(report: Path) -> tuple[int, int]:
    """Passed and failed tests of a JUnit report; a skipped one counts as failed, for nothing may be skipped silently."""
    suites = ET.parse(report).getroot().iter("testsuite")
    passed = failed = 0
    for suite in suites:
        total, bad = (
            int(suite.get("tests", 0)),
            sum(int(suite.get(kind, 0)) for kind in ("failures", "errors", "skipped")),
        )
        passed, failed = passed + total - bad, failed + bad
    return passed, failed


def run(check: Check, log: Path, report: Path, seconds: float) -> tuple[int, int]:
    """Run one command, at most ``seconds``; its output goes to ``log``. Returns passed and failed."""
    report.unlink(missing_ok=True)
    command = [*check.command, *([f"--junitxml={report}"] if check.pytest else [])]
    with log.open("a") as output:
        print("$", *command, file=output, flush=True)
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"ended after {seconds:.0f} s", file=output, flush=True)
            status = -1
        finally:
            end(process)
    if not check.pytest:
        return (1, 0) if status == 0 else (0, 1)
    passed, failed = counts(report) if report.exists() else (0, 0)
    # Status 5 is "no tests were collected": a tier may be empty; a run that broke off without a report may not.
    return passed, failed if status in {0, 1, 5} and (report.exists() or status == 5) else failed + 1


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def missing(tier: Tier) -> str:
    """Which program this tier needs and the machine does not have."""
    return ", ".join(group[0] for group in tier.needs if not any(shutil.which(name) for name in group))


def run_tier(tier: Tier) -> Outcome:
    """Run a tier's commands; print what failed."""
    outcome = Outcome()
    started = time.monotonic()
    if absent := missing(tier):
        outcome.note = f"not run: {absent} is not installed"
        outcome.failed = 1 if os.environ.get("CI") else 0
        return outcome
    for number, check in enumerate(tier.checks):
        log = LOGS / f"{tier.name}-{number}-{check.name.replace(' ', '-')}.log"
        log.unlink(missing_ok=True)
        left = max(1.0, tier.seconds - (time.monotonic() - started))
        passed, failed = run(check, log, log.with_suffix(".xml"), left)
        outcome.passed, outcome.failed = outcome.passed + passed, outcome.failed + failed
        if failed:
            tail = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
            print(f"❌ {tier.name}: {check.name} ({log.relative_to(ROOT)})", *tail, sep="\n    ", flush=True)
    outcome.seconds = time.monotonic() - started
    return outcome


def summary(outcomes: dict[str, Outcome]) -> int:
    """Print the table and the closing line; return the exit status."""
    print(f"\n{'tier':<10} {'passed':>7} {'failed':>7} {'seconds':>8}")
    for name, outcome in outcomes.items():
        print(f"{name:<10} {outcome.passed:>7} {outcome.failed:>7} {outcome.seconds:>8.1f}  {outcome.note}".rstrip())
    passed, failed = (sum(getattr(outcome, key) for outcome in outcomes.values()) for key in ("passed", "failed"))
    print(f"{'all':<10} {passed:>7} {failed:>7} {sum(outcome.seconds for outcome in outcomes.values()):>8.1f}\n")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Run the tiers of the test suite.")
    parser.add_argument("--fast", action="store_true", help="checks, kernel and fast tests only")
    parser.add_argument("--trust", action="store_true", help="the long proofs as well")
    parser.add_argument("--only", metavar="TIER", action="append", default=[], help="only this tier")
    options = parser.parse_args(arguments)
    LOGS.mkdir(parents=True, exist_ok=True)
    # Whoever ends this program ends what it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes: dict[str, Outcome] = {}
    for tier in tiers(fast=options.fast, trust=options.trust):
        if options.only and tier.name not in options.only:
            continue
        print(f"⏳ {tier.name} …", flush=True)
        outcomes[tier.name] = outcome = run_tier(tier)
        icon = "❌" if outcome.failed else "⚠️" if outcome.note else "✅"
        print(
            f"{icon} {tier.name}: {outcome.note or f'{outcome.passed} passed, {outcome.failed} failed'} ({outcome.seconds:.0f} s)",
            flush=True,
        )
    return summary(outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
