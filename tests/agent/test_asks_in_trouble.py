"""Asks when things go wrong at the worst moment: full disks, dead connections, changed tools, sockets that vanish."""

import asyncio
import json
from dataclasses import replace

import pytest

from tom.agent.websocket import serve_websocket
from tom.conversation.elicitation import Elicitation, ElicitationAnswer, InputNeeded
from tom.conversation.tool import ToolClass, ToolOutcome
from tom.errors import AskExpired, StorageFull
from tom.services.memory import MemoryToolbox
from tom.store.eventstore import RunFilter
from tom.store.memory import MemoryEventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

FORM = {"type": "object", "properties": {"size": {"type": "integer"}}}
ANYTHING = {"type": "object"}
HOUR = 3600


class FullNowAndThen(MemoryEventStore):
    """A store whose disk is full for the next ``full[type]`` appends with an event of that type.

    ``before`` is called with each append's types before anything is stored.
    """

    def __init__(self, clock=None):
        super().__init__(clock=clock)
        self.full = {}
        self.appends = 0
        self.before = None

    async def append(self, events):
        self.appends += 1
        if self.before is not None:
            await self.before([event.type for event in events])
        for event in events:
            if self.full.get(event.type, 0):
                self.full[event.type] -= 1
                raise StorageFull
        return await super().append(events)


class Shop(MemoryToolbox):
    """`order` asks its person first, in the way of ``modern``; `send` is asked about by the policy. ``sent`` so far."""

    def __init__(self, *, modern=True):
        super().__init__()
        self.modern = modern
        self.sent = []
        self.made = []
        self.given_up = asyncio.Event()
        self.change = lambda tool: tool

        async def nothing():
            return ""

        self.add(nothing, service="shop", name="order", parameters=ANYTHING, tool_class=ToolClass.WRITE_OWN)
        self.add(nothing, service="post", name="send", parameters=ANYTHING, tool_class=ToolClass.WRITE_EXTERNAL)

    async def tools(self, services=None):
        offered = await super().tools(services)
        return replace(offered, tools=tuple(self.change(tool) for tool in offered.tools))

    def check(self, tool, arguments):
        return None

    async def call(self, tool, arguments, *, key="", timeout=None, exchange=None, continuation=None):
        self.made.append(tool.full_name)
        if tool.tool == "send":
            self.sent.append(dict(arguments))
            return ToolOutcome("sent")
        question = Elicitation("form", "Which size?", FORM, key="size" if self.modern else "")
        if self.modern:
            needs = None if continuation else InputNeeded((question,), "state")
            return ToolOutcome("ordered" if continuation else "", needs=needs)
        waiting = asyncio.ensure_future(exchange.elicit(question))
        try:
            await self.given_up.wait()
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])
        return ToolOutcome("The connection ended.", is_error=True)


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0)
    return found


async def one_ask(cell, kind="approval_id"):
    """The first open ask of this kind, once nothing is at work."""
    async with asyncio.timeout(10):
        while True:
            found = [ask for ask in await cell.approvals.pending() if kind in ask]
            if found and not cell.scheduler.active_runs:
                return found[0]
            await asyncio.sleep(0)


async def allow(cell, ask, **more):
    return await cell.approvals.decide(ask["approval_id"], "allow", digest=ask["arguments_digest"], by="alice", **more)


async def types_of(cell):
    return [event.type for event in await cell.store.read("c1")]


@pytest.mark.promise("P9")
async def test_a_full_disk_at_the_end_of_an_ask_ends_neither_the_agent_nor_the_ask(open_cell, connect, llm):
    clock = ManualClock()
    store = FullNowAndThen(clock)
    llm.reply(Script.tool_calls(("send", {})), Script.text("nobody answered"), Script.text("still here"))
    async with open_cell(Shop(), store, clock=clock) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="send", conversation_id="c1")
        await one_ask(cell)
        store.full["approval.answered"] = 3
        clock.advance(72 * HOUR + 1)
        async with asyncio.timeout(10):
            while "run.completed" not in await types_of(cell):
                clock.advance(6)
                for _ in range(50):
                    await asyncio.sleep(0)
        await client.end_of("q1")
        await client.do("chat", "q2", text="are you there?", conversation_id="c2")
        await client.end_of("q2")
    assert client.said("q2") == "still here"
    assert store.full["approval.answered"] == 0


