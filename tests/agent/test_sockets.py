"""What one socket is told: settings of tool notices, plain sockets, what a subscription brings, what an end says."""

import asyncio

import pytest

from tom.agent.learning import UPKEEP
from tom.agent.outbox import Outbox
from tom.agent.submission import Submission
from tom.config.agent import ToolNotices
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Fault, Script

pytestmark = pytest.mark.anyio


@pytest.fixture
def toolbox():
    async def search(query, token=""):
        return "found"

    tools = MemoryToolbox()
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"query": text, "token": text}}
    tools.add(search, service="notes", parameters=schema, tool_class=ToolClass.READ_PUBLIC)
    return tools


async def announced(cell, connect, llm):
    llm.reply(Script.tool_calls(("search", {"query": "milk", "token": "hush"})))
    client = connect(cell)
    await client.do("chat", "q", text="look")
    await client.end_of("q")
    return [frame["chunk"] for frame in client.frames if frame.get("chunk", {}).get("type") == "tool_execution"]


# --- tool notices ------------------------------------------------------------------------------------------------


async def test_tools_are_announced_in_the_documented_line(open_cell, connect, llm, toolbox):
    async with open_cell(toolbox, services=["notes"]) as cell:
        (chunk,) = await announced(cell, connect, llm)
    assert chunk["data"] == "Executing 1 tool(s)..."
    assert chunk["metadata"]["lines"] == ["🔧 Executing tool: notes.search"]
    assert "arguments" not in chunk["metadata"]


async def test_line_icon_and_arguments_of_tool_notices_can_be_set_and_secrets_stay_hidden(
    open_cell, connect, llm, toolbox
):
    notices = ToolNotices(show_args=True, icon="*", format="{tool_name} {icon} {icon}")
    async with open_cell(toolbox, services=["notes"], tool_notifications=notices) as cell:
        (chunk,) = await announced(cell, connect, llm)
    assert chunk["metadata"]["lines"] == ["notes.search * *"]
    (shown,) = chunk["metadata"]["arguments"]
    assert shown["query"] == "milk"
    assert shown["token"].startswith("***")
    assert "hush" not in str(chunk)


async def test_tool_notices_can_be_off(open_cell, connect, llm, toolbox):
    notices = ToolNotices(enabled=False)
    async with open_cell(toolbox, services=["notes"], tool_notifications=notices) as cell:
        assert await announced(cell, connect, llm) == []


# --- plain sockets -----------------------------------------------------------------------------------------------


async def test_a_plain_socket_gets_documented_frames_with_documented_keys_only(open_cell, connect, llm, toolbox):
    llm.reply(Script.tool_calls(("search", {"query": "milk"}), text="Let me see. "))
    llm.reply(Script.text("Found it."))
    async with open_cell(toolbox, services=["notes"]) as cell:
        client = connect(cell, plain=True)
        await client.do("chat", "q1", text="look")
        end = await client.end_of("q1")
        await client.do("chat", "q2")
        refused = await client.end_of("q2")
        await client.do("ping", "q3")
        await client.do("stop", "q4", conversation_id=(await cell.store.conversations())[0].id)
        stopped = await client.end_of("q4")
    assert set(client.statuses()) == {"chunk", "complete", "error"}
    assert all(set(frame) <= {"request_id", "status", "chunk", "metadata"} for frame in client.frames)
    assert client.said("q1") == "Let me see. Found it."
    assert end["metadata"]["tokens"] > 0
    assert set(end["metadata"]) == {"tokens", "usage", "finish_reason", "cached", "hops"}
    assert set(refused["chunk"]) == {"error"}
    assert stopped["metadata"] == {"tokens": 0, "result": "not_running"}


@pytest.mark.parametrize("plain", [False, True])
async def test_a_plain_socket_gets_an_error_in_place_of_another_attempt_after_text(open_cell, connect, llm, plain):
    llm.reply(Script.fault(Fault.CUT, text="one two three four", after=2))
    llm.otherwise(Script.text("whole"))
    async with open_cell() as cell:
        client = connect(cell, plain=plain)
        await client.do("chat", "q", text="hello")
        end = await client.end_of("q")
    assert end["status"] == ("error" if plain else "complete")
    assert client.said("q") == ("one two " if plain else "one two whole")
    assert llm.calls == (1 if plain else 2)


