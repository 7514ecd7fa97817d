"""``tom archive``: the mirror of conversations: how far it is behind, write it again, compare it."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from tom.cli.directory import locate
from tom.cli.operator import ask_agent, whose
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table

LOOK_SECONDS: Final = 0.5
SAY_SECONDS: Final = 5.0
_STATES: Final = {"ok": "holds everything", "catching_up": "is catching up", "unreachable": "takes nothing now"}
_AWAY: Final = "what waits is kept, and told as soon as the archive takes it; settings are tried by: tom config check"

app = typer.Typer(help="The mirror of conversations in another database.", no_args_is_help=True)

UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Whose (default: the only user there is).")
]
UrlOption = Annotated[str, typer.Option("--url", metavar="URL", help="Ask the agent that runs alone there instead.")]


@app.callback()
def commands() -> None:
    """The mirror of conversations in another database."""


@app.command()
def status(user: UserOption = None, url: UrlOption = "", data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say how far the archive is behind. Status 1: something is parked; 7: the archive takes nothing now."""
    ask = _asking(user, url, data)
    found = ask("GET", "/archive")
    if as_json:
        document(found)
    elif found["backend"] == "none":
        print("No archive is configured (HISTORY_STORAGE_BACKEND).")
    else:
        print(f"{found['backend']}: {_STATES[found['state']]}{_because(found)}")
        print(f"waiting: {found['waiting']}, the oldest for {_lasting(found['lag_seconds'])}")
        if found["parked"]:
            rows = [(row["session_id"], row["kind"], str(row["seq"]), row["reason"]) for row in found["parked"]]
            print("Refused ten times, and parked with what comes after it:")
            table(("conversation", "what", "seq", "reason"), rows)
            print("When the cause is gone: tom archive rebuild")
    raise typer.Exit(_ending(found))


@app.command()
def rebuild(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until all of it is written.")] = True,
    user: UserOption = None,
    url: UrlOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write everything to the archive again; what it has stays as it is. Parked records are tried again.

    Status 1: something is parked; 7: the archive takes nothing now. The agent goes on when this command is ended.
    """
    ask = _asking(user, url, data)
    _configured(ask)
    total = int(ask("POST", "/archive/rebuild")["waiting"])
    found = _watch(ask, total) if wait else ask("GET", "/archive")
    if as_json:
        document({"queued": total, **found})
    elif not wait:
        print(f"Queued: {total}. How it goes on: tom archive status")
    elif found["state"] == "ok":
        print(f"✅ Written again: {total}")
    if wait and found["state"] == "unreachable" and not as_json:
        raise Refused(_away(found), status=Status.UNREACHABLE, hint=_AWAY, code="archive_unavailable")
    raise typer.Exit(_ending(found))


@app.command()
def verify(user: UserOption = None, url: UrlOption = "", data: DataOption = None, as_json: JsonOption = False) -> None:
    """Compare the archive with the history, row for row. Status 1: they differ; 7: the archive takes nothing now."""
    ask = _asking(user, url, data)
    _configured(ask)
    sessions = messages = 0
    differences: list[dict[str, Any]] = []
    after, said = "", time.monotonic()
    while True:
        page = ask("POST", f"/archive/verify?after={quote(after, safe='')}")
        sessions += page["sessions"]
        messages += page["messages"]
        differences += page["differences"]
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            notice(f"⏳ {sessions} conversations compared …")
        if not page["next"]:
            break
        after = page["next"]
    if as_json:
        document({"sessions": sessions, "messages": messages, "differences": differences})
    elif differences:
        table(
            ("conversation", "seq", "difference"),
            [(row["session_id"], str(row["seq"] or "–"), row["what"]) for row in differences],
        )
        notice(f"❌ {len(differences)} differences in {sessions} conversations with {messages} messages")
        notice("   what is missing is written by: tom archive rebuild")
    else:
        print(f"✅ Equal: {sessions} conversations with {messages} messages")
    raise typer.Exit(Status.FAILED if differences else Status.DONE)


def _asking(user: str | None, url: str, data: str | None) -> Callable[[str, str], Any]:
    place = locate(data)
    person = whose(place, user, url=url)
    return lambda method, path: ask_agent(place, person, method, path, url=url)


def _configured(ask: Callable[[str, str], Any]) -> None:
    if ask("GET", "/archive")["backend"] == "none":
        hint = "HISTORY_STORAGE_BACKEND names one: mysql, mongodb or redis"
        raise Refused("No archive is configured", status=Status.UNUSABLE, hint=hint, code="archive_not_configured")


def _watch(ask: Callable[[str, str], Any], total: int) -> Any:
    """Wait until nothing can be told any more, and say now and then how far it is."""
    said = time.monotonic()
    while True:
        found = ask("GET", "/archive")
        if found["state"] != "catching_up" or _stuck(found):
            return found
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            notice(f"⏳ {max(0, total - found['waiting'])} of {total} written …")
        time.sleep(LOOK_SECONDS)


def _stuck(found: Any) -> bool:
    """Whether only what is parked is left, and what waits behind it."""
    return bool(found["parked"]) and found["waiting"] <= found["held"]


def _because(found: Any) -> str:
    return f": {found['reason']}" if found["reason"] else ""


def _away(found: Any) -> str:
    return f"The archive takes nothing now{_because(found)}"


def _ending(found: Any) -> Status:
    if found["state"] == "unreachable":
        return Status.UNREACHABLE
    return Status.FAILED if found.get("parked") else Status.DONE


def _lasting(seconds: float) -> str:
    """A duration for people."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds:.0f} s"
