"""``tom token``: make API tokens, list them, take them back.

Whoever runs is asked over its control socket, since it alone writes its file: the gateway, or an agent alone. Where
nothing runs the file is changed here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tom.cli.directory import existing, holder, locate
from tom.cli.operator import ALONE, ask_at_control_socket, ask_gateway_of, checked, runs_alone, segment, whose
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table, usage
from tom.cli.recording import note

if TYPE_CHECKING:
    from tom.accounts.tokens import Tokens

DAYS: Final = 365
app = typer.Typer(help="API tokens for programs: make, list, revoke.", no_args_is_help=True)
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Whose tokens (default: the only user there is).")
]
AloneOption = Annotated[
    bool, typer.Option("--standalone", help="Tokens of the agent that runs alone (tom agent --standalone).")
]
ScopeOption = Annotated[
    list[str],
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="What it gives access to, once for each: chat, read, options, roles, openai, memory, notifications, health, admin.",
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, to tell it from others.")],
    scope: ScopeOption,
    days: Annotated[int, typer.Option("--days", metavar="N", help="Days until it ends, 1 to 3650.")] = DAYS,
    user: UserOption = None,
    standalone: AloneOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token; it is shown this once. Scopes: chat, read, options, roles, openai, memory, notifications, health, admin."""
    made = _Asking(data, user, standalone).create(name, _scopes(scope), days)
    if as_json:
        document(made)
        return
    print(made["token"])
    notice(f"✅ Token {made['id']} for {', '.join(_scopes(scope))}, {days} days; it is shown this once")


@app.command("list")
def list_tokens(
    user: UserOption = None, standalone: AloneOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List tokens: what they reach, when they end, when they were used. Never the secrets."""
    found = _Asking(data, user, standalone).list()
    if as_json:
        document({"tokens": found})
        return
    if not found:
        notice("There are no tokens; make one with: tom token create NAME --scope chat")
        return
    head = ("id", "name", "scopes", "created at", "ends at", "last used at")
    table(head, [tuple(_cell(token[key]) for key in _KEYS) for token in found])


@app.command()
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As tom token list shows it.")],
    user: UserOption = None,
    standalone: AloneOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a token back; what is open under it is closed within a second."""
    _Asking(data, user, standalone).revoke(identifier)
    if as_json:
        document({"id": identifier, "revoked": True})
        return
    print(f"✅ Token {identifier} is worth nothing any more")


_KEYS: Final = ("id", "name", "scopes", "created_at", "expires_at", "last_used_at")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
    return str(value) if value is not None else "-"


def _scopes(given: list[str]) -> list[str]:
    """``--scope chat,read`` is ``--scope chat --scope read``."""
    return [name for text in given for name in text.replace(",", " ").split()]


class _Asking:
    """Asks whoever has the tokens: a running gateway, a running agent alone, or the file."""

    def __init__(self, data: str | None, user: str | None, standalone: bool) -> None:
        self._data = existing(locate(data))
        self._running = holder(self._data) is not None
        alone = runs_alone(self._data) or (not self._running and _is_alone(self._data))
        self._alone = standalone or (alone and user in {None, ALONE})
        if self._alone:
            if user not in {None, ALONE}:
                usage(f"An agent that runs alone has one user, '{ALONE}'")
            self._user = ALONE
            self._running = runs_alone(self._data)
        else:
            self._user = whose(self._data, user) if self._running else _user_of_file(self._data, user)

    def create(self, name: str, scopes: list[str], days: int) -> dict[str, Any]:
        """Make one. Raises `Refused`, `TomError`."""
        body = {"name": name, "scopes": scopes, "expires_in_days": days}
        if self._running:
            return self._ask("POST", "", body)

        async def make(tokens: "Tokens", admin: bool) -> dict[str, Any]:
            from tom.accounts.tokens import read_wish

            token, text = await tokens.create(self._user, read_wish(name, scopes, days, admin=admin))
            return {"id": token.id, "token": text}

        return asyncio.run(self._in_file(make, lambda made: ("token.created", str(made["id"]))))

    def list(self) -> list[dict[str, Any]]:
        """All of them. Raises `Refused`, `TomError`."""
        if self._running:
            return self._ask("GET", "")["tokens"]

        async def look(tokens: "Tokens", _admin: bool) -> list[dict[str, Any]]:
            return [token.as_json() for token in tokens.list(self._user)]

        return asyncio.run(self._in_file(look))

    def revoke(self, identifier: str) -> None:
        """Take one back. Raises `Refused` (status 5 for one that is not there), `TomError`."""
        if self._running:
            self._ask("DELETE", f"/{segment(identifier)}")
            return

        async def end(tokens: "Tokens", _admin: bool) -> None:
            await tokens.revoke(self._user, identifier)

        asyncio.run(self._in_file(end, lambda _: ("token.revoked", identifier)))

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if self._alone:
            return checked(*ask_at_control_socket(self._data, method, f"/tokens{path}", body))
        return ask_gateway_of(self._data, method, f"/users/{segment(self._user)}/tokens{path}", body)

    async def _in_file[T](self, work: "Callable[[Tokens, bool], Awaitable[T]]", noted: "Noted[T] | None" = None) -> T:
        if self._alone:
            home = self._data / "users" / ALONE
            await asyncio.to_thread(home.mkdir, mode=0o700, parents=True, exist_ok=True)
            return await _in_door_file(home, work, noted)
        return await _in_gateway_file(self._data, self._user, work, noted)


type Noted[T] = Callable[[T], tuple[str, str]]
"""What the record is told of the outcome: kind and subject."""


async def _in_door_file[T](home: Path, work: "Callable[[Tokens, bool], Awaitable[T]]", noted: "Noted[T] | None") -> T:
    from tom.accounts.opening import open_file
    from tom.accounts.tokens import Tokens
    from tom.clock import SystemClock

    clock = SystemClock()
    database = await open_file(home / "door.db", clock)
    try:
        outcome = await work(await Tokens.open(database, clock), True)
        if noted is not None:
            await note(database, home, *noted(outcome))
        return outcome
    finally:
        await database.close()


async def _in_gateway_file[T](
    data: Path, user: str, work: "Callable[[Tokens, bool], Awaitable[T]]", noted: "Noted[T] | None"
) -> T:
    from tom.clock import SystemClock
    from tom.config.settings import Settings
    from tom.gateway.bootstrap import open_accounts

    accounts = await open_accounts(await asyncio.to_thread(Settings.load, data), SystemClock())
    try:
        outcome = await work(accounts.tokens, accounts.role(user) == "admin")
        if noted is not None:
            await note(accounts.database, data / "gateway", *noted(outcome))
        return outcome
    finally:
        await accounts.close()


def _is_alone(data: Path) -> bool:
    """Whether an agent alone has been at this directory, and no gateway."""
    return (data / "users" / ALONE / "door.db").exists() and not (data / "gateway" / "gateway.db").exists()


def _user_of_file(data: Path, given: str | None) -> str:
    from tom.config.settings import Settings

    settings: Settings = Settings.load(data)
    if given is not None:
        entry = settings.user(given)
        if entry is None:
            raise Refused(f"User '{given}' is not configured", status=Status.NOT_FOUND, code="unknown_user")
        return entry.username
    people = [person.username for person in settings.users if not person.disabled]
    if not people:
        usage("There are no users yet; add one with: tom user add")
    if len(people) > 1:
        usage(f"Say whose: --user {' | '.join(people)}")
    return people[0]
