"""Stores on real files, and a clock that stands still."""

import tempfile
from importlib import resources
from pathlib import Path

import pytest

from tom.store.sqlite import SqliteEventStore
from tom.testing.manual_clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def history(tmp_path):
    """In memory where this machine can: what is tested is what is asked of the disk, not how long the disk takes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder) / "history.db"


@pytest.fixture
def migrations():
    return resources.files("tom.store").joinpath("migrations")


@pytest.fixture
async def open_sqlite(history, clock):
    """``await open_sqlite(**options)``: the history, closed when the test ends."""
    stores = []

    async def open_store(path=history, **options):
        stores.append(await SqliteEventStore.open(path, clock=clock, **options))
        return stores[-1]

    yield open_store
    for store in stores:
        await store.close()
