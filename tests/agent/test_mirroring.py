"""The pump, on both stores and an archive that can be broken: order, back-off, parking, erasures, filling again."""

import asyncio
import contextlib
import json
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from tom.agent.mirroring import Mirroring
from tom.archive.archive import ArchiveUnavailable, RecordRefused, SessionRecord
from tom.archive.memory import MemoryArchive, Shelves
from tom.config.agent import AgentSettings
from tom.conversation.event import conversation_opened
from tom.store.memory import MemoryEventStore
from tom.store.outbox import MirrorRules
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import asked, changed, completed, failed, opened, replied, retried, started
from tom.testing.store_outbox_contract import converse

pytestmark = pytest.mark.anyio


class BrokenArchive(MemoryArchive):
    """An archive in memory that is away or refuses as a test says; ``told`` is what it was asked, in order."""

    def __init__(self, clock, **options):
        super().__init__(clock, **options)
        self.away = None
        self.refuses = set()
        self.told = []
        self.prepared = 0
        self.closed = False
        self.held = None

    async def _meet(self, verb, conversation, seqs=()):
        if self.held is not None:
            await self.held.wait()
        if self.away:
            raise self.away
        if self.refuses & {(conversation, seq) for seq in (*seqs, None)}:
            raise RecordRefused("odd")
        self.told.append((verb, conversation, *seqs))

    async def prepare(self):
        self.prepared += 1
        if self.away:
            raise self.away

    async def write(self, session, messages):
        await self._meet("write", session.id, [message.seq for message in messages])
        await super().write(session, messages)

    async def erase(self, session_id, *, before=None):
        await self._meet("erase", session_id, [] if before is None else [before])
        await super().erase(session_id, before=before)

    async def close(self):
        self.closed = True


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock):
    return MemoryEventStore(clock, mirror=MirrorRules())


@pytest.fixture
def archive(clock):
    return BrokenArchive(clock)


@pytest.fixture
def pump(store, archive, clock):
    return Mirroring(store, archive, clock, rules=MirrorRules(), backend="memory", chance=random.Random(7))


@contextlib.asynccontextmanager
async def running(pump):
    task = asyncio.ensure_future(pump.serve())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def held(archive, conversation="c"):
    return [(row.seq, row.role, row.content) for row in await archive.messages(conversation, limit=1000, offset=0)]


@pytest.mark.promise("P26")
async def test_exchanges_reach_the_archive_and_leave_the_outbox(store, archive, pump, until):
    async with running(pump):
        await store.append([opened()])
        await converse(store, "r1", text="Why?", answer="Because.")
        await until(lambda: archive.told)
        await until(lambda: pump.state()["waiting"] == 0)
        assert await held(archive) == [(2, "user", "Why?"), (4, "assistant", "Because.")]
        ((row,), _) = await archive.sessions(limit=1, offset=0)
        assert (row.id, row.metadata) == ("c", {"pin": 1})
        (message, reply) = await archive.messages("c", limit=2, offset=0)
        assert (message.metadata, reply.metadata) == ({"run_id": "r1"}, {"run_id": "r1", "finish_reason": "stop"})
        assert pump.state()["state"] == "ok"
        assert pump.lag_seconds() == 0.0
    assert archive.closed


async def test_an_archive_that_takes_nothing_is_told_once_for_each_reason(store, archive, pump, until, log):
    archive.refuses = {("c", 2)}
    await store.append([opened()])
    await converse(store, "r1", text="a secret of the house")
    async with running(pump):
        await until(lambda: [record for record in log() if record.get("event") == "history_store_failed"])
    (refused,) = [record for record in log() if record.get("event") == "history_store_failed"]
    assert refused.items() >= {"level": "WARNING", "conversation": "c", "reason": "odd"}.items()
    archive.refuses, archive.away = set(), ArchiveUnavailable("gone")
    again = Mirroring(store, archive, pump._clock, rules=MirrorRules(), backend="memory")
    async with running(again):
        await until(lambda: again.state()["state"] == "unreachable")
    assert [record["reason"] for record in log() if record.get("event") == "history_store_failed"] == ["odd", "gone"]
    assert "a secret of the house" not in str(log())


