"""``tom approvals``: what waits for a person's yes, over the network, with the login of ``tom chat``.

An agent that runs alone on the data directory is asked at its control socket, unless an address or a person is named.

Statuses: 5 unknown, 6 changed or answered meanwhile, 8 it still waits. ``--yes`` does not exist here.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tom.cli.directory import locate
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, report, table

if TYPE_CHECKING:
    from tom.cli.answering import Desk

SHORTEST_DIGEST = 8
app = typer.Typer(help="See what waits for your yes, and answer it.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, or how it begins.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Address (default: TOM_URL, else https://localhost:8443).")
]
UserOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Log in as this person.")]
CaOption = Annotated[str | None, typer.Option("--ca", metavar="FILE", help="Trust this certificate.")]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Trust any certificate.")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="A word to Tom, at most 500 characters.")]


@dataclass(frozen=True, slots=True)
class _Way:
    """How the gateway is reached, and how it is answered here."""

    url: str | None
    user: str | None
    data: str | None
    ca: str | None
    insecure: bool
    password_stdin: bool
    as_json: bool


@app.command("list")
def list_(
    url: UrlOption = None,
    user: UserOption = None,
    data: DataOption = None,
    ca: CaOption = None,
    insecure: InsecureOption = False,
    password_stdin: StdinOption = False,
    as_json: JsonOption = False,
) -> None:
    """List what waits: calls that need a yes, and questions of services."""
    _run(_Way(url, user, data, ca, insecure, password_stdin, as_json), lambda door: _list(door, as_json=as_json))


@app.command()
def show(
    ask_id: IdArgument,
    url: UrlOption = None,
    user: UserOption = None,
    data: DataOption = None,
    ca: CaOption = None,
    insecure: InsecureOption = False,
    password_stdin: StdinOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show all of one: tool, class, reason, exact arguments, digest."""

    def work(door: "Desk") -> int:
        ask = _find(_pending(door), ask_id)
        if as_json:
            document(ask)
        else:
            _print(ask)
        return Status.DONE

    _run(_Way(url, user, data, ca, insecure, password_stdin, as_json), work)


@app.command()
def allow(
    ask_id: IdArgument,
    digest: Annotated[
        str,
        typer.Option("--digest", metavar="PREFIX", help="Allow without asking, if the arguments' digest begins so."),
    ] = "",
    edit: Annotated[bool, typer.Option("--edit", help="Edit the arguments first, in VISUAL or EDITOR.")] = False,
    remember: Annotated[
        str, typer.Option("--remember", metavar="HOW", help="'conversation': this tool may run in it from now on.")
    ] = "once",
    note: NoteOption = "",
    url: UrlOption = None,
    user: UserOption = None,
    data: DataOption = None,
    ca: CaOption = None,
    insecure: InsecureOption = False,
    password_stdin: StdinOption = False,
    as_json: JsonOption = False,
) -> None:
    """Allow one call, after showing its exact arguments and asking; scripts name the digest they mean."""
    if remember not in {"once", "conversation"}:
        raise Refused("--remember is 'once' or 'conversation'", status=Status.USAGE, code="usage")
    if edit and digest:
        raise Refused("--edit and --digest exclude each other", status=Status.USAGE, code="usage")

    def work(door: "Desk") -> int:
        from tom.cli.answering import decide

        ask = _find(_pending(door, "approvals"), ask_id)
        wanted = "Allow this tool for the whole conversation?" if remember != "once" else "Allow this once?"
        arguments = _confirmed(ask, wanted, digest=digest, edit=edit)
        recorded = decide(door, ask, "allow", arguments=arguments, note=note, remember=remember)
        return _tell(recorded, ask, as_json=as_json)

    _run(_Way(url, user, data, ca, insecure, password_stdin, as_json), work)