@pytest.mark.promise("P9")
async def test_an_answer_in_the_moment_of_expiry_is_one_clear_refusal(open_cell, connect, llm):
    clock = ManualClock()
    llm.reply(Script.tool_calls(("send", {})), Script.text("nobody answered"))
    shop = Shop()
    async with open_cell(shop, MemoryEventStore(clock=clock), clock=clock) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="send", conversation_id="c1")
        ask = await one_ask(cell)
        clock.advance(72 * HOUR + 1)
        with pytest.raises(AskExpired):
            await allow(cell, ask)
        await client.end_of("q1")
    assert shop.sent == []


@pytest.mark.promise("P7")
async def test_a_question_whose_call_has_ended_does_not_hold_up_a_later_yes(open_cell, connect, llm):
    shop = Shop(modern=False)
    store = FullNowAndThen()
    llm.reply(Script.tool_calls(("order", {})), Script.tool_calls(("send", {})), Script.text("sent"))
    async with open_cell(shop, store) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="order", conversation_id="c1")
        await one_ask(cell, "elicitation_id")
        shop.given_up.set()
        ask = await one_ask(cell)
        assert len(await cell.approvals.pending()) == 1
        await allow(cell, ask)
        await client.end_of("q1")
    assert len(shop.sent) == 1


@pytest.mark.promise("P1")
async def test_a_socket_that_vanishes_in_the_middle_of_a_message_leaves_it_to_be_answered(open_cell, llm, entry_of):
    store = FullNowAndThen()
    llm.otherwise(Script.text("ok"))
    gone = asyncio.Event()
    said = {"action": "chat", "request_id": "q1", "payload": {"text": "hello", "conversation_id": "c1"}}
    incoming = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})
    incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(said | {"request_id": "q0", "payload": {
        "text": "first", "conversation_id": "c0"}})})  # fmt: skip

    async def vanish(types):
        if "message.received" in types and incoming.empty() and armed:
            gone.set()
            for _ in range(5):  # the writer's failure is noticed while this is being stored
                await asyncio.sleep(0)

    armed = []

    async def send(message):
        if message["type"] == "websocket.send" and '"complete"' in message["text"]:
            armed.append(True)
            incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(said)})
            await gone.wait()
            raise OSError("gone")

    store.before = vanish
    async with open_cell(store=store) as cell:
        async with asyncio.timeout(10):
            await serve_websocket(cell, incoming.get, send, entry_of(cell))
            while not (rows := await store.runs(RunFilter(conversation_id="c1"))) or not rows[0].state.ended:
                await asyncio.sleep(0)
    assert rows[0].state == "completed"


@pytest.mark.promise("P7")
async def test_a_question_stored_just_before_the_end_is_shown_after_the_restart(open_cell, connect, llm):
    shop, store = Shop(), FullNowAndThen()
    llm.reply(Script.tool_calls(("order", {})), Script.text("ordered"))

    async def die(types):
        if "run.waiting" in types:
            await asyncio.Event().wait()

    store.before = die
    async with open_cell(shop, store) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="order", conversation_id="c1")
        async with asyncio.timeout(10):
            while "elicitation.requested" not in await types_of(cell):
                await asyncio.sleep(0)
        left = MemoryEventStore()
        await left.append(await store.read("c1"))
        store.before = None
    async with open_cell(shop, left) as cell:
        ask = await one_ask(cell, "elicitation_id")
        await cell.approvals.reply(ask["elicitation_id"], ElicitationAnswer("accept", {"size": 1}), by="alice")
        async with asyncio.timeout(10):
            while (await types_of(cell))[-1] != "run.completed":
                await asyncio.sleep(0)


@pytest.mark.promise("P9")
async def test_a_full_disk_at_the_start_keeps_no_agent_from_starting(open_cell, connect, llm):
    shop, store = Shop(modern=False), FullNowAndThen()
    llm.reply(Script.tool_calls(("order", {})))
    async with open_cell(shop, store) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="order", conversation_id="c1")
        await one_ask(cell, "elicitation_id")
    store.full["elicitation.answered"] = 1
    async with open_cell(shop, store) as cell:
        assert await cell.approvals.pending() == ()


