"""What commands say to people and to scripts: results on stdout, notices and errors on stderr, one exit status each.

With ``--json`` there is one document on stdout, an error is ``{"error": {"code", "message", "hint"?}}`` there.
"""

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NoReturn

from tom.errors import CallerError, OperatorError, RemoteError, TomError


class Status(IntEnum):
    """Exit statuses of commands. Programs that serve end with 0 or 1."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNUSABLE = 3
    NOT_PERMITTED = 4
    NOT_FOUND = 5
    CHANGED = 6
    UNREACHABLE = 7
    WAITING = 8
    INTERRUPTED = 130


class Refused(Exception):
    """A command ends here: ``message`` says what happened and why, ``hint`` what to do."""

    def __init__(self, message: str, *, status: Status = Status.FAILED, hint: str = "", code: str = "failed") -> None:
        """``status`` is the exit status; ``code`` a stable word for scripts."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint
        self.code = code


def refusal(error: Exception, *, serving: bool = False) -> Refused:
    """The end of a command that met ``error``. Programs that serve know no status but 1."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TomError):
        status = Status.FAILED if serving else _status(error)
        return Refused(error.message, status=status, code=error.code)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return Refused(f"{error.strerror or error}{where}", code="os_error")
    raise error


def report(end: Refused, *, as_json: bool = False) -> int:
    """Say it where it belongs; returns the exit status."""
    if as_json:
        error = {"code": end.code, "message": end.message.removeprefix("❌ ")} | (
            {"hint": end.hint} if end.hint else {}
        )
        document({"error": error})
    else:
        for line in end.message.splitlines() or [""]:
            notice(line if line[:1] in {"❌", "⚠"} or line.startswith("config:") else f"❌ {line}")
        if end.hint:
            notice(f"   {end.hint}")
    return int(end.status)


def document(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def notice(text: str) -> None:
    """A line for people, beside the result."""
    print(text, file=sys.stderr)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table on stdout: columns as wide as their contents."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def usage(message: str) -> NoReturn:
    """End with status 2: the command was not given as it must be."""
    raise Refused(message, status=Status.USAGE, code="usage")


def _status(error: TomError) -> Status:
    if error.http_status == 404 or error.code in {"unknown_user", "user_not_configured"}:
        return Status.NOT_FOUND
    if error.http_status in {401, 403}:
        return Status.NOT_PERMITTED
    for kind, status in (
        (OperatorError, Status.UNUSABLE),
        (RemoteError, Status.UNREACHABLE),
        (CallerError, Status.FAILED),
    ):
        if isinstance(error, kind):
            return status
    return Status.FAILED
