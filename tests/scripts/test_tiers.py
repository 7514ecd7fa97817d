"""The runner of the tiers counts what happened, stops at nothing, and leaves nothing running."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def tiers(repository, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("tiers_under_test", repository / "scripts" / "tiers.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOGS", tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def shell(tiers, name, text):
    return tiers.Check(name, ("bash", "-c", text))


def pytest_of(tiers, tmp_path, text):
    path = tmp_path / "test_case.py"
    path.write_text(text)
    return tiers.Check("case", (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)), pytest=True)


def test_a_failing_check_does_not_stop_the_next(tiers, capsys):
    outcome = tiers.run_tier(tiers.Tier("t", (shell(tiers, "a", "echo sorry; exit 3"), shell(tiers, "b", "true")), 30))
    assert (outcome.passed, outcome.failed) == (1, 1)
    assert "sorry" in capsys.readouterr().out


def test_a_pytest_run_counts_its_tests_and_a_skipped_one_as_failed(tiers, tmp_path):
    text = (
        "import pytest\n\ndef test_a(): pass\n\n@pytest.mark." + "skip\ndef test_b(): pass\n\ndef test_c(): assert 0\n"
    )
    outcome = tiers.run_tier(tiers.Tier("t", (pytest_of(tiers, tmp_path, text),), 60))
    assert (outcome.passed, outcome.failed) == (1, 2)


def test_a_pytest_run_that_breaks_off_is_a_failure(tiers, tmp_path):
    outcome = tiers.run_tier(tiers.Tier("t", (pytest_of(tiers, tmp_path, "import os\nos._exit(0)\n"),), 60))
    assert (outcome.passed, outcome.failed) == (0, 1)


async def test_a_tier_ends_at_its_time_with_all_it_started(tiers, tmp_path, until):
    mark = tmp_path / "pid"
    outcome = tiers.run_tier(tiers.Tier("t", (shell(tiers, "a", f"sleep 300 & echo $! > {mark}; wait"),), 1))
    assert outcome.failed == 1
    await until(lambda: not running(mark.read_text().strip()), what="the sleeper has ended")


async def test_who_ends_the_runner_ends_what_it_has_started(repository, tmp_path, until):
    mark = tmp_path / "pid"
    program = (
        f"import sys; sys.path.insert(0, {str(repository / 'scripts')!r}); import tiers, pathlib\n"
        f"tiers.LOGS = tiers.ROOT = pathlib.Path({str(tmp_path)!r})\n"
        f"check = tiers.Check('a', ('bash', '-c', 'echo $$ > {mark}; sleep 300'))\n"
        "tiers.tiers = lambda **_: [tiers.Tier('t', (check,), 60)]\n"
        "tiers.main([])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    await until(lambda: mark.exists() and mark.read_text().strip())
    process.terminate()
    assert process.wait(30) == 143
    await until(lambda: not running(mark.read_text().strip()), what="the sleeper has ended")


def running(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_missing_program_is_named_and_fails_in_ci_only(tiers, monkeypatch):
    tier = tiers.Tier("t", (shell(tiers, "a", "true"),), 30, needs=(("no-such-program",),))
    monkeypatch.delenv("CI", raising=False)
    assert tiers.run_tier(tier).failed == 0
    monkeypatch.setenv("CI", "true")
    outcome = tiers.run_tier(tier)
    assert (outcome.failed, outcome.note) == (1, "not run: no-such-program is not installed")


def test_the_last_line_sums_up_and_the_status_says_whether_all_is_well(tiers, capsys):
    good, bad = tiers.Outcome(passed=3), tiers.Outcome(passed=1, failed=1)
    assert tiers.summary({"a": good}) == 0
    assert tiers.summary({"a": good, "b": bad}) == 1
    assert capsys.readouterr().out.endswith("\n4 passed, 1 failed\n")
    assert tiers.summary({}) == 1
