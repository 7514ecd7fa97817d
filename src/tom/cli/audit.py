"""``tom audit``: whether the record of logins and admins' acts is as it was written, and what is in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tom.cli.directory import existing, holder, locate
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table

MOST: Final = 1000
_GATEWAY: Final = ("gateway", "gateway.db")
_ALONE: Final = ("users/local", "door.db")

app = typer.Typer(help="The record of logins and of what admins did.", no_args_is_help=True)

AloneOption = Annotated[
    bool, typer.Option("--standalone", help="That of the agent that runs alone (tom agent --standalone).")
]


@app.callback()
def commands() -> None:
    """The record of logins and of what admins did."""


@app.command()
def verify(standalone: AloneOption = False, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check every entry from the first one on. Status 0: all is as it was written; 1: it is not, and where."""
    place = existing(locate(data))
    found = _asked(place, "/audit/verify", alone=standalone)
    if found is None:
        found = _checked(_file(place, alone=standalone))
    if as_json:
        document(found)
    elif found["ok"]:
        sealed = f", {found['sealed']} of them sealed" if found["sealed"] else ""
        print(f"✅ {found['count']} entries hold{sealed}; the last is {found['head'][:16]}…")
    else:
        print(f"❌ The record is not as it was written: {found['reason']}")
        notice(f"   {found['count']} entries before that hold; compare with a copy of the head file and with backups")
    raise typer.Exit(Status.DONE if found["ok"] else Status.FAILED)


@app.command()
def show(
    after: Annotated[
        int | None, typer.Option("--after", metavar="N", min=0, help="Entries behind number N (default: the newest).")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=MOST, help="How many at most.")] = 50,
    standalone: AloneOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show entries, oldest first: when, what, who, from where, about what."""
    place = existing(locate(data))
    query = f"/audit?limit={limit}" + ("" if after is None else f"&after={after}")
    found = _asked(place, query, alone=standalone)
    entries: list[dict[str, Any]] = found["entries"] if found else _read(_file(place, alone=standalone), after, limit)
    if as_json:
        document({"entries": entries})
        return
    if not entries:
        notice("Nothing is recorded there")
        return
    rows = [
        (str(row["number"]), row["at"], row["kind"], _plain(row["who"]), _plain(row["source"]), _plain(row["subject"]))
        for row in entries
    ]
    table(("entry", "when", "what", "who", "from", "about"), rows)


def _asked(data: Path, path: str, *, alone: bool) -> dict[str, Any] | None:
    """What the running gateway answers; None where none runs. The record of an agent alone is read from its file."""
    if alone or holder(data) is None:
        return None
    import asyncio

    from tom.gateway.agentlink import LinkError
    from tom.gateway.controlclient import ask_gateway

    try:
        status, answer = asyncio.run(ask_gateway(data, "GET", path, seconds=600))
    except LinkError as error:
        raise Refused(
            f"The running gateway does not answer: {error}", status=Status.UNREACHABLE, code="gateway_unreachable"
        ) from error
    if status != 200:
        raise Refused(str(answer.get("message", status)), code=str(answer.get("code", "failed")))
    return answer


def _file(data: Path, *, alone: bool) -> Path:
    """The database that holds the record."""
    choices = [_ALONE] if alone else [_GATEWAY, _ALONE]
    for directory, name in choices:
        if (path := data / directory / name).exists():
            return path
    raise Refused(
        f"There is no record in {data} yet",
        status=Status.NOT_FOUND,
        hint="it begins with the first start: tom up, or tom agent --standalone",
        code="no_record",
    )


def _checked(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from tom.audit.checking import check

    return _with_file(path, lambda connection: asdict(check(connection, path.parent)))


def _read(path: Path, after: int | None, limit: int) -> list[dict[str, Any]]:
    from tom.audit.chain import newest, rows_behind

    def read(connection: Any) -> list[dict[str, Any]]:
        rows = newest(connection, limit) if after is None else rows_behind(connection, after, limit)
        return [row.told() for row in rows]

    return _with_file(path, read)


def _with_file[T](path: Path, work: Callable[[Any], T]) -> T:
    import apsw

    from tom.sqlite.connection import connect_reader

    try:
        connection = connect_reader(path)
        try:
            return work(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise Refused(f"{path} cannot be read: {error}", status=Status.UNUSABLE, code="unreadable") from error


def _plain(text: str) -> str:
    """Without characters that would move a terminal's cursor."""
    return "".join(character if character.isprintable() else "�" for character in text)
