"""Both stores keep the contract of copies; a memory that was shared once is remembered."""

import pytest

from tom.store.memory import MemoryEventStore
from tom.testing.store_copies_contract import CopiesContract, session

pytestmark = pytest.mark.anyio


class TestSqlite(CopiesContract):
    @pytest.fixture
    async def share(self, open_sqlite, tmp_path):
        return await open_sqlite(tmp_path / "shared.db", shared=True)

    @pytest.fixture
    async def alone(self, open_sqlite, tmp_path):
        return await open_sqlite(tmp_path / "alone.db")

    @pytest.fixture
    def again(self, open_sqlite, tmp_path):
        async def restart(store):
            await store.close()
            return await open_sqlite(tmp_path / "shared.db", shared=True)

        return restart


class TestMemory(CopiesContract):
    @pytest.fixture
    def share(self, clock):
        return MemoryEventStore(clock, shared=True)

    @pytest.fixture
    def alone(self, clock):
        return MemoryEventStore(clock)

    @pytest.fixture
    def again(self):
        async def restart(store):
            return store.reopen()

        return restart


async def test_what_is_erased_while_no_memory_is_configured_is_noted_for_when_it_is(open_sqlite):
    store = await open_sqlite(shared=True)
    await session(store, "a")
    await store.close()
    store = await open_sqlite()
    await store.erase("a")
    assert await store.erased("a")
