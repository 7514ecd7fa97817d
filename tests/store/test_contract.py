"""Both stores keep the contract."""

import pytest

from tom.store.memory import MemoryEventStore
from tom.testing.store_contract import EventStoreContract


class TestSqlite(EventStoreContract):
    @pytest.fixture
    async def store(self, open_sqlite):
        return await open_sqlite()

    @pytest.fixture
    def reopen(self, open_sqlite):
        async def restart(store):
            await store.close()
            return await open_sqlite()

        return restart


class TestMemory(EventStoreContract):
    @pytest.fixture
    def store(self, clock):
        return MemoryEventStore(clock)

    @pytest.fixture
    def reopen(self):
        async def restart(store):
            return store.reopen()

        return restart
