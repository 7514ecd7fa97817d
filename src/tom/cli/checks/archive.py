"""Whether the archive is reachable and the account may do there what has to be done."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import fields

from tom.archive.archive import AccountRefused, ArchiveClientMissing, ArchiveUnavailable, ArchiveUnfit
from tom.archive.opening import open_archive
from tom.cli.checks.finding import Finding, House, fail, ok, warn
from tom.clock import SystemClock
from tom.config.secret import Secret
from tom.config.settings import Settings

SECONDS = 15.0


async def check_archive(house: House) -> AsyncGenerator[Finding]:
    """The archive, where there is one; what is missing there is made, as at a start."""
    settings = house.settings
    if settings is None or settings.template.archive.backend == "none":
        return
    for user in _accounts(settings):
        yield await _try_out(settings, user)


async def _try_out(settings: Settings, user: str) -> Finding:
    archive = settings.template.archive
    which = f"{archive.backend}{f' (as {user})' if _is_personal(settings) else ''}"
    opened = open_archive(archive, user, SystemClock(), redis=settings.doors.redis)
    if opened is None:
        return ok("archive", "none")
    try:
        async with asyncio.timeout(SECONDS):
            await opened.prepare()
            _, count = await opened.sessions(limit=1, offset=0)
    except AccountRefused as error:
        cure = "set the user, password and database that the server knows: tom config explain HISTORY_MYSQL_PASSWORD"
        if archive.backend != "mysql":
            cure = "set the account and password in its URL to those that the server knows"
        return fail("archive", f"{which}: {error.message}", cure)
    except (ArchiveUnfit, ArchiveClientMissing) as error:
        cure = "grant the account CREATE, ALTER, INDEX, SELECT, INSERT, UPDATE, DELETE on the database"
        missing = isinstance(error, ArchiveClientMissing)
        return fail("archive", f"{which}: {error.message}", "install it, then look again" if missing else cure)
    except (ArchiveUnavailable, TimeoutError) as error:
        why = error.message if isinstance(error, ArchiveUnavailable) else f"no answer within {SECONDS:.0f} s"
        return warn(
            "archive", f"{which}: {why}", "chat goes on, what is said waits; start it, or see: tom archive status"
        )
    finally:
        await opened.close()
    return ok("archive", f"{which}: reachable, {count} sessions of {user}")


def _accounts(settings: Settings) -> Iterator[str]:
    """One user, or each where everybody has an account of their own."""
    names = [user.username for user in settings.users if not user.disabled]
    yield from names if _is_personal(settings) else names[:1]


def _is_personal(settings: Settings) -> bool:
    archive = settings.template.archive
    said = [getattr(archive, field.name) for field in fields(archive)]
    return any("{user}" in (value.reveal() if isinstance(value, Secret) else str(value)) for value in said)
