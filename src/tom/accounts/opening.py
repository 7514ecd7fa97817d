"""Opening a file with the schema of ``gateway.db``: the gateway's own, or ``door.db`` of an agent alone."""

from importlib import resources
from pathlib import Path

from tom.clock import Clock
from tom.sqlite import Database


async def open_file(path: Path, clock: Clock) -> Database:
    """Open ``path``, made or migrated where needed. Raises `StoreInUse`, `StoreTooNew`."""
    migrations = resources.files("tom.accounts").joinpath("migrations")
    return await Database.open(path, migrations=migrations, clock=clock)
