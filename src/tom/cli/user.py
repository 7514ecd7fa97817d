"""``tom user``: add people, give passwords, list them.

A running gateway is asked over its control socket, since it alone writes its database; otherwise the files are
changed here.
"""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tom.cli.directory import existing, holder, locate
from tom.cli.options import DataOption, JsonOption
from tom.cli.output import Refused, Status, document, notice, table
from tom.cli.recording import note

if TYPE_CHECKING:
    from tom.config.settings import Settings

SHORTEST = 12
app = typer.Typer(help="Add people, give passwords, list them.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Letters a-z, digits, '.', '_' and '-'; at most 32.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin instead of making one.")
]


@app.command()
def add(
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="The person may administer Tom.")] = False,
    password_stdin: StdinOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a person. A password is made and shown once, unless one is given."""
    from tom.config.edit import add_user, remove_user
    from tom.config.settings import Settings

    directory = existing(locate(data))
    settings = Settings.load(directory)
    _check_name(name, settings)
    given = _read_password() if password_stdin else ""
    path = settings.path
    role = "admin" if admin else "user"
    add_user(path, name, role=role)
    try:
        password = _give_password(directory, name, given)
    except BaseException:
        remove_user(path, name)  # nobody is left behind who has no password and was never announced
        raise
    _tell(name, password, made=not given, as_json=as_json, extra={"role": role}, verb="added")


@app.command()
def passwd(
    name: NameArgument, password_stdin: StdinOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Give a person a new password and end their logins."""
    directory = existing(locate(data))
    given = _read_password() if password_stdin else ""
    password = _give_password(directory, name, given)
    _tell(name, password, made=not given, as_json=as_json, extra={}, verb="has a new password")


@app.command("list")
def list_users(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the people of config.yml."""
    from tom.config.settings import Settings

    settings = Settings.load(existing(locate(data)))
    people = [
        {
            "user": person.username,
            "role": person.role,
            "disabled": person.disabled,
            "history": (settings.data_dir / "users" / person.username / "history.db").exists(),
        }
        for person in settings.users
    ]
    if as_json:
        document({"users": people})
        return
    if not people:
        notice("Nobody may log in yet; add a person with: tom user add NAME")
        return
    yes = {True: "yes", False: "no"}
    rows = [
        (str(person["user"]), str(person["role"]), yes[not person["disabled"]], yes[bool(person["history"])])
        for person in people
    ]
    table(("user", "role", "may log in", "has history"), rows)


def _check_name(name: str, settings: "Settings") -> None:
    from tom.config.values import username

    try:
        username(name)
    except ValueError as error:
        raise Refused(f"A user's name {error}", status=Status.USAGE, code="invalid_user") from error
    if settings.user(name) is not None:
        raise Refused(
            f"User '{name}' is there already", hint=f"a new password: tom user passwd {name}", code="user_exists"
        )


def _tell(name: str, password: str, *, made: bool, as_json: bool, extra: dict[str, Any], verb: str) -> None:
    if as_json:
        document({"user": name} | extra | ({"password": password} if made else {}))
        return
    print(f"✅ {name} {verb}")
    if made:
        print(f"   password: {password}   (shown this once)")


def _read_password() -> str:
    """The first line of stdin, without its line end."""
    password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < SHORTEST:
        raise Refused(
            f"A password needs at least {SHORTEST} characters", status=Status.USAGE, code="password_too_short"
        )
    return password


def _give_password(directory: Path, name: str, given: str) -> str:
    from tom.cli.firstrun import make_password

    password = given or make_password()
    if holder(directory) is None:
        from tom.config.settings import Settings

        asyncio.run(store_password(Settings.load(directory), name, password))
    else:
        asyncio.run(_ask_gateway(directory, name, password))
    return password


async def store_password(settings: "Settings", name: str, password: str) -> None:
    """Write a password where no gateway runs. Raises what `Accounts.set_password` raises."""
    from tom.clock import SystemClock
    from tom.gateway.bootstrap import open_accounts

    accounts = await open_accounts(settings, SystemClock())
    try:
        await accounts.set_password(name, password)
        await note(accounts.database, settings.data_dir / "gateway", "password.set", name)
    finally:
        await accounts.close()


async def _ask_gateway(directory: Path, name: str, password: str) -> None:
    """Let the running gateway read config.yml again, then give the password there."""
    from tom.gateway.agentlink import LinkError
    from tom.gateway.controlclient import ask_gateway

    try:
        for path, body in (("/reload", None), (f"/users/{name}/password", {"password": password})):
            status, answer = await ask_gateway(directory, "POST", path, body)
            if status != 200:
                end = Status.NOT_FOUND if status == 404 else Status.FAILED
                raise Refused(str(answer.get("message", status)), status=end, code=str(answer.get("code", "failed")))
    except LinkError as error:
        raise Refused(
            f"The running gateway does not answer: {error}", status=Status.UNREACHABLE, code="gateway_unreachable"
        ) from error
