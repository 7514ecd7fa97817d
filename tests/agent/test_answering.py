"""Asks at the doors: shown while a run waits and again on resume, answered from any device, once."""

import asyncio

import pytest

from tom.agent.feed import Progressed
from tom.conversation.elicitation import Elicitation, InputNeeded
from tom.conversation.tool import ToolClass, ToolOutcome
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

MAIL = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
FORM = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}


class Post:
    def __init__(self):
        self.toolbox = MemoryToolbox()
        self.sent = []
        self.toolbox.add(self.send_mail, service="post", parameters=MAIL, tool_class=ToolClass.WRITE_EXTERNAL)

    async def send_mail(self, **arguments):
        self.sent.append(arguments)
        return "sent"


@pytest.fixture
def post():
    return Post()


def is_waiting(frame):
    return frame["status"] == "processing" and frame["chunk"].get("type") == "waiting"


async def ask_of(client):
    return (await client.first(is_waiting))["chunk"]["metadata"]


def word(ask, decision="allow", **more):
    return {
        "approval_id": ask["approval_id"], "decision": decision, "arguments_digest": ask["arguments_digest"], **more,
    }  # fmt: skip


@pytest.mark.promise("P14")
async def test_the_ask_is_a_frame_and_a_yes_over_the_socket_lets_the_call_be_made(open_cell, connect, llm, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post.toolbox) as cell:
        client = connect(cell, device="kitchen")
        await client.do("chat", "q1", text="write", conversation_id="c1")
        frame = await client.first(is_waiting)
        ask = frame["chunk"]["metadata"]
        assert (frame["request_id"], frame["chunk"]["data"], frame["conversation_id"]) == ("q1", "approval", "c1")
        assert ask["arguments"] == {"to": "bob"}
        await client.do("approve", "q2", **word(ask))
        recorded = await client.end_of("q2")
        await client.end_of("q1")
        answered = next(e for e in await cell.store.read("c1") if e.type == "approval.answered")
    assert recorded["metadata"]["result"] == "recorded"
    assert recorded["metadata"]["decision"] == "allow"
    assert post.sent == [{"to": "bob"}]
    assert (answered.extra["by"], answered.extra["device"]) == ("alice", "kitchen")


@pytest.mark.promise("P15")
async def test_two_sockets_that_answer_at_once_have_one_effect(open_cell, connect, llm, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post.toolbox) as cell:
        one, two = connect(cell), connect(cell)
        await one.do("chat", "q1", text="write", conversation_id="c1")
        ask = await ask_of(one)
        await asyncio.gather(one.do("approve", "a1", **word(ask)), two.do("approve", "a2", **word(ask)))
        ends = [await one.end_of("a1"), await two.end_of("a2")]
        await one.end_of("q1")
    refused = [end for end in ends if end["status"] == "error"]
    assert [end["error"]["code"] for end in refused] == ["already_answered"]
    assert refused[0]["error"]["details"]["outcome"] == "allow"
    assert post.sent == [{"to": "bob"}]


async def test_open_asks_are_shown_again_on_resume_subscribe_and_repetition_and_answered_ones_are_not(
    open_cell, connect, llm, post
):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post.toolbox) as cell:
        first = connect(cell)
        await first.do("chat", "q1", text="write", conversation_id="c1")
        ask = await ask_of(first)
        for action, payload in (
            ("resume", {"conversation_id": "c1"}),
            ("subscribe", {"conversation_id": "*"}),
            ("chat", {"text": "write", "conversation_id": "c1"}),
        ):
            other = connect(cell)
            await other.do(action, "q1", **payload)
            assert (await ask_of(other))["approval_id"] == ask["approval_id"], action
            assert (await other.first(is_waiting))["request_id"] == "q1"
        await other.do("approve", "a1", **word(ask))
        await first.end_of("q1")
        for action, conversation in (("resume", "c1"), ("subscribe", "c1"), ("subscribe", "*")):
            late = connect(cell)
            await late.do(action, "q9", conversation_id=conversation)
            await late.end_of("q9")
            await asyncio.sleep(0)
            assert not any(map(is_waiting, late.frames)), action


async def test_a_subscriber_hears_of_an_ask_that_another_device_caused(open_cell, connect, llm, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post.toolbox) as cell:
        phone, desk = connect(cell), connect(cell)
        await desk.do("subscribe", "s1", conversation_id="*")
        await phone.do("chat", "q1", text="write", conversation_id="c1")
        ask = await ask_of(desk)
        await desk.do("approve", "a1", **word(ask, "deny", note="not now"))
        await desk.end_of("a1")
        await phone.end_of("q1")
    assert post.sent == []
    assert "not now" in str(llm.requests[-1].messages)


async def test_edited_arguments_are_what_runs_and_a_bad_edit_leaves_the_ask_open(open_cell, connect, llm, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post.toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="write", conversation_id="c1")
        ask = await ask_of(client)
        await client.do("approve", "a1", **word(ask, arguments={"to": 5}))
        assert (await client.end_of("a1"))["error"]["code"] == "invalid_answer"
        await client.do("approve", "a2", **word(ask | {"arguments_digest": "sha256:0"}))
        assert (await client.end_of("a2"))["error"]["code"] == "arguments_changed"
        await client.do("approve", "a3", **word(ask, arguments={"to": "carol"}))
        await client.end_of("q1")
    assert post.sent == [{"to": "carol"}]


