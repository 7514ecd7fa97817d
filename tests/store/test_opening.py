"""Which store the settings ask for, and what becomes of an earlier file."""

import subprocess
import sys

import pytest

from tom.config.agent import PersistenceSettings
from tom.errors import StoreInUse
from tom.store import open_store
from tom.store.memory import MemoryEventStore
from tom.store.sqlite import SqliteEventStore
from tom.testing.store_events import asked, opened

pytestmark = pytest.mark.anyio

SQL, MEMORY = "sql", "memory"


async def remember(home, clock, **settings):
    """Open by these settings, say what is there, and add one conversation."""
    store = await open_store(PersistenceSettings(**settings), home, clock=clock)
    try:
        found = len(await store.conversations())
        await store.append([opened(f"c{found}"), asked(f"r{found}", f"c{found}")])
        return type(store), store.durable, found
    finally:
        await store.close()


async def test_a_history_is_kept(tmp_path, clock):
    assert [await remember(tmp_path, clock) for _ in range(3)] == [(SqliteEventStore, True, n) for n in range(3)]
    assert (tmp_path / "history.db").exists()


async def test_it_can_be_erased_at_each_start(tmp_path, clock, caplog):
    await remember(tmp_path, clock)
    for _ in range(2):
        assert await remember(tmp_path, clock, clear_on_startup=True) == (SqliteEventStore, True, 0)
    assert await remember(tmp_path, clock) == (SqliteEventStore, True, 1)


async def test_without_persistence_an_earlier_file_is_left_alone(tmp_path, clock):
    await remember(tmp_path, clock)
    before = (tmp_path / "history.db").read_bytes()
    assert await remember(tmp_path, clock, enabled=False) == (MemoryEventStore, False, 0)
    assert (tmp_path / "history.db").read_bytes() == before


async def test_without_persistence_the_earlier_file_can_be_erased(tmp_path, clock):
    settings = {"enabled": False, "clear_on_startup": True}
    assert await remember(tmp_path, clock, **settings) == (MemoryEventStore, False, 0)
    await remember(tmp_path, clock)
    assert await remember(tmp_path, clock, **settings) == (MemoryEventStore, False, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.db.lock"]


async def test_a_history_in_memory_touches_no_file(tmp_path, clock):
    assert await remember(tmp_path, clock, type=MEMORY, clear_on_startup=True) == (MemoryEventStore, False, 0)
    assert list(tmp_path.iterdir()) == []


async def test_erasing_needs_the_file_for_itself(tmp_path, clock):
    store = await open_store(PersistenceSettings(path="events.db"), tmp_path)
    for enabled in (True, False):
        with pytest.raises(StoreInUse, match=r"events\.db is in use by process"):
            await remember(tmp_path, clock, path="events.db", enabled=enabled, clear_on_startup=True)
    await store.append([opened()])
    await store.close()


async def test_a_path_may_be_absolute(tmp_path, clock):
    elsewhere = tmp_path / "elsewhere.db"
    await remember(tmp_path / "home", clock, path=str(elsewhere))
    assert elsewhere.exists()


def test_reading_the_seam_needs_no_database():
    """`tom.store.eventstore` is imported where no SQLite is; see tests/house/test_imports.py."""
    program = "import tom.store.eventstore, sys; sys.exit('apsw' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