@pytest.mark.promise("P9")
async def test_a_full_disk_at_the_moment_of_going_on_makes_no_second_run(open_cell, connect, llm):
    clock = ManualClock()
    shop, store = Shop(), FullNowAndThen(clock)
    llm.reply(Script.tool_calls(("send", {})), Script.text("sent"))
    async with open_cell(shop, store, clock=clock) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="send", conversation_id="c1")
        ask = await one_ask(cell)
        store.full["run.resumed"] = 3
        await allow(cell, ask)
        async with asyncio.timeout(10):
            while (await types_of(cell))[-1] != "run.completed":
                assert cell.scheduler.ahead("c1") <= 1 + bool(store.full["run.resumed"])
                clock.advance(31)
                for _ in range(50):
                    await asyncio.sleep(0)
    assert len(shop.sent) == 1


# --- what was approved is what runs -------------------------------------------------------------------------------

CHANGES = {
    "another pin": lambda tool: replace(tool, pin="another"),
    "another class": lambda tool: replace(tool, tool_class=ToolClass.DESTRUCTIVE),
    "another service": lambda tool: replace(tool, service="evil"),
}


@pytest.mark.promise("P15")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_tool_that_changed_while_its_question_was_open_is_not_called_again(open_cell, connect, llm, change):
    shop = Shop()
    llm.reply(Script.tool_calls(("order", {"n": 1})), Script.text("it has changed"))
    async with open_cell(shop) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="order", conversation_id="c1")
        ask = await one_ask(cell, "elicitation_id")
        shop.change = CHANGES[change]
        await cell.approvals.reply(ask["elicitation_id"], ElicitationAnswer("accept", {"size": 1}), by="alice")
        await client.end_of("q1")
        (returned,) = [event for event in await cell.store.read("c1") if event.type == "tool.returned"]
    assert shop.made == ["shop.order"]
    assert returned.extra["denied"] == "tool_changed"


@pytest.mark.promise("P15")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_tool_that_changed_while_its_ask_was_open_is_not_called(open_cell, connect, llm, change):
    shop = Shop()
    llm.reply(Script.tool_calls(("send", {"n": 1})), Script.text("it has changed"))
    async with open_cell(shop) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="send", conversation_id="c1")
        ask = await one_ask(cell)
        shop.change = CHANGES[change]
        await allow(cell, ask)
        await client.end_of("q1")
        (returned,) = [event for event in await cell.store.read("c1") if event.type == "tool.returned"]
    assert shop.made == []
    assert returned.extra["denied"] == "tool_changed"


@pytest.mark.promise("P4")
async def test_a_retry_knows_of_a_call_that_left_in_a_turn_that_was_stopped(open_cell, connect, llm):
    toolbox, left = MemoryToolbox(), []

    async def pay():
        left.append("paid")
        await asyncio.Event().wait()

    async def note():
        left.append("noted")

    toolbox.add(pay, service="bank", tool_class=ToolClass.WRITE_OWN)
    toolbox.add(note, service="bank", tool_class=ToolClass.WRITE_OWN)
    both = Script.tool_calls(("pay", {}), ("note", {}))
    llm.reply(both, Script.tool_calls(("pay", {})), Script.text("I asked."))
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="pay", conversation_id="c1")
        await until(lambda: left)
        run_id = cell.scheduler.active_run("c1")
        await client.do("stop", "s1", conversation_id="c1")
        await client.end_of("q1")
        await client.do("retry", "q2", conversation_id="c1", run_id=run_id)
        ask = await one_ask(cell)
        assert "may or may not have happened" in ask["reason"]
        await cell.approvals.decide(ask["approval_id"], "deny", digest=ask["arguments_digest"], by="alice")
        await client.end_of("q2")
    assert left == ["paid"]
    told = json.dumps(llm.requests[1].messages)
    assert "may have happened" in told
    assert "Not called: the run ended before." in told
