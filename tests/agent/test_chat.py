"""One socket: accepted before anything else, streamed without a gap, ended by one frame."""

import asyncio

import pytest

from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Fault, Script

pytestmark = pytest.mark.anyio


async def test_a_message_is_accepted_processed_streamed_and_completed(open_cell, connect, llm):
    llm.reply(Script.text("Hello to you."))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello")
        end = await client.end_of("q1")
    assert client.statuses()[:2] == ["accepted", "processing"]
    assert client.said("q1") == "Hello to you."
    assert end["metadata"]["finish_reason"] == "stop"
    assert end["metadata"]["tokens"] == end["metadata"]["usage"]["total_tokens"] > 0
    assert client.frames[0]["seq"] == 2, "the conversation was opened by the same commit"


async def test_without_streaming_the_whole_text_comes_as_one_chunk(open_cell, connect, llm):
    llm.reply(Script.text("all of it at once"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", streaming=False)
        await client.end_of("q1")
    chunks = [frame for frame in client.frames if frame["status"] == "chunk"]
    assert [chunk["chunk"]["data"] for chunk in chunks] == ["all of it at once"]


async def test_messages_without_a_conversation_share_the_sockets_default_until_it_is_cleared(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        for number in (1, 2):
            await client.do("chat", f"q{number}", text="hello")
            await client.end_of(f"q{number}")
        await client.do("clear", "q3")
        cleared = (await client.end_of("q3"))["chunk"]["metadata"]
        await client.do("chat", "q4", text="hello")
        await client.end_of("q4")
        first, second, _, fourth = [
            (await client.first(lambda f, q=q: f["request_id"] == q and f["status"] in {"accepted", "complete"}))
            for q in ("q1", "q2", "q3", "q4")
        ]
    assert first["conversation_id"] == second["conversation_id"] == cleared["old_conversation_id"]
    assert fourth["conversation_id"] == cleared["new_conversation_id"] != first["conversation_id"]
    assert cleared["full_wipe_occurred"] is False


async def test_clearing_with_delete_erases_the_conversation(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="secret", conversation_id="c1")
        await client.end_of("q1")
        await client.do("clear", "q2", conversation_id="c1", delete=True)
        assert (await client.end_of("q2"))["chunk"]["metadata"]["full_wipe_occurred"] is True
        await client.do("resume", "q3", conversation_id="c1")
        assert (await client.end_of("q3"))["error"]["code"] == "conversation_not_found"
        await client.do("chat", "q4", text="again", conversation_id="c1")
        assert (await client.end_of("q4"))["status"] == "complete"
        assert "secret" not in str(llm.requests[-1].messages)


async def test_a_new_conversation_becomes_the_sockets_default(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("new", "q1", metadata={"shop": 7})
        new = (await client.end_of("q1"))["chunk"]["metadata"]["new_conversation_id"]
        await client.do("chat", "q2", text="hello")
        await client.end_of("q2")
        assert client.frames[1]["conversation_id"] == new
        assert (await cell.conversations.get(new)).metadata == {"shop": 7}


@pytest.mark.promise("P3")
async def test_the_same_id_without_a_conversation_is_recognised_on_another_socket(open_cell, connect, llm):
    llm.otherwise(Script.text("once"))
    async with open_cell() as cell:
        one, two = connect(cell), connect(cell)
        await one.do("chat", "q1", text="hello")
        await one.end_of("q1")
        await two.do("chat", "q1", text="hello")
        end = await two.end_of("q1")
    assert end["metadata"]["cached"] is True
    assert two.said("q1") == "once"
    assert two.frames[0]["conversation_id"] == one.frames[0]["conversation_id"]
    assert llm.calls == 1


@pytest.mark.promise("P3")
async def test_a_repetition_while_it_runs_joins_with_the_text_so_far(open_cell, connect, llm, until):
    llm.reply(Script.chunks(40, 10, delay=0.01))
    async with open_cell() as cell:
        one, two = connect(cell), connect(cell)
        await one.do("chat", "q1", text="hello", conversation_id="c1")
        await until(lambda: len(one.said("q1")) > 100)
        await two.do("chat", "q1", text="hello", conversation_id="c1")
        await asyncio.gather(one.end_of("q1"), two.end_of("q1"))
    assert one.said("q1") == two.said("q1")
    assert len(one.said("q1")) == 400
    joined = next(frame for frame in two.frames if frame["status"] == "chunk")
    assert (joined["offset"], joined["replay"]) == (0, True)


async def test_a_failed_request_repeated_gives_the_recorded_error_and_no_model_call(open_cell, connect, llm):
    llm.otherwise(Script.fault(Fault.UNAUTHORIZED))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello")
        first = await client.end_of("q1")
        again = connect(cell)
        await again.do("chat", "q1", text="hello")
        second = await again.end_of("q1")
    assert first["error"]["code"] == second["error"]["code"] == "provider_error"
    assert first["error"]["details"] == {"source": "provider", "retryable": False}
    assert second["error"]["details"] == {"source": "provider", "retryable": False, "cached": True}
    assert llm.calls == 1


async def test_a_cancelled_request_repeated_shows_what_was_kept_of_it_once(open_cell, connect, llm, until):
    llm.reply(Script.chunks(500, 10, delay=0.01))
    async with open_cell() as cell:
        one, two = connect(cell), connect(cell)
        await one.do("chat", "q1", text="a long story", conversation_id="c1")
        await until(lambda: len(one.said("q1")) > 50)
        await one.do("stop", conversation_id="c1")
        await one.end_of("q1")
        kept = next(event.content for event in await cell.store.read("c1") if event.type == "model.replied")
        await two.do("chat", "q1", text="a long story", conversation_id="c1")
        end = await two.end_of("q1")
    assert two.statuses() == ["accepted", "chunk", "complete"]
    assert two.said("q1") == kept
    assert len(kept) > 50
    assert (end["metadata"]["finish_reason"], end["metadata"]["cached"]) == ("cancelled", True)


async def test_the_same_id_with_another_text_and_no_conversation_is_refused_and_nothing_is_stored(
    open_cell, connect, llm
):
    llm.otherwise(Script.text("once"))
    async with open_cell() as cell:
        one, two = connect(cell), connect(cell)
        await one.do("chat", "q1", text="hello")
        await one.end_of("q1")
        rows = await cell.store.conversations()
        await two.do("chat", "q1", text="good-bye")
        refused = await two.end_of("q1")
        assert refused["error"]["code"] == "request_id_reused"
        assert await cell.store.conversations() == rows
        await two.do("chat", "q1", text="good-bye", conversation_id="another")
        assert (await two.first(lambda frame: frame["status"] == "complete"))["metadata"]["cached"] is False


async def test_ids_of_sessions_elsewhere_are_nothing_to_a_socket_without_a_conversation(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        session = await cell.conversations.open("rest")
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id=session)
        await client.end_of("q1")
        other = connect(cell)
        await other.do("chat", "q1", text="good-bye")
        assert (await other.end_of("q1"))["status"] == "complete"


@pytest.mark.promise("P2")
async def test_an_attempt_that_failed_after_text_was_shown_is_withdrawn_and_never_spliced(open_cell, connect, llm):
    llm.reply(Script.fault(Fault.CUT, text="this is the wrong beginning", after=3), Script.text("the right answer"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.end_of("q1")
        events = await cell.store.read("c1")
    marks = [
        frame for frame in client.frames if frame["status"] == "processing" and frame["chunk"].get("type") == "attempt"
    ]
    assert marks[0]["chunk"]["metadata"] == {"attempt": 2, "discard": True}
    second = "".join(f["chunk"]["data"] for f in client.frames if f["status"] == "chunk" and f["attempt"] == 2)
    assert second == "the right answer"
    replies = [event for event in events if event.type == "model.replied"]
    assert [reply.content for reply in replies] == ["the right answer"]
    assert [event.extra["code"] for event in events if event.type == "model.failed"] == ["provider_bad_answer"]


async def test_interrupting_cancels_the_active_run_and_answers_the_new_message(open_cell, connect, llm, until):
    llm.reply(Script.chunks(500, 10, delay=0.01), Script.text("yes?"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="a long story", conversation_id="c1")
        await until(lambda: client.said("q1"))
        await client.do("chat", "q2", text="stop that", conversation_id="c1", if_busy="interrupt")
        assert (await client.end_of("q1"))["metadata"]["finish_reason"] == "cancelled"
        assert (await client.end_of("q2"))["metadata"]["finish_reason"] == "stop"
    assert client.said("q2") == "yes?"


async def test_a_busy_conversation_may_be_refused_and_a_full_queue_is(open_cell, connect, llm, until):
    llm.otherwise(Script.fault(Fault.SILENCE))
    async with open_cell(max_queue=2) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="one", conversation_id="c1")
        await client.do("chat", "q2", text="two", conversation_id="c1", if_busy="reject")
        assert (await client.end_of("q2"))["error"]["code"] == "conversation_busy"
        for number in (3, 4):
            await client.do("chat", f"q{number}", text="more", conversation_id="c1")
        await client.do("chat", "q5", text="too much", conversation_id="c1")
        assert (await client.end_of("q5"))["error"]["code"] == "queue_full"
        await client.do("stop", "q6", conversation_id="c1", queued=True)
        assert (await client.end_of("q6"))["metadata"]["result"] == "stopped"
        for number in (1, 3, 4):
            assert (await client.end_of(f"q{number}"))["metadata"]["finish_reason"] == "cancelled"
        await client.do("stop", "q7", conversation_id="c1")
        assert (await client.end_of("q7"))["metadata"]["result"] == "not_running"


async def test_only_a_few_runs_of_a_person_are_worked_on_at_once(open_cell, connect, llm, until):
    llm.otherwise(Script.chunks(20, 5, delay=0.01))
    async with open_cell(max_parallel_runs=2) as cell:
        client = connect(cell)
        most = 0
        for number in range(5):
            await client.do("chat", f"q{number}", text="hello", conversation_id=f"c{number}")
        while any(
            f"q{n}" not in {f["request_id"] for f in client.frames if f["status"] == "complete"} for n in range(5)
        ):
            most = max(most, cell.scheduler.active_runs)
            client.arrived.clear()
            await asyncio.wait_for(client.arrived.wait(), 10)
    assert most == 2


async def test_tools_that_only_read_run_beside_each_other_and_others_in_order(open_cell, connect, llm):
    toolbox, together = MemoryToolbox(), asyncio.Barrier(2)
    order = []

    async def get_one():
        await asyncio.wait_for(together.wait(), 5)
        return "one"

    async def get_two():
        await asyncio.wait_for(together.wait(), 5)
        return "two"

    async def write_first():
        order.append("first begins")
        await asyncio.sleep(0)
        order.append("first ends")

    async def write_second():
        order.append("second begins")

    for function in (get_one, get_two, write_first, write_second):
        reads = function.__name__.startswith("get")
        kind = ToolClass.READ_PRIVATE if reads else ToolClass.WRITE_OWN
        toolbox.add(function, service="notes", tool_class=kind)
    llm.reply(
        Script.tool_calls(("get_one", {}), ("get_two", {})),
        Script.tool_calls(("write_first", {}), ("write_second", {})),
        Script.text("done"),
    )
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go")
        end = await client.end_of("q1")
    assert end["metadata"]["hops"] == 3
    assert order == ["first begins", "first ends", "second begins"]


async def test_the_intent_of_a_call_is_stored_before_the_call_is_made(open_cell, connect, llm):
    toolbox = MemoryToolbox()
    seen = []
    llm.reply(Script.tool_calls(("write_note", {"text": "milk"})), Script.text("done"))
    async with open_cell(toolbox) as cell:

        async def write_note(text):
            seen.extend(event.type for event in await cell.store.read("c1"))
            return text

        toolbox.add(
            write_note,
            parameters={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            tool_class=ToolClass.WRITE_OWN,
        )
        client = connect(cell)
        await client.do("chat", "q1", text="go", conversation_id="c1")
        await client.end_of("q1")
        events = await cell.store.read("c1")
    assert seen[-1] == "tool.called"
    called = next(event for event in events if event.type == "tool.called")
    assert called.extra["arguments"] == {"text": "milk"}
    assert called.extra["digest"].startswith("sha256:")
    assert toolbox.calls[0].key == called.extra["key"] != ""


async def test_stopping_during_a_call_says_that_it_may_have_happened(open_cell, connect, llm, until):
    toolbox, started = MemoryToolbox(), asyncio.Event()

    async def write_slowly():
        started.set()
        await asyncio.Event().wait()

    toolbox.add(write_slowly, tool_class=ToolClass.WRITE_OWN)
    llm.reply(Script.tool_calls(("write_slowly", {})))
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go", conversation_id="c1")
        await asyncio.wait_for(started.wait(), 5)
        await client.do("stop", "q2", conversation_id="c1")
        await client.end_of("q1")
        types = [event.type for event in await cell.store.read("c1")]
    assert types[-2:] == ["tool.unresolved", "run.cancelled"]


async def test_what_a_model_thinks_is_shown_only_to_those_who_want_it(open_cell, connect, llm):
    llm.otherwise(Script.text("answer", thinking="let me see"))
    async with open_cell() as cell:
        plain, curious = connect(cell), connect(cell, thinking=True)
        await plain.do("chat", "q1", text="hello")
        await curious.do("chat", "q2", text="hello")
        await asyncio.gather(plain.end_of("q1"), curious.end_of("q2"))
    assert {f["chunk"]["type"] for f in plain.frames if f["status"] == "chunk"} == {"text"}
    assert {f["chunk"]["type"] for f in curious.frames if f["status"] == "chunk"} == {"text", "thinking"}


async def test_a_message_too_large_for_the_context_is_kept_and_costs_no_call(open_cell, connect, llm):
    async with open_cell(context_max_tokens=4000) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="x" * 60_000, conversation_id="c1")
        end = await client.end_of("q1")
        events = await cell.store.read("c1")
    assert end["error"]["code"] == "context_too_small"
    assert "20003 tokens" in end["error"]["message"]
    assert llm.calls == 0
    assert any(event.type == "message.received" for event in events)


async def test_a_run_that_takes_too_long_ends_with_its_reason(open_cell, connect, llm):
    llm.otherwise(Script.chunks(1000, 5, delay=0.05))
    async with open_cell(run_deadline_seconds=0.3) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello")
        assert (await client.end_of("q1"))["error"]["code"] == "deadline"


async def test_a_defect_ends_the_run_with_a_reference_and_the_agent_goes_on(open_cell, connect, llm):
    toolbox = MemoryToolbox()

    async def get_it():
        return "x"

    toolbox.add(get_it)
    broken = toolbox.tools

    async def tools(services=None):
        raise ZeroDivisionError

    toolbox.tools = tools
    llm.otherwise(Script.text("fine"))
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        failed = await client.end_of("q1")
        toolbox.tools = broken
        await client.do("chat", "q2", text="hello", conversation_id="c1")
        assert (await client.end_of("q2"))["status"] == "complete"
    assert failed["error"]["code"] == "internal_error"
    assert "ZeroDivision" not in str(failed)


async def test_while_draining_new_messages_are_refused_and_old_ones_still_answered(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.end_of("q1")
        await cell.scheduler.drain(0, 0)
        await client.do("chat", "q2", text="more", conversation_id="c1")
        assert (await client.end_of("q2"))["error"]["code"] == "shutting_down"
        again = connect(cell)
        await again.do("chat", "q1", text="hello", conversation_id="c1")
        assert (await again.end_of("q1"))["metadata"]["cached"] is True


async def test_actions_answer_even_when_nothing_is_there(open_cell, connect):
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("ping", "q1")
        assert (await client.first(lambda f: f["status"] == "pong"))["time"].endswith("Z")
        await client.do("subscribe", "q2", conversation_id="*")
        assert (await client.end_of("q2"))["metadata"]["result"] == "subscribed"
        await client.do("unsubscribe", "q3", conversation_id="*")
        assert (await client.end_of("q3"))["metadata"]["result"] == "unsubscribed"
        await client.socket.receive('{"message_type":"chat","payload":{"text":""}}')
        refused = await client.first(lambda f: f["status"] == "error")
        assert refused["error"]["code"] == "invalid_message"
