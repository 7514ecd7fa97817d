"""``tom doctor``: each part of the house looked at; what was seen, how it stands, and the act that cures it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict

from tom.cli.checks.agent import check_agent
from tom.cli.checks.archive import check_archive
from tom.cli.checks.finding import Check, Finding, House, Verdict, fail
from tom.cli.checks.history import check_history
from tom.cli.checks.machine import check_machine
from tom.cli.checks.outside import check_models, check_services
from tom.cli.checks.redis import check_redis
from tom.cli.checks.settings import check_settings, load
from tom.cli.directory import existing, holder, locate
from tom.cli.operator import of_agent_alone
from tom.cli.output import Status, document
from tom.config.agent import LogSettings
from tom.config.invalid import ConfigInvalid
from tom.telemetry import logs

CHECKS: tuple[Check, ...] = (
    check_machine,
    check_settings,
    check_agent,
    check_models,
    check_services,
    check_history,
    check_archive,
    check_redis,
)
_ICONS = {Verdict.OK: "✅", Verdict.WARN: "⚠️", Verdict.FAIL: "❌"}


def examine(data: str | None, *, as_json: bool) -> int:
    """Run every check and print what it found; status 1 when something does not work."""
    directory = existing(locate(data))
    alone = of_agent_alone(directory)
    try:
        settings = load(directory, alone=alone)
    except ConfigInvalid:
        settings = None
    logs.configure(LogSettings(level="ERROR"))
    house = House(directory, settings, holder(directory), alone=alone)
    findings = asyncio.run(_run(house, say=not as_json))
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    if as_json:
        document({"ok": not failed, "data": str(directory), "checks": [asdict(finding) for finding in findings]})
    else:
        warned = sum(finding.verdict is Verdict.WARN for finding in findings)
        print(f"\n{len(findings)} checks: {failed} failed, {warned} to look at")
    return Status.FAILED if failed else Status.DONE


async def _run(house: House, *, say: bool) -> list[Finding]:
    findings: list[Finding] = []
    for check in CHECKS:
        async for finding in _guarded(check, house):
            findings.append(finding)
            if say:
                _say(finding)
    return findings


async def _guarded(check: Check, house: House) -> AsyncGenerator[Finding]:
    """A check that breaks is a finding of its own, and the others are still made."""
    try:
        async for finding in check(house):
            yield finding
    except Exception as error:  # noqa: BLE001 - whatever it was, it is what the operator must know
        name = check.__name__.removeprefix("check_")
        yield fail(name, f"the check itself broke: {type(error).__name__}: {error}", "reinstall Tom: uv sync")


def _say(finding: Finding) -> None:
    print(f"{_ICONS[finding.verdict]} {finding.check:<15} {finding.seen}", flush=True)
    if finding.cure:
        print(f"   {'':<15} → {finding.cure}", flush=True)