@app.command()
def deny(
    ask_id: IdArgument,
    note: NoteOption = "",
    url: UrlOption = None,
    user: UserOption = None,
    data: DataOption = None,
    ca: CaOption = None,
    insecure: InsecureOption = False,
    password_stdin: StdinOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deny one call; the run goes on without it."""

    def work(door: "Desk") -> int:
        from tom.cli.answering import decide

        ask = _find(_pending(door, "approvals"), ask_id)
        return _tell(decide(door, ask, "deny", note=note), ask, as_json=as_json)

    _run(_Way(url, user, data, ca, insecure, password_stdin, as_json), work)


# --- inside --------------------------------------------------------------------------------------------------------


def _run(way: _Way, work: "Callable[[Desk], int]") -> None:
    from tom.cli import client, signin

    place = signin.address(way.url)

    def enter() -> int:
        try:
            return work(_at_control_socket(way) or _logged_in(way, place))
        except client.Refusal as refusal:
            raise _refused(refusal) from refusal

    try:
        status = signin.guarded(place, enter)
    except Refused as refused:
        if not way.as_json:
            raise
        status = report(refused, as_json=True)
    raise typer.Exit(status)


def _logged_in(way: _Way, place: str) -> "Desk":
    from tom.cli import signin

    trusted = signin.certificates(way.data, way.ca)
    return signin.enter(place, user=way.user, trusted=trusted, insecure=way.insecure, password_stdin=way.password_stdin)


def _at_control_socket(way: _Way) -> "_OwnDoor | None":
    """The way to an agent that runs alone, whose operator is its person; None where another one is named or needed."""
    from tom.cli.operator import runs_alone

    if way.url or way.user or os.environ.get("TOM_URL", "").strip():
        return None
    data = locate(way.data)
    return _OwnDoor(data) if runs_alone(data) else None


@dataclass(frozen=True, slots=True)
class _OwnDoor:
    """The control socket of an agent alone; answers as the gateway's door does."""

    data: Path

    def get(self, path: str) -> Any:
        """The JSON at ``path``. Raises `Refusal`."""
        return self._answer("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send ``body`` and return the JSON of the answer. Raises `Refusal`."""
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Any = None) -> Any:
        from tom.cli import operator
        from tom.cli.client import Refusal

        status, answer = operator.ask_at_control_socket(self.data, method, path, body)
        if status == 200:
            return answer
        told = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
        error = cast("dict[str, Any]", told.get("error") or {})
        raise Refusal(status, error.get("message", f"HTTP {status}"), error.get("code", ""), error.get("details", {}))


def _refused(refusal: "Exception") -> Refused:
    from tom.cli.client import Refusal

    if not isinstance(refusal, Refusal):
        raise refusal
    if refusal.status == 404:
        return Refused(str(refusal), status=Status.NOT_FOUND, code=refusal.code or "approval_not_found")
    if refusal.status in {409, 410}:
        outcome = f" The answer was: {refusal.details['outcome']}." if refusal.details.get("outcome") else ""
        return Refused(f"{refusal}{outcome}", status=Status.CHANGED, code=refusal.code or "changed")
    status = Status.NOT_PERMITTED if refusal.status == 403 else Status.FAILED
    return Refused(str(refusal), status=status, code=refusal.code or "refused")


def _pending(door: "Desk", *kinds: str) -> list[Mapping[str, Any]]:
    """What waits, oldest first."""
    found: list[Mapping[str, Any]] = []
    for kind in kinds or ("approvals", "elicitations"):
        found += door.get(f"/{kind}")[kind]
    return sorted(found, key=lambda ask: ask["asked_at"])


def _find(pending: list[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    from tom.cli import asks

    found = [ask for ask in pending if asks.id_of(ask) == wanted] or [
        ask for ask in pending if wanted and asks.id_of(ask).startswith(wanted.upper())
    ]
    if len(found) > 1:
        raise Refused(f"Several ids begin with '{wanted}'", status=Status.USAGE, code="usage")
    if not found:
        raise Refused(
            f"Nothing with the id '{wanted}' waits",
            status=Status.NOT_FOUND,
            hint="tom approvals list",
            code="approval_not_found",
        )
    return found[0]


def _list(door: "Desk", *, as_json: bool) -> int:
    from tom.cli import asks

    pending = _pending(door)
    if as_json:
        approvals = [ask for ask in pending if asks.is_approval(ask)]
        document({"approvals": approvals, "elicitations": [ask for ask in pending if ask not in approvals]})
    elif not pending:
        notice("Nothing waits for you.")
    else:
        rows = [(asks.id_of(ask), *_times(ask), _cut(asks.title(ask))) for ask in pending]
        table(("ID", "ASKED (UTC)", "EXPIRES (UTC)", "WHAT"), rows)
    return Status.DONE


def _times(ask: Mapping[str, Any]) -> tuple[str, str]:
    asked, expires = (str(ask.get(name) or "never") for name in ("asked_at", "expires_at"))
    return asked[:16].replace("T", " "), expires[:16].replace("T", " ")


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:99]}…"


def _print(ask: Mapping[str, Any], *, beside: bool = False) -> None:
    from tom.cli import asks

    for line in [f"ID {asks.id_of(ask)}", *asks.lines_of(ask)]:
        (notice if beside else print)(line)


def _confirmed(ask: Mapping[str, Any], wanted: str, *, digest: str, edit: bool) -> Mapping[str, Any] | None:
    """The edited arguments, if any, once the person has said yes to exactly what is sent. Raises `Refused`."""
    from tom.cli import answering, asks

    if digest:
        _check_digest(ask, digest)
        return None
    _print(ask, beside=True)
    if not sys.stdin.isatty():
        raise Refused(
            "It still waits: nobody is here to be asked",
            status=Status.WAITING,
            hint=f"name what is meant: --digest {asks.short_digest(ask)}",
            code="waiting",
        )
    arguments = None
    if edit:
        try:
            arguments = answering.edited(ask)
        except answering.EditFailed as failure:
            raise Refused(f"{failure}. It still waits", status=Status.WAITING, code="waiting") from failure
        if arguments is not None:
            notice("Edited arguments:\n" + asks.arguments_text(arguments))
    notice(f"{wanted} Type yes:")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("It still waits: it was not allowed", status=Status.WAITING, code="waiting")
    return arguments


def _check_digest(ask: Mapping[str, Any], digest: str) -> None:
    prefix = digest.removeprefix("sha256:").lower()
    if len(prefix) < SHORTEST_DIGEST:
        message = f"--digest takes at least {SHORTEST_DIGEST} characters"
        raise Refused(message, status=Status.USAGE, code="usage")
    if not str(ask["arguments_digest"]).removeprefix("sha256:").startswith(prefix):
        raise Refused(
            "These are not the arguments that wait; nothing was allowed",
            status=Status.CHANGED,
            hint="tom approvals show ID",
            code="arguments_changed",
        )


def _tell(recorded: Mapping[str, Any], ask: Mapping[str, Any], *, as_json: bool) -> int:
    from tom.cli import asks

    if as_json:
        document(recorded)
    else:
        notice(f"{'✓ Allowed' if recorded['decision'] == 'allow' else '✓ Denied'}: {asks.title(ask)}")
    return Status.DONE
