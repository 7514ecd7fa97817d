"""What goes wrong around runs: stopping at odd moments, storage that fails, calls that may have happened."""

import asyncio

import pytest

from tom.agent.websocket import serve_websocket
from tom.clock import SystemClock
from tom.conversation.tool import ToolClass, ToolOutcome
from tom.errors import StorageFull, StorageUnavailable
from tom.services.memory import MemoryToolbox
from tom.store.memory import MemoryEventStore
from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class FailingStore(MemoryEventStore):
    """Fails as it is told, then works again."""

    def __init__(self):
        super().__init__(clock=SystemClock())
        self.fail_append = {}
        self.fail_runs = 0

    async def append(self, events):
        for event in events:
            left = self.fail_append.get(event.type, 0)
            if left:
                self.fail_append[event.type] = left - 1
                raise StorageFull
        return await super().append(events)

    async def runs(self, which, *, limit=1000):
        if self.fail_runs:
            self.fail_runs -= 1
            raise StorageUnavailable
        return await super().runs(which, limit=limit)


async def types_of(cell, conversation="c1"):
    return [event.type for event in await cell.store.read(conversation)]


async def test_stopping_a_run_that_waits_for_a_place_costs_nobody_else_anything(open_cell, connect, llm):
    llm.otherwise(Script.chunks(20, 5, delay=0.01))
    async with open_cell(max_parallel_runs=1) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="one", conversation_id="c1")
        await client.do("chat", "q2", text="two", conversation_id="c2")
        await client.do("stop", "s1", conversation_id="c2", queued=True)
        assert (await client.end_of("q2"))["metadata"]["finish_reason"] == "cancelled"
        for number in (3, 4):
            await client.do("chat", f"q{number}", text="more", conversation_id="c2")
        for number in (1, 3, 4):
            assert (await client.end_of(f"q{number}"))["metadata"]["finish_reason"] == "stop"
    assert llm.calls == 3


async def test_a_run_stopped_before_its_first_step_is_cancelled_and_leaves_its_place(open_cell, connect, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell(max_parallel_runs=1) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="one", conversation_id="c1")
        await client.do("stop", "s1", conversation_id="c1")  # no turn of the loop in between
        assert (await client.end_of("s1"))["metadata"]["result"] in {"stopped", "not_running"}
        await client.end_of("q1")
        await client.do("chat", "q2", text="two", conversation_id="c2")
        assert (await client.end_of("q2"))["status"] == "complete"


@pytest.mark.promise("P9")
async def test_a_full_disk_lets_a_run_wait_and_go_on(open_cell, connect, llm):
    store = FailingStore()
    store.fail_append["run.completed"] = 1
    store.fail_runs = 0
    llm.otherwise(Script.text("ok"))
    async with open_cell(store=store) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        store.fail_runs = 1
        end = await client.end_of("q1")
        types = await types_of(cell)
    assert end["status"] == "complete"
    assert types.count("run.started") == 1
    assert types.count("run.completed") == 1
    assert "run.resumed" in types


@pytest.mark.promise("P9")
async def test_a_full_disk_during_calls_that_only_read_is_waited_for_too(open_cell, connect, llm):
    store, toolbox = FailingStore(), MemoryToolbox()

    async def get_it():
        return "it"

    toolbox.add(get_it)
    store.fail_append["tool.returned"] = 1
    llm.reply(Script.tool_calls(("get_it", {})))
    llm.otherwise(Script.text("done"))
    async with open_cell(toolbox, store=store) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go", conversation_id="c1")
        assert (await client.end_of("q1"))["status"] == "complete"
        types = await types_of(cell)
    assert types.count("tool.called") == types.count("tool.returned") == 1


async def test_a_run_stopped_while_the_disk_is_full_ends_as_cancelled_when_it_works_again(open_cell, connect, llm):
    store = FailingStore()
    llm.otherwise(Script.chunks(500, 5, delay=0.01))
    async with open_cell(store=store) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.first(lambda f: f["status"] == "chunk")
        store.fail_append["run.cancelled"] = 1
        await client.do("stop", "s1", conversation_id="c1")
        assert (await client.end_of("s1"))["error"]["code"] == "storage_unavailable"
        assert (await client.end_of("q1"))["metadata"]["finish_reason"] == "cancelled"
    assert llm.calls == 1


async def decline_what_is_asked(cell):
    """Say no to the one open ask, once there is one; returns its reason."""
    async with asyncio.timeout(10):
        while not (pending := await cell.approvals.pending()):
            await asyncio.sleep(0)
    (ask,) = pending
    await cell.approvals.decide(ask["approval_id"], "deny", digest=ask["arguments_digest"], by="alice")
    return ask["reason"]


@pytest.mark.promise("P4")
async def test_a_call_that_was_lost_on_its_way_is_unresolved_and_repeated_only_with_a_yes(open_cell, connect, llm):
    toolbox = MemoryToolbox()

    async def write_it():
        return ToolOutcome("The connection ended.", is_error=True, unknown=True)

    toolbox.add(write_it, tool_class=ToolClass.WRITE_OWN)
    llm.reply(Script.tool_calls(("write_it", {})), Script.tool_calls(("write_it", {})), Script.text("I asked."))
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go", conversation_id="c1")
        assert "may or may not have happened" in await decline_what_is_asked(cell)
        await client.end_of("q1")
        types = await types_of(cell)
    assert types.count("tool.unresolved") == 1
    assert types.count("tool.called") == 1
    assert len(toolbox.calls) == 1