@pytest.mark.promise("P26")
async def test_an_archive_that_is_away_is_tried_again_ever_more_rarely(store, archive, pump, clock, until):
    archive.away = ArchiveUnavailable("gone")
    await converse(store, "r1")
    async with running(pump):
        waits = []
        for tries in range(1, 12):
            await until(lambda tries=tries: clock.sleeping == 1 and archive.prepared == tries)
            before = clock.monotonic()
            while archive.prepared == tries:
                clock.advance(0.25)
                for _ in range(5):
                    await asyncio.sleep(0)
            waits.append(clock.monotonic() - before)
        usual = [min(300, 2**number) for number in range(11)]
        assert all(0.8 * wait <= found <= 1.2 * wait + 0.5 for wait, found in zip(usual, waits, strict=True))
        state = pump.state()
        assert (state["state"], state["archive_behind"], state["reason"], state["waiting"]) == (
            "unreachable",
            True,
            "gone",
            1,
        )
        assert pump.lag_seconds() >= 900
        archive.away = None
        await converse(store, "r2")
        clock.advance(361)
        await until(lambda: pump.state()["state"] == "ok")
        assert [seq for seq, *_ in await held(archive)] == [1, 3, 5, 7]


@pytest.mark.promise("P26")
async def test_what_is_refused_is_parked_and_the_others_go_on(store, archive, pump, clock, until):
    archive.refuses = {("a", 5)}
    for run in ("r1", "r2", "r3"):
        for conversation in ("a", "b"):
            await converse(store, run + conversation, conversation)
    async with running(pump):
        await until(lambda: ("write", "b", 1, 3, 5, 7, 9, 11) in archive.told)
        assert [seq for seq, *_ in await held(archive, "a")] == [1, 3]
        tries = 1
        while not (await store.lag()).parked:
            await until(lambda: clock.sleeping == 1)
            clock.advance(361)
            for _ in range(20):
                await asyncio.sleep(0)
            tries += 1
            assert tries < 15
        await until(lambda: pump.state()["parked"] == 1)
        (parked,) = (await pump.status())["parked"]
        assert parked == {"session_id": "a", "kind": "exchange", "seq": 8, "tries": 10, "reason": "odd"}
        assert tries == 10
        await converse(store, "r4b", "b")
        await until(lambda: ("write", "b", 13, 15) in archive.told)
        archive.refuses = set()
        await pump.rebuild()
        await until(lambda: pump.state()["waiting"] == 0)
        assert [seq for seq, *_ in await held(archive, "a")] == [1, 3, 5, 7, 9, 11]


@pytest.mark.promise("P20")
async def test_an_erasure_is_told_even_if_all_else_was_not(store, archive, pump, until):
    async with running(pump):
        await converse(store, "r1")
        await until(lambda: len(archive.told) == 1)
        archive.away = ArchiveUnavailable("gone")
        await converse(store, "r2")
        await until(lambda: pump.state()["state"] == "unreachable")
        await store.erase("c")
        await converse(store, "r3", "d")
        assert pump.lag_seconds() == 0.0
        archive.away = None
        assert await pump.flush(5)
        assert archive.told[1:] == [("erase", "c"), ("write", "d", 1, 3)]
        assert (await archive.sessions(limit=5, offset=0))[1] == 1


async def test_a_conversation_that_begins_anew_is_told_behind_its_erasure(store, archive, pump, until):
    await converse(store, "r1", text="old")
    async with running(pump):
        assert await pump.flush(5)
        archive.held = asyncio.Event()
        await converse(store, "r2", text="older")
        await store.erase("c")
        await converse(store, "r3", text="new")
        archive.held.set()
        assert await pump.flush(5)
        assert await held(archive) == [(1, "user", "new"), (3, "assistant", "Hi")]


async def test_where_it_follows_the_archive_is_cut_in_its_turn(clock, archive, until):
    store = MemoryEventStore(clock, mirror=MirrorRules(keep=False))
    pump = Mirroring(store, archive, clock, rules=MirrorRules(keep=False), backend="memory")
    for run in ("r1", "r2", "r3"):
        await converse(store, run)
    await store.erase("c", before=5)
    await converse(store, "r4")
    async with running(pump):
        assert await pump.flush(5)
        assert [told[0] for told in archive.told] == ["write", "erase", "write"]
        assert [seq for seq, *_ in await held(archive)] == [5, 7, 9, 11, 14, 16]