async def test_a_plain_socket_is_helped_by_another_attempt_as_long_as_it_has_seen_nothing(open_cell, connect, llm):
    llm.reply(Script.fault(Fault.RATE_LIMITED, retry_after="0"))
    llm.otherwise(Script.text("whole"))
    async with open_cell() as cell:
        client = connect(cell, plain=True)
        await client.do("chat", "q", text="hello")
        assert (await client.end_of("q"))["status"] == "complete"
    assert client.said("q") == "whole"


async def test_a_cut_answer_is_not_asked_for_again_where_it_cannot_be_taken_back(open_cell, connect, llm):
    llm.otherwise(Script.text("This is too", finish="length"))
    async with open_cell() as cell:
        client = connect(cell, plain=True)
        await client.do("chat", "q", text="hello")
        end = await client.end_of("q")
    assert (end["metadata"]["finish_reason"], client.said("q"), llm.calls) == ("length", "This is too", 1)


async def test_a_slow_plain_reader_is_given_every_fragment_once():
    from tom.agent.feed import Delta

    outbox, shown, gate = Outbox(10, plain=True), [], asyncio.Event()
    for at in range(20):
        outbox.put_delta(Delta("c", "r", "q", 0, 1, at * 5, "word "))
    assert not outbox.was_thinned("r", 0, 1)

    async def send(text):
        shown.append(text)
        gate.set()

    sending = asyncio.ensure_future(outbox.send_to(send))
    await gate.wait()
    sending.cancel()
    assert "word " * 20 in "".join(shown)


# --- the bound of turns ------------------------------------------------------------------------------------------


async def test_at_the_bound_of_turns_a_failing_last_call_is_answered_by_a_sentence(open_cell, connect, llm, toolbox):
    llm.reply(Script.tool_calls(("search", {"query": "milk"})))
    llm.otherwise(Script.fault(Fault.CUT, text="So far I have", after=2))
    async with open_cell(toolbox, services=["notes"], max_tool_hops=1) as cell:
        client = connect(cell)
        await client.do("chat", "q", text="look")
        end = await client.end_of("q")
        live = [frame for frame in client.frames if frame["status"] == "chunk" and frame.get("turn") == 1]
    assert (end["status"], end["metadata"]["finish_reason"]) == ("complete", "tool_limit_reached")
    last = max(frame["attempt"] for frame in live)
    said = "".join(frame["chunk"]["data"] for frame in live if frame["attempt"] == last)
    assert said == "⚠️ Reached maximum tool call limit (1). Stopping to prevent infinite recursion."


# --- ends and subscriptions --------------------------------------------------------------------------------------


async def test_the_end_of_a_run_tells_warnings_speech_and_what_was_left_out(open_cell, connect, llm, toolbox):
    toolbox.set_unavailable("notes", "away")
    llm.otherwise(Script.text("Hello."))
    async with open_cell(toolbox, services=["notes"]) as cell:
        client = connect(cell)
        await client.do("subscribe", "s", conversation_id="*")
        accepted = await cell.conversations.accept(Submission("hi", "q", "ws", "c1", options={"sound": True}))
        await client.first(lambda frame: frame["status"] == "event" and frame["event"]["type"] == "run.completed")
        await client.do("chat", "q", text="hi", conversation_id="c1")
        end = await client.end_of("q")
    assert end["run_id"] == accepted.run.id
    assert end["metadata"]["warnings"] == [{"service": "notes", "message": "away"}]
    assert end["metadata"]["text_tts"] == "Hello."


async def test_listening_to_everything_brings_events_and_neither_deltas_nor_upkeep(open_cell, connect, llm):
    llm.otherwise(Script.text("Hello to you."))
    async with open_cell() as cell:
        everything, one = connect(cell), connect(cell)
        hidden = await cell.conversations.open(UPKEEP)
        await everything.do("subscribe", "s", conversation_id="*")
        await cell.conversations.open("ws")
        first = (await everything.first(lambda frame: frame["status"] == "event"))["conversation_id"]
        await one.do("subscribe", "s", conversation_id=first)
        await cell.conversations.accept(Submission("hi", "q0", UPKEEP, hidden))
        await cell.conversations.accept(Submission("hi", "q", "ws", first))
        for client in (everything, one):
            await client.first(lambda frame: frame["status"] == "event" and frame["event"]["type"] == "run.completed")
    assert {frame["conversation_id"] for frame in everything.frames if frame["status"] == "event"} == {first}
    assert "chunk" not in everything.statuses()
    assert one.said("q") == "Hello to you."