async def test_a_question_of_a_service_is_answered_over_the_socket(open_cell, connect, llm):
    toolbox, heard = MemoryToolbox(), []

    async def book():
        return ToolOutcome("", needs=InputNeeded((Elicitation("form", "Which day?", FORM, key="k"),)))

    toolbox.add(book, service="travel", tool_class=ToolClass.READ_PUBLIC)
    real = toolbox.call

    async def call(tool, arguments, *, continuation=None, **more):
        if continuation is not None:
            heard.append(continuation.answers["k"])
            return ToolOutcome("booked")
        return await real(tool, arguments, **more)

    toolbox.call = call
    llm.reply(Script.tool_calls(("book", {})), Script.text("Booked."))
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="book", conversation_id="c1")
        asked = await ask_of(client)
        assert (asked["mode"], asked["message"], asked["schema"]) == ("form", "Which day?", FORM)
        await client.do("answer", "a1", elicitation_id=asked["elicitation_id"], outcome="accept", content={"day": 3})
        wrong = await client.end_of("a1")
        assert wrong["error"]["code"] == "invalid_answer"
        assert wrong["error"]["details"]["errors"][0]["field"] == "day"
        await client.do(
            "answer", "a2", elicitation_id=asked["elicitation_id"], outcome="accept", content={"day": "mon"}
        )
        assert (await client.end_of("a2"))["metadata"]["result"] == "recorded"
        await client.end_of("q1")
    assert (heard[0].outcome, heard[0].content) == ("accept", {"day": "mon"})


BAD = [
    ("approve", {}, "invalid_message"),
    ("approve", {"approval_id": "x"}, "invalid_message"),
    ("approve", {"approval_id": "x", "decision": "maybe", "arguments_digest": "d"}, "invalid_message"),
    ("approve", {"approval_id": "x", "decision": "allow"}, "invalid_message"),
    ("approve", {"approval_id": "x", "decision": "allow", "arguments_digest": 5}, "invalid_message"),
    ("approve", {"approval_id": "../x", "decision": "allow", "arguments_digest": "d"}, "invalid_message"),
    (
        "approve",
        {"approval_id": "x", "decision": "allow", "arguments_digest": "d", "note": "n" * 501},
        "invalid_message",
    ),
    (
        "approve",
        {"approval_id": "x", "decision": "allow", "arguments_digest": "d", "remember": "ever"},
        "invalid_message",
    ),
    ("approve", {"approval_id": "x", "decision": "allow", "arguments_digest": "d", "yes": True}, "invalid_message"),
    ("approve", {"approval_id": "x", "decision": "allow", "arguments_digest": "d", "arguments": []}, "invalid_message"),
    ("approve", {"approval_id": "x", "decision": "deny", "arguments_digest": "d", "arguments": {}}, "invalid_message"),
    ("approve", {"approval_id": "x", "decision": "allow", "arguments_digest": "d"}, "approval_not_found"),
    ("answer", {"elicitation_id": "x"}, "invalid_message"),
    ("answer", {"elicitation_id": "x", "outcome": "yes"}, "invalid_message"),
    ("answer", {"elicitation_id": "x", "outcome": "decline", "content": {"a": 1}}, "invalid_message"),
    ("answer", {"elicitation_id": "x", "outcome": "accept", "content": "a"}, "invalid_message"),
    ("answer", {"elicitation_id": "x", "outcome": "accept"}, "elicitation_not_found"),
]


async def test_each_bad_answer_gets_its_code_and_changes_nothing(open_cell, connect, llm, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post.toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="write", conversation_id="c1")
        ask = await ask_of(client)
        for number, (action, payload, code) in enumerate(BAD):
            await client.do(action, f"b{number}", **payload)
            assert (await client.end_of(f"b{number}"))["error"]["code"] == code, payload
        assert [one["approval_id"] for one in await cell.approvals.pending()] == [ask["approval_id"]]


async def test_progress_is_told_a_few_times_a_second_and_its_end_once(open_cell, connect, llm, manual):
    async with open_cell(clock=manual) as cell:
        client = connect(cell)
        conversation = await cell.conversations.open("ws")
        await client.do("subscribe", "s1", conversation_id=conversation)

        def tell(done, total=100.0):
            cell.feed.publish(
                Progressed(conversation, "r1", "q1", 0, "call", "disk", "copy", done, total, f"{done} of 100")
            )

        for tick in range(40):
            tell(float(tick))
            manual.advance(0.05)
        for _ in range(5):
            tell(100.0)
        shown = []
        async with asyncio.timeout(5):
            while not shown or shown[-1]["metadata"]["done"] != 100:
                await asyncio.sleep(0)
                shown = [f["chunk"] for f in client.frames if f["status"] == "processing"]
    assert len(shown) == 9
    assert shown[0] == {
        "type": "tool_progress", "data": "0.0 of 100",
        "metadata": {"hop": 0, "tool": "disk.copy", "call_id": "call", "done": 0.0, "total": 100.0},
    }  # fmt: skip
    assert [chunk["metadata"]["done"] for chunk in shown].count(100.0) == 1


@pytest.fixture
def manual():
    from tom.testing.manual_clock import ManualClock

    return ManualClock()