@pytest.mark.promise("P4")
async def test_a_run_that_fails_with_a_call_in_flight_says_that_it_may_have_happened(open_cell, connect, llm):
    toolbox = MemoryToolbox()

    async def write_slowly():
        await asyncio.Event().wait()

    toolbox.add(write_slowly, tool_class=ToolClass.WRITE_OWN)
    llm.reply(Script.tool_calls(("write_slowly", {})), Script.tool_calls(("write_slowly", {})), Script.text("no."))
    async with open_cell(toolbox, run_deadline_seconds=0.4) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go", conversation_id="c1")
        assert (await client.end_of("q1"))["error"]["code"] == "deadline"
        assert (await types_of(cell))[-2:] == ["tool.unresolved", "run.failed"]
        accepted = client.frames[0]
        await client.do("retry", "q2", conversation_id="c1", run_id=accepted["run_id"])
        assert "may or may not have happened" in await decline_what_is_asked(cell)
        assert (await client.end_of("q2"))["status"] == "complete"
    assert len(toolbox.calls) == 1, "the retry knows, and repeats it only with a yes"
    assert "may have happened" in str(llm.requests[1].messages), "its model was told"


async def test_retries_are_queued_within_the_same_bound_as_messages(open_cell, connect, llm):
    llm.reply(Script.fault(Fault.UNAUTHORIZED))
    llm.otherwise(Script.fault(Fault.SILENCE))
    async with open_cell(max_queue=2) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        await client.end_of("q1")
        run = client.frames[0]["run_id"]
        for number in range(5):
            await client.do("retry", f"r{number}", conversation_id="c1", run_id=run)
        assert (await client.end_of("r4"))["error"]["code"] == "queue_full"
        await client.do("stop", "s1", conversation_id="c1", queued=True)


async def test_nothing_is_accepted_into_a_conversation_that_is_being_erased(open_cell, connect, llm):
    llm.otherwise(Script.chunks(50, 5, delay=0.01))
    async with open_cell() as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="hello", conversation_id="c1")
        erasing = asyncio.ensure_future(cell.conversations.erase("c1"))
        await asyncio.sleep(0)
        await client.do("chat", "q2", text="again", conversation_id="c1")
        await erasing
        assert (await client.end_of("q2"))["metadata"]["finish_reason"] == "stop"
        assert (await types_of(cell)).count("message.received") == 1


@pytest.mark.promise("P2")
async def test_a_subscribed_socket_that_repeats_its_message_misses_no_event(open_cell, connect, llm):
    llm.otherwise(Script.chunks(30, 5, delay=0.005))
    async with open_cell() as cell:
        first, again = connect(cell), connect(cell)
        await first.do("chat", "q1", text="hello", conversation_id="c1")
        await again.do("resume", "r1", conversation_id="c1")
        await again.do("chat", "q1", text="hello", conversation_id="c1")
        end = await again.end_of("q1")
        await again.first(lambda f: f["status"] == "event" and f["seq"] == end["seq"])
    seqs = [f["seq"] for f in again.frames if f["status"] == "event"]
    assert seqs == list(range(1, end["seq"] + 1))


async def test_a_model_that_writes_half_characters_into_a_call_is_told_so(open_cell, connect, llm):
    toolbox = MemoryToolbox()

    async def get_it(text):
        return text

    toolbox.add(get_it, parameters={"type": "object", "properties": {"text": {"type": "string"}}})
    llm.reply(Script.tool_calls(("get_it", '{"text":"\\ud83d"}')), Script.text("sorry"))
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go", conversation_id="c1")
        assert (await client.end_of("q1"))["status"] == "complete"
        returned = [e for e in await cell.store.read("c1") if e.type == "tool.returned"]
    assert "surrogates" in returned[0].content


async def test_a_reader_that_leaves_during_a_long_replay_gives_its_place_back(open_cell, connect, llm, entry_of):
    llm.otherwise(Script.text("x" * 5000))
    async with open_cell(send_buffer=10_000) as cell:
        client = connect(cell)
        for number in range(10):
            await client.do("chat", f"q{number}", text="y" * 5000, conversation_id="c1")
            await client.end_of(f"q{number}")
        sent = []

        async def receive():
            if not sent:
                return {"type": "websocket.connect"}
            if sent == ["websocket.accept"]:
                sent.append("asked")
                return {
                    "type": "websocket.receive",
                    "text": '{"action":"resume","request_id":"r","payload":{"conversation_id":"c1"}}',
                }
            return await asyncio.Event().wait()

        async def send(message):
            if message["type"] == "websocket.accept":
                sent.append("websocket.accept")
                return
            raise OSError("the client went away")

        listeners = {topic: dict(listeners) for topic, listeners in cell.feed._listeners.items()}
        await asyncio.wait_for(serve_websocket(cell, receive, send, entry_of(cell)), 10)
        assert cell.sockets.open == 0
        assert cell.feed._listeners == listeners


class SlowStore(MemoryEventStore):
    """Takes its time to read, so that everything else happens meanwhile."""

    async def read(self, conversation_id, *, after=0, limit=500):
        events = await super().read(conversation_id, after=after, limit=limit)
        await asyncio.sleep(0.01)
        return events


@pytest.mark.promise("P2")
async def test_what_is_said_while_a_repetition_reads_the_past_is_neither_lost_nor_doubled(open_cell, connect, llm):
    llm.otherwise(Script.chunks(60, 5, delay=0.002))
    async with open_cell(store=SlowStore(clock=SystemClock())) as cell:
        one, two = connect(cell), connect(cell)
        await one.do("chat", "q1", text="hello", conversation_id="c1")
        await one.first(lambda f: f["status"] == "chunk")
        await two.do("chat", "q1", text="hello", conversation_id="c1")
        await asyncio.gather(one.end_of("q1"), two.end_of("q1"))
    assert two.said("q1") == one.said("q1")
    assert len(one.said("q1")) == 300
