"""What `tom up` makes in an empty data directory: settings, a first user with a password, a certificate."""

import asyncio
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tom.cli.output import Refused, Status
from tom.config.settings import Settings

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS = 4
_GROUP = 5


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What was made. ``password`` is in clear here and nowhere else."""

    user: str
    password: str = field(repr=False)
    llm: str


def make_password() -> str:
    """A password of 99 random bits that can be read aloud: no letter in it looks like another."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def is_first_run(directory: Path, env: Mapping[str, str] = os.environ) -> bool:
    """Whether there are no settings yet. Where ``TOM_CONFIG`` names a file, it must be there."""
    return not env.get("TOM_CONFIG", "").strip() and not (directory / "config.yml").exists()


def make_house(directory: Path, user: str = "", env: Mapping[str, str] = os.environ) -> FirstRun:
    """Write the first settings and the first user's password. Raises `Refused` for a name that nobody can have.

    The settings come last: a first run that is interrupted is a first run again.
    """
    from tom.config.init import first_user, write_first_config

    try:
        name = first_user(env, user)
    except ValueError as error:
        raise Refused(f"--user {user}: {error}", status=Status.USAGE, code="invalid_user") from error
    password = make_password()
    asyncio.run(_store_first_user(directory, name, password))
    written = write_first_config(directory, env, name)
    return FirstRun(name, password, written.llm)


def give_first_password(settings: Settings) -> FirstRun | None:
    """A password for the first user of settings that were written before Tom ever ran; None where somebody has one."""
    from tom.cli.user import store_password

    nobody_yet = not (settings.data_dir / "gateway" / "gateway.db").exists()
    if not nobody_yet or not settings.users or any(user.password or user.password_hash for user in settings.users):
        return None
    name, password = settings.users[0].username, make_password()
    asyncio.run(store_password(settings, name, password))
    return FirstRun(name, password, settings.llm)


async def _store_first_user(directory: Path, name: str, password: str) -> None:
    from tom.accounts.accounts import Accounts
    from tom.accounts.users import UserEntry

    place = directory / "gateway"
    place.mkdir(mode=0o700, exist_ok=True)
    accounts = await Accounts.open(place / "gateway.db", [UserEntry(name, role="admin")])
    try:
        await accounts.set_password(name, password)
    finally:
        await accounts.close()