@pytest.mark.promise("P26")
async def test_an_archive_that_comes_back_empty_is_filled_again(store, archive, pump, until):
    async with running(pump):
        await converse(store, "r1")
        await converse(store, "r2", "d")
        assert await pump.flush(5)
        archive.shelves = Shelves()
        archive.away = ArchiveUnavailable("gone")
        await converse(store, "r3")
        await until(lambda: pump.state()["state"] == "unreachable")
        archive.away = None
        assert await pump.flush(5)
        assert [seq for seq, *_ in await held(archive)] == [1, 3, 5, 7]
        assert [seq for seq, *_ in await held(archive, "d")] == [1, 3]


async def test_conversations_that_nobody_sees_are_told_to_nobody(store, archive, pump):
    await store.append([opened("hidden", "upkeep")])
    await converse(store, "r1", "hidden")
    async with running(pump):
        assert await pump.flush(5)
    assert archive.told == []


async def test_a_changed_session_is_told(store, archive, pump):
    await store.append([opened(), changed(metadata={"a": 1}, memory_limit=3)])
    async with running(pump):
        assert await pump.flush(5)
    ((row,), _) = await archive.sessions(limit=1, offset=0)
    assert (row.metadata, row.memory_limit) == ({"a": 1}, 3)


async def test_at_the_end_what_can_be_told_is_told_and_no_longer_is_waited(store, archive, pump):
    archive.held = asyncio.Event()
    async with running(pump):
        await converse(store, "r1")
        assert not await pump.flush(0.05)
        archive.held.set()
        assert await pump.flush(5)
        archive.away = ArchiveUnavailable("gone")
        await converse(store, "r2")
        assert not await pump.flush(5)


async def test_without_an_archive_there_is_no_pump(tmp_path, clock):
    from tom.agent.bootstrap import build_cell

    settings = AgentSettings(user="local", home=tmp_path)
    cell = build_cell(settings, MemoryEventStore(clock), clock)
    assert cell.mirror is None
    mirrored = replace(settings, archive=replace(settings.archive, backend="redis"))
    assert build_cell(mirrored, MemoryEventStore(clock), clock).mirror is not None


async def test_a_full_archive_knows_calls_and_results(clock, archive):
    from tom.conversation.part import ToolCall
    from tom.testing.store_events import called, returned

    rules = MirrorRules(full=True)
    store = MemoryEventStore(clock, mirror=rules)
    await store.append(
        [asked("r1"), started("r1"), replied("r1", text="", calls=[ToolCall("call-1", "notes_add", "{}")])]
    )
    await store.append([called("r1"), returned("r1"), replied("r1"), completed("r1")])
    async with running(pump := Mirroring(store, archive, clock, rules=rules, backend="memory")):
        assert await pump.flush(5)
    _, call, result, _ = await archive.messages("c", limit=10, offset=0)
    assert call.metadata["tool_calls"] == [{"id": "call-1", "name": "notes_add", "arguments": "{}"}]
    assert (result.role, result.metadata["tool_call_id"], result.metadata["is_error"]) == ("tool", "call-1", False)


async def test_a_message_asked_again_is_mirrored_with_its_answer(store, archive, pump):
    await store.append([asked("r1", text="Why?"), started("r1"), failed("r1")])
    await store.append([retried("r2", "r1"), started("r2"), replied("r2", text="Because."), completed("r2")])
    async with running(pump):
        assert await pump.flush(5)
    assert await held(archive) == [(4, "user", "Why?"), (6, "assistant", "Because.")]


@pytest.mark.promise("P26")
async def test_nothing_of_a_conversation_overtakes_what_was_refused(clock, archive, until):
    rules = MirrorRules(keep=False)
    store = MemoryEventStore(clock, mirror=rules)
    for run in ("r1", "r2", "r3"):
        await converse(store, run)
    await store.erase("c", before=5)
    await converse(store, "r4")
    await converse(store, "other", "d")
    archive.refuses = {("c", 5)}
    async with running(pump := Mirroring(store, archive, clock, rules=rules, backend="memory")):
        assert await pump.flush(5)
        assert archive.told == [("write", "d", 1, 3)]


