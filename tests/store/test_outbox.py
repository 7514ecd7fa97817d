"""Both stores keep the outbox's contract, and agree with what follows from all events of a conversation."""

from dataclasses import replace

import pytest

from tom.config.agent import ArchiveSettings, PersistenceSettings
from tom.conversation.event import prompt_set
from tom.store.memory import MemoryEventStore
from tom.store.mirrored import ADOPTED, all_told
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


async def test_an_archive_that_was_switched_off_is_still_owed_what_is_erased(open_sqlite):
    store = await open_sqlite(mirror=MirrorRules(place="here"))
    await converse(store, "r1")
    await converse(store, "r2", "d")
    await store.close()
    store = await open_sqlite()
    await store.erase("c")
    await converse(store, "r3", "d")
    await store.close()
    store = await open_sqlite()
    assert [(entry.kind, entry.conversation_id) for entry in await store.due()] == [("erase", "c"), ("exchange", "d")]
    await store.close()
    store = await open_sqlite(mirror=MirrorRules(place="here"))
    runs = [entry.run_id for entry in await drain(store) if entry.kind == "exchange"]
    assert runs == ["r2", "r3"], "what it lacks is queued"
    await store.close()
    store = await open_sqlite(mirror=MirrorRules(place="here"))
    assert await store.due() == ()


async def test_what_retention_cuts_while_the_archive_is_off_it_hears_of_later(open_sqlite):
    for rules, kinds in ((MirrorRules(keep=False), ["cut"]), (MirrorRules(), [])):
        store = await open_sqlite(mirror=rules)
        for run in ("r1", "r2"):
            await converse(store, f"{run}{rules.keep}", f"c{rules.keep}")
        await drain(store)
        await store.close()
        store = await open_sqlite()
        assert await store.erase(f"c{rules.keep}", before=5)
        assert [entry.kind for entry in await store.due()] == kinds
        await drain(store)
        await store.close()


@pytest.mark.parametrize("other", [MirrorRules(place="there"), MirrorRules(place="here", full=True)])
async def test_another_archive_and_one_that_wants_more_are_told_everything(open_sqlite, other):
    store = await open_sqlite(mirror=MirrorRules(place="here"))
    await converse(store, "r1")
    await drain(store)
    await store.close()
    store = await open_sqlite(mirror=other)
    assert [entry.run_id for entry in await drain(store) if entry.kind == "exchange"] == ["r1"]
    await store.close()
    store = await open_sqlite(mirror=MirrorRules(place=other.place))
    assert await store.due() == (), "one that wants less has what it wants"


async def test_an_exchange_that_another_process_has_told_is_not_told_again(clock):
    store = MemoryEventStore(clock, mirror=MirrorRules())
    over = completed("r1")
    await store.append([asked("r1"), started("r1"), replied("r1"), replace(over, extra={**over.extra, ADOPTED: True})])
    assert await store.due() == ()


async def test_a_history_from_before_the_archive_is_queued(open_sqlite):
    store = await open_sqlite()
    await converse(store, "r1")
    await store.close()
    store = await open_sqlite(mirror=MirrorRules())
    assert "exchange" in [entry.kind for entry in await store.due()]


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (ArchiveSettings(backend="redis"), True),
        (ArchiveSettings(backend="redis", namespace="other"), False),
    ],
)
def test_an_archive_is_told_from_another_by_where_it_is(one, same):
    assert (rules_of(one).place == rules_of(ArchiveSettings(backend="redis")).place) is same


@pytest.mark.parametrize("kept", [True, False])
async def test_clearing_at_the_start_forgets_no_erasure(tmp_path, clock, kept):
    archive = ArchiveSettings(backend="redis")
    store = await open_store(PersistenceSettings(), tmp_path, clock=clock, shared=True, archive=archive)
    await store.append([opened(surface="rest")])
    await store.erase("c")
    await store.close()
    settings = PersistenceSettings(enabled=kept, clear_on_startup=True)
    store = await open_store(settings, tmp_path, clock=clock)
    assert [(entry.kind, entry.conversation_id) for entry in await store.due()] == [("erase", "c")]
    assert await store.erased("c")
    await store.close()
