"""From a cell and the file of its doors to its admins' desk."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tom.agent.admindoor import Admin
from tom.agent.adminhouse import AgentHouse, OpenArchive
from tom.agent.cell import Cell
from tom.audit.chain import Chain
from tom.audit.desk import Desk, Setting
from tom.audit.gate import AdminGate
from tom.limits.bypass import Bypass
from tom.limits.guesses import Guesses
from tom.sqlite import Database


async def open_admin(
    cell: Cell,
    database: Database,
    *,
    explain: Callable[[], Sequence[Setting]] | None = None,
    open_archive: OpenArchive | None = None,
) -> Admin:
    """The desk of an agent alone, whose ``door.db`` is ``database``; the cell has it from now on, and the bypass list.

    ``explain``: every setting (default: as the data directory of the cell says). Close ``chain`` before the database.
    Raises `StorageUnavailable`; OSError when the audit key cannot be written.
    """
    home, clock = cell.settings.home, cell.clock
    chain = await Chain.open(database, clock, home)
    bypass = Bypass(database, clock)
    await bypass.load()
    cell.rates.bypassed = bypass.covers
    gate = AdminGate(cell.settings.doors.admin_token, Guesses(clock), chain)
    house = AgentHouse(cell, explain or partial(explained, data_directory_of(home), os.environ), open_archive)
    cell.scheduler.beside.append(chain.keep)
    admin = cell.admin = Admin(gate, Desk(bypass, chain, house, clock), house, chain)
    return admin


def data_directory_of(home: Path) -> Path:
    """The data directory of the person whose directory is ``home``."""
    return home.parent.parent


def explained(data_dir: Path, env: Mapping[str, str]) -> Sequence[Setting]:
    """Every setting of an agent alone. Blocks. Raises `ConfigInvalid`."""
    from tom.config.explain import effective  # noqa: PLC0415 - brings pydantic, which no start needs

    return [Setting(one.key, one.value, one.source, one.secret) for one in effective(data_dir, env=env, alone=True)]