async def test_a_flush_waits_for_what_was_queued_before_it(clock, archive, until):
    class SlowToLook(MemoryEventStore):
        held = None

        async def lag(self):
            found = await super().lag()
            if self.held is not None:
                await self.held.wait()
            return found

    store = SlowToLook(clock, mirror=MirrorRules())
    async with running(pump := Mirroring(store, archive, clock, rules=MirrorRules(), backend="memory")):
        assert await pump.flush(5)
        store.held = asyncio.Event()
        await converse(store, "r1")
        await until(lambda: len(archive.told) == 1)
        for _ in range(20):
            await asyncio.sleep(0)  # the round is over but for its last look
        await converse(store, "r2")
        flushing = asyncio.ensure_future(pump.flush(5))
        await asyncio.sleep(0)
        store.held.set()
        assert await flushing
        assert len(archive.told) == 2


@pytest.mark.promise("P26")
async def test_a_defect_is_a_failed_round_and_no_dead_pump(store, archive, pump, clock, until):
    await converse(store, "r1")
    archive.away = KeyError("user")
    async with running(pump):
        await until(lambda: pump.state()["archive_behind"])
        assert (pump.state()["state"], pump.state()["reason"]) == ("unreachable", "KeyError")
        archive.away = None
        await until(lambda: clock.sleeping)
        clock.advance(2)
        await until(lambda: pump.state()["state"] == "ok")
    assert [seq for seq, *_ in await held(archive)] == [1, 3]


LOCAL = ("chat_history", "local", "c")


class SlowLine(BrokenArchive):
    """Takes at most so many messages, and so many characters, in the time it has."""

    takes = 4
    characters = 10**9

    async def write(self, session, messages):
        if len(messages) > self.takes or sum(len(message.content) for message in messages) > self.characters:
            raise ArchiveUnavailable("The archive did not answer in time")
        await super().write(session, messages)


@pytest.mark.promise("P26")
@pytest.mark.parametrize("narrow", [{"takes": 4}, {"characters": 500}, {"takes": 2}])
async def test_what_does_not_get_through_in_time_is_told_in_smaller_pieces(store, clock, until, narrow):
    archive = SlowLine(clock)
    for name, value in narrow.items():
        setattr(archive, name, value)
    pump = Mirroring(store, archive, clock, rules=MirrorRules(), backend="memory", chance=random.Random(7))
    await store.append([opened()])
    for number in range(50):
        await converse(store, f"r{number}", text="w" * 200)
    began = clock.now()
    async with running(pump):
        await until(lambda: clock.advance(400) or len(archive.shelves.messages.get(LOCAL, ())) == 100)
        assert clock.now() - began < timedelta(hours=2), "little is tried in vain"
        archive.takes = archive.characters = 10**9
        longest = len(max(archive.told, key=len))
        for number in range(50, 150):
            await converse(store, f"r{number}", text="w" * 200)
        await until(lambda: clock.advance(400) or len(archive.shelves.messages[LOCAL]) == 300)
    assert len(max(archive.told, key=len)) > longest, "it grows again"


@pytest.mark.promise("P26")
async def test_rebuilding_erases_what_only_the_archive_has_of_this_person(store, archive, pump, clock, until):
    other = MemoryArchive(clock, user="somebody-else", on=archive.shelves)
    for mirror, name in ((archive, "gone"), (archive, "c"), (other, "theirs")):
        await mirror.write(SessionRecord(name, None, "2026-01-01T00:00:00.000Z"), ())
    await converse(store, "r1")
    async with running(pump):
        await until(lambda: pump.state()["state"] == "ok")
        assert (await archive.sessions(limit=9, offset=0))[1] == 2, "nothing is erased unasked"
        await pump.rebuild()
        assert await pump.flush(5)
        await until(lambda: pump.state()["waiting"] == 0)
    assert [row.id for row in (await archive.sessions(limit=9, offset=0))[0]] == ["c"]
    assert (await other.sessions(limit=9, offset=0))[1] == 1


async def test_metadata_is_told_no_deeper_than_every_database_reads(store, archive, pump, until):
    deep = {}
    for _ in range(40):
        deep = {"a": deep}
    await store.append([conversation_opened("c", surface="rest", metadata={"deep": deep, "list": [[1], (2,)]})])
    async with running(pump):
        await until(lambda: archive.shelves.sessions)
    ((row,), _) = await archive.sessions(limit=1, offset=0)
    assert row.metadata["list"] == [[1], [2]]
    levels, inner = 1, row.metadata["deep"]
    while isinstance(inner, dict):
        levels, inner = levels + 1, inner["a"]
    assert levels == 20
    assert json.loads(inner)["a"]
