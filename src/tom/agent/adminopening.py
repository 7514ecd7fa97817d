"""From a cell and the file of its doors to its admins' desk."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tom.agent.acts import Acts
from tom.agent.admindoor import Admin
from tom.agent.adminhouse import AgentHouse, OpenArchive
from tom.agent.cell import Cell
from tom.archive.archive import Archive, ArchiveUnavailable
from tom.archive.opening import open_archive
from tom.audit.chain import Chain
from tom.audit.desk import Desk, Setting
from tom.audit.gate import AdminGate
from tom.limits.bypass import Bypass
from tom.limits.guesses import Guesses
from tom.sqlite import Database
from tom.telemetry.redaction import redact


async def open_admin(
    cell: Cell,
    database: Database,
    *,
    explain: Callable[[], Sequence[Setting]] | None = None,
    archive: OpenArchive | None = None,
) -> Admin:
    """The desk of an agent alone, whose ``door.db`` is ``database``; the cell has it from now on, and the bypass list.

    ``explain``: every setting (default: as the data directory of the cell says). ``archive``: the mirror to look
    into (default: that of the settings). Close ``chain`` before the database.
    Raises `StorageUnavailable`; OSError when the audit key cannot be written.
    """
    home, clock = cell.settings.home, cell.clock
    chain = await Chain.open(database, clock, home)
    bypass = Bypass(database, clock)
    await bypass.load()
    cell.rates.bypassed = bypass.covers
    gate = AdminGate(cell.settings.doors.admin_token, Guesses(clock), chain)
    explain = explain or partial(explained, data_directory_of(home), os.environ)
    house = AgentHouse(cell, explain, archive or archive_of(cell))
    acts = Acts(chain, cell.settings.user)
    acts.listen(cell.feed)
    cell.scheduler.beside += [partial(chain.keep, cell.settings.doors.audit_days), acts.serve]
    admin = cell.admin = Admin(gate, Desk(bypass, chain, house, clock), house, chain)
    return admin


def archive_of(cell: Cell) -> OpenArchive | None:
    """What opens the archive of the cell's person, beside the one that is written to; None where there is none."""
    settings = cell.settings
    if settings.archive.backend == "none":
        return None

    async def opened() -> Archive:
        archive = open_archive(settings.archive, settings.user, cell.clock, redis=settings.doors.redis)
        if archive is None:
            raise ArchiveUnavailable
        return archive

    return opened


def data_directory_of(home: Path) -> Path:
    """The data directory of the person whose directory is ``home``."""
    return home.parent.parent


def explained(data_dir: Path, env: Mapping[str, str]) -> Sequence[Setting]:
    """Every setting of an agent alone. Blocks. Raises `ConfigInvalid`."""
    from tom.config.explain import effective  # noqa: PLC0415 - brings pydantic, which no start needs

    return [
        Setting(one.key, one.value, one.source, one.secret)
        for one in effective(data_dir, env=env, alone=True, redact=redact)
    ]
