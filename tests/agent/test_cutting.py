"""What is cut from under readers, retries and senders: nobody sees a hole, nothing acknowledged is erased."""

import asyncio
from datetime import timedelta

import pytest

from tom.agent.transcript import request_of
from tom.clock import SystemClock
from tom.config.agent import PersistenceSettings
from tom.errors import RunNotFound
from tom.store.eventstore import RunFilter
from tom.store.memory import MemoryEventStore
from tom.testing.simulated_llm import Script
from tom.testing.store_events import asked, cancelled, opened, retried

pytestmark = pytest.mark.anyio

FEW = {"persistence": PersistenceSettings(retention="message_count", retention_messages=4)}


class SetClock(SystemClock):
    """A clock that can be set."""

    ahead = timedelta()

    def now(self):
        return super().now() + self.ahead


@pytest.mark.promise("P2")
async def test_a_reader_sees_no_hole_where_retention_cuts(open_cell, connect, llm, until):
    llm.otherwise(Script.text("ok"))
    async with open_cell(more=FEW) as cell:
        client = connect(cell)
        await client.do("chat", "q0", text="x", conversation_id="c1")
        await client.end_of("q0")
        await client.do("resume", "r", conversation_id="c1", after=0)
        for number in range(1, 6):
            await client.do("chat", f"q{number}", text="x", conversation_id="c1")
            await client.end_of(f"q{number}")
            await until(lambda: not cell.upkeep._due)
        await until(lambda: "history.retired" in _types(client))
        seqs = [frame["seq"] for frame in client.frames if frame["status"] == "event"]
    assert seqs == list(range(1, len(seqs) + 1))


def _types(client):
    return [frame["event"]["type"] for frame in client.frames if frame["status"] == "event"]


@pytest.mark.promise("P2")
async def test_a_cut_in_the_middle_of_a_replay_is_told(open_cell, connect, llm, monkeypatch):
    monkeypatch.setattr("tom.agent.socket.PAGE", 4)
    llm.otherwise(Script.text("ok"))
    store = MemoryEventStore()
    async with open_cell(store=store) as cell:
        client = connect(cell)
        for number in range(6):
            await client.do("chat", f"q{number}", text="x", conversation_id="c1")
            await client.end_of(f"q{number}")
        (cut,) = [run.first_seq for run in await store.runs(RunFilter(request_id="q4"))]
        read, pages = store.read, []

        async def cutting(conversation_id, *, after=0, limit=500):
            pages.append(after)
            if len(pages) == 2:
                await store.erase("c1", before=cut)
            return await read(conversation_id, after=after, limit=limit)

        monkeypatch.setattr(store, "read", cutting)
        reader = connect(cell)
        await reader.do("resume", "r", conversation_id="c1", after=0)
        await reader.end_of("r")
    events = [frame for frame in reader.frames if frame["status"] == "event"]
    (mark,) = [place for place, frame in enumerate(events) if "seq" not in frame]
    assert events[mark]["event"]["extra"] == {"first_seq": cut}
    assert (events[mark - 1]["seq"], events[mark + 1]["seq"]) == (4, cut)


async def test_a_message_that_is_not_kept_any_more_has_a_name(tmp_path):
    store = MemoryEventStore()
    await store.append([opened(), asked("r1"), cancelled("r1"), asked("r2"), cancelled("r2")])
    (gone,) = await store.runs(RunFilter(run_id="r1"))
    await store.erase("c", before=4)
    await store.append([retried("r3", "r1")])
    (row,) = await store.runs(RunFilter(run_id="r3"))
    for lost in (gone, row):
        with pytest.raises(RunNotFound):
            await request_of(store, lost)


@pytest.mark.promise("P1")
async def test_a_message_accepted_meanwhile_keeps_a_temporary_conversation(open_cell, connect, llm, monkeypatch):
    llm.otherwise(Script.text("still here"))
    clock = SetClock()
    store = MemoryEventStore(clock=clock)
    async with open_cell(store=store, clock=clock) as cell:
        client = connect(cell)
        names = [await cell.conversations.open("ws", {"temporary": True}) for _ in range(2)]
        clock.ahead = timedelta(hours=25)
        erase, begun, go_on = store.erase, asyncio.Event(), asyncio.Event()

        async def slowly(conversation_id, **more):
            begun.set()
            await go_on.wait()
            return await erase(conversation_id, **more)

        monkeypatch.setattr(store, "erase", slowly)
        erasing = asyncio.ensure_future(cell.afresh.erase_outlived())
        await begun.wait()
        await client.do("chat", "q1", text="still there?", conversation_id=names[0])
        assert (await client.end_of("q1"))["status"] == "complete"
        go_on.set()
        assert await erasing == 1
        assert [row.id for row in await store.conversations()] == [names[0]]
