"""Reading and resuming: numbered 1..n, no gap, no double, whatever happens meanwhile."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P2")]


def events_of(client):
    return [frame["event"] for frame in client.frames if frame["status"] == "event"]


async def test_a_resume_replays_what_comes_after_and_says_where_it_stands(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        end = await client.end_of("q1")
        reader = connect(cell)
        await reader.do("resume", "r1", conversation_id="c1", after=2)
        caught_up = await reader.end_of("r1")
    assert [event["seq"] for event in events_of(reader)] == list(range(3, end["seq"] + 1))
    assert caught_up["metadata"]["last_seq"] == end["seq"]
    assert caught_up["metadata"]["run_id"] is None
    assert caught_up["metadata"]["epoch"] == cell.store.epoch


async def test_a_reader_of_another_epoch_starts_over(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.end_of("q1")
        reader = connect(cell)
        await reader.do("resume", "r1", conversation_id="c1", after=999, epoch="of another time")
        caught_up = await reader.end_of("r1")
    assert caught_up["metadata"]["reload"] is True
    assert events_of(reader)[0]["seq"] == 1


async def test_without_live_the_reader_hears_nothing_more(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client, reader = connect(cell), connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.end_of("q1")
        await reader.do("resume", "r1", conversation_id="c1", live=False)
        await reader.end_of("r1")
        heard = len(reader.frames)
        await client.do("chat", "q2", text="more", conversation_id="c1")
        await client.end_of("q2")
    assert len(reader.frames) == heard


async def test_a_reader_that_resumes_while_everything_happens_misses_and_doubles_nothing(open_cell, connect, llm):
    llm.otherwise(Script.chunks(30, 8, delay=0.002))
    async with open_cell() as cell:
        client = connect(cell)
        readers = []
        for number in range(6):
            await client.do("chat", f"q{number}", text="hello", conversation_id="c1")
        for number in range(12):
            reader = connect(cell)
            readers.append(reader)
            await reader.do("resume", f"r{number}", conversation_id="c1")
            await asyncio.sleep(0)
            await client.first(lambda f, n=number // 2: f["request_id"] == f"q{n}" and f["status"] == "processing")
        end = await client.end_of("q5")
        for reader in readers:
            await reader.first(lambda f: f["status"] == "event" and f["seq"] == end["seq"])
            assert [event["seq"] for event in events_of(reader)] == list(range(1, end["seq"] + 1))
            check_text(reader)


def check_text(reader):
    """What was streamed of the last attempt of each turn equals what is stored."""
    said = {}
    for frame in reader.frames:
        if frame["status"] == "chunk":
            address = frame["run_id"]
            so_far = "" if frame.get("replay") else said.get(address, "")
            assert frame["offset"] == len(so_far)
            said[address] = so_far + frame["chunk"]["data"]
    for event in events_of(reader):
        if event["type"] == "model.replied" and event["extra"]["run_id"] in said:
            assert said[event["extra"]["run_id"]] == event["content"]


async def test_a_socket_that_asked_and_also_resumes_gets_each_chunk_once(open_cell, connect, llm):
    llm.reply(Script.chunks(20, 5, delay=0.005))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.do("resume", "r1", conversation_id="c1")
        await client.end_of("q1")
    check_text(client)
    assert client.statuses().count("complete") == 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.integers(1, 4))
def test_any_page_of_events_is_contiguous(after, limit):
    from tom.clock import SystemClock
    from tom.conversation import event as happened
    from tom.store.memory import MemoryEventStore

    async def read():
        store = MemoryEventStore(clock=SystemClock())
        for _ in range(10):
            await store.append([happened.prompt_set("c", "x")])
        return await store.read("c", after=after, limit=limit)

    events = asyncio.run(read())
    assert [event.seq for event in events] == list(range(after + 1, min(after + limit, 10) + 1))
