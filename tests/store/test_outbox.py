"""Both stores keep the outbox's contract, and agree with what follows from all events of a conversation."""

import pytest

from tom.config.agent import ArchiveSettings, PersistenceSettings
from tom.conversation.event import prompt_set
from tom.store.memory import MemoryEventStore
from tom.store.mirrored import all_told
from tom.store.opening import open_store, rules_of
from tom.store.outbox import MirrorRules
from tom.testing.store_events import asked, changed, completed, failed, opened, replied, retried, started
from tom.testing.store_outbox_contract import OutboxContract, converse, drain

pytestmark = pytest.mark.anyio


class TestSqlite(OutboxContract):
    @pytest.fixture
    def make(self, open_sqlite, tmp_path):
        made = []

        async def opened_with(rules):
            made.append(rules)
            return await open_sqlite(tmp_path / f"{len(made)}.db", mirror=rules)

        return opened_with

    @pytest.fixture
    def reopen(self, open_sqlite, tmp_path):
        async def restart(store, rules):
            await store.close()
            return await open_sqlite(tmp_path / "1.db", mirror=rules)

        return restart


class TestMemory(OutboxContract):
    @pytest.fixture
    def make(self, clock):
        async def opened_with(rules):
            return MemoryEventStore(clock, mirror=rules)

        return opened_with

    @pytest.fixture
    def reopen(self):
        async def restart(store, rules):
            return store.reopen()

        return restart


@pytest.mark.parametrize("rules", [MirrorRules(), MirrorRules(full=True)])
async def test_what_is_told_piece_by_piece_is_what_follows_from_the_whole(rules, clock):
    store = MemoryEventStore(clock, mirror=rules)
    await store.append([opened(), prompt_set("c", "Be kind."), asked("r1"), started("r1"), asked("r2")])
    await store.append([replied("r1"), completed("r1"), started("r2"), failed("r2"), changed(metadata={})])
    await converse(store, "r3")
    await store.append([retried("r4", "r2"), started("r4"), replied("r4"), completed("r4"), asked("r5")])
    pieces = [event for entry in await drain(store) for event in entry.events]
    assert sorted(pieces, key=lambda event: event.seq) == all_told(await store.read("c"), rules)


def test_the_settings_say_what_is_told():
    assert rules_of(None) is None
    assert rules_of(ArchiveSettings()) is None
    assert rules_of(ArchiveSettings(backend="redis")) == MirrorRules()
    assert rules_of(ArchiveSettings(backend="mysql", retention="mirror", full=True)) == MirrorRules(
        full=True, keep=False
    )


async def test_what_is_left_of_an_archive_that_is_no_more_goes_with_its_conversation(open_sqlite):
    store = await open_sqlite(mirror=MirrorRules())
    await converse(store, "r1")
    await converse(store, "r2", "d")
    await store.close()
    store = await open_sqlite()
    await store.erase("c")
    assert [entry.conversation_id for entry in await store.due()] == ["d"]
    assert await store.refill() == 2


@pytest.mark.promise("P20")
@pytest.mark.parametrize("enabled", [True, False])
async def test_erasures_outlive_a_start_that_clears_everything(tmp_path, clock, enabled):
    archive = ArchiveSettings(backend="redis")
    settings = PersistenceSettings()
    store = await open_store(settings, tmp_path, clock=clock, archive=archive)
    for conversation in ("a", "b", "c"):
        await converse(store, f"r{conversation}", conversation)
    await store.erase("a")
    await store.erase("c")
    await store.close()
    cleared = PersistenceSettings(clear_on_startup=True, enabled=enabled)
    store = await open_store(cleared, tmp_path, clock=clock, archive=archive)
    assert [(entry.kind, entry.conversation_id) for entry in await store.due()] == [("erase", "a"), ("erase", "c")]
    await store.close()
    store = await open_store(cleared, tmp_path, clock=clock)
    assert await store.due() == ()
    await store.close()


async def test_without_an_archive_appending_does_nothing_more(open_sqlite, monkeypatch):
    store = await open_sqlite()
    monkeypatch.setattr("tom.store.queueing.row_queued", None)
    await converse(store, "r1")
    assert (await store.lag()).entries == 0
