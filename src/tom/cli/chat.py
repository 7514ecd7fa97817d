"""``tom chat``: talk with Tom in a terminal, or ask one thing from a script."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tom.cli.options import DataOption
from tom.cli.output import Refused, Status, document, notice, table, usage

if TYPE_CHECKING:
    from tom.cli.client import Door
    from tom.cli.talk import Talk
    from tom.cli.terminal import Show


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done once one is in."""

    text: str | None
    conversation: str | None
    fresh: bool
    as_json: bool


def chat(
    text: Annotated[str | None, typer.Argument(help="Say this, print the answer, and end.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Address (default: TOM_URL, else https://localhost:8443).")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Log in as this person.")] = None,
    conversation: Annotated[
        str | None, typer.Option("--conversation", metavar="ID", help="Go on with this conversation.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--new", help="Begin a new conversation (with TEXT the default).")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the conversations and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every frame as one line of JSON on stdout.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
    ] = False,
    data: DataOption = None,
    ca: Annotated[str | None, typer.Option("--ca", metavar="FILE", help="Trust this certificate.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Trust any certificate.")] = False,
) -> None:
    """Talk with Tom: streamed answers, tool calls, history. Without TEXT and with a pipe, stdin is the text.

    The password is asked for, or taken from TOM_PASSWORD or stdin; the login is kept for the next time.
    """
    from tom.cli import signin

    if conversation and fresh:
        usage("--conversation and --new exclude each other")
    place = signin.address(url)
    wanted = Wanted(text, conversation, fresh, as_json)

    def work() -> int:
        trusted = signin.certificates(data, ca)
        door = signin.enter(place, user=user, trusted=trusted, insecure=insecure, password_stdin=password_stdin)
        return _list(door, as_json=as_json) if listing else _talk(door, wanted)

    try:
        status = signin.guarded(place, work)
    except Refused as refused:
        if not as_json:
            raise
        print(json.dumps({"error": {"code": refused.code, "message": refused.message}}), flush=True)
        status = int(refused.status)
    raise typer.Exit(status)


def _list(door: "Door", *, as_json: bool) -> int:
    from tom.cli.terminal import clean_line

    rows = door.sessions(200)
    if as_json:
        document({"sessions": rows})
        return Status.DONE
    cells = [(row["id"], row["state"], row["updated_at"][:16].replace("T", " "), row["title"] or "") for row in rows]
    table(("ID", "STATE", "UPDATED (UTC)", "TITLE"), [tuple(clean_line(cell) for cell in row) for row in cells])
    return Status.DONE


def _talk(door: "Door", wanted: Wanted) -> int:
    from tom.cli.client import Line
    from tom.cli.dialogue import Dialogue
    from tom.cli.talk import Presses, Talk

    text = wanted.text
    if text is None and not sys.stdin.isatty():
        text = sys.stdin.read()
    if text is not None and not text.strip():
        usage("There is nothing to say: TEXT is empty")
    line = Line(door)
    line.open()
    with Presses() as presses:
        show = _show(wanted, one_shot=text is not None)
        talk = Talk(line, show, presses)
        try:
            if text is None:
                return Dialogue(door, talk, show, presses).run(wanted.conversation, fresh=wanted.fresh)
            return _ask_once(door, talk, wanted, text)
        finally:
            show.close()
            line.close()


def _show(wanted: Wanted, *, one_shot: bool) -> "Show":
    from tom.cli.terminal import AnswerOnly, JsonLines, Terminal

    if wanted.as_json:
        return JsonLines()
    if one_shot and not sys.stdout.isatty():
        return AnswerOnly()
    from rich.console import Console

    return Terminal(Console(highlight=False))


def _ask_once(door: "Door", talk: "Talk", wanted: Wanted, text: str) -> int:
    """Say one thing and wait for its answer, or for what it asks; earlier messages are not shown."""
    from tom.cli.follow import Ended, Waits
    from tom.cli.talk import Interrupted

    talk.turn_to(wanted.conversation, door.last_seq(wanted.conversation) if wanted.conversation else None)
    try:
        talk.catch_up()
        request_id = talk.say(text)
        end = talk.answer(request_id)
        if isinstance(end, Waits):
            talk.quiet()
            for name in talk.follower.open:
                notice(f"   tom approvals show {name}")
            return Status.WAITING
        if wanted.as_json:
            talk.close(request_id)
    except Interrupted:
        notice(f"What is going on goes on: tom chat --conversation {talk.follower.conversation_id}")
        return Status.INTERRUPTED
    if not isinstance(end, Ended) or end.state == "failed":
        return Status.FAILED
    return Status.DONE if end.state == "completed" else Status.INTERRUPTED
