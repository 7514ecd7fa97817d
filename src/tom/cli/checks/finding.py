"""What a check found."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tom.config.settings import Settings


class Verdict(StrEnum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, how it stands, what was seen, and the act that cures it."""

    check: str
    verdict: Verdict
    seen: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class House:
    """What the checks look at. ``settings`` None: they are not valid. ``gateway``: the pid of the one that runs.

    ``alone``: an agent that runs alone lives here: it has no people, no certificate and no gateway.
    """

    directory: Path
    settings: Settings | None
    gateway: int | None
    alone: bool = False


type Check = Callable[[House], AsyncGenerator[Finding]]


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, seen)


def warn(check: str, seen: str, cure: str) -> Finding:
    """It works, but not as it should."""
    return Finding(check, Verdict.WARN, seen, cure)


def fail(check: str, seen: str, cure: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAIL, seen, cure)
