"""Which of a client's messages are new to a conversation; a further case is a line."""

import pytest

from tom.agent.openai_known import known_of
from tom.agent.openai_messages import read_messages
from tom.agent.openai_words import waiting_text
from tom.conversation import asks
from tom.conversation import event as happened
from tom.conversation.label import CLEAN
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import NOTHING

SEND = ToolDefinition("send", "shop", "send", "", {"type": "object"}, ToolClass.WRITE_EXTERNAL)


def run(number, text, *replies, prior=(), handed=(), end="completed"):
    """The events of one run; each reply is a text. ``handed``: the ids of the calls that the last one hands over."""
    run_id = f"r{number}"
    events = [
        happened.message_received(
            "c", text, run_id=run_id, request_id=run_id, payload_digest="", surface="api", prior=prior
        ),
        happened.run_started("c", run_id=run_id, level=1, services=()),
    ]
    for turn, reply in enumerate(replies):
        calls = tuple(ToolCall(call, "weather", "{}") for call in handed) if turn == len(replies) - 1 else ()
        events.append(
            happened.model_replied(
                "c", reply, run_id=run_id, turn=turn, attempt=1, finish_reason="stop", model="m", usage=NOTHING,
                tool_calls=calls, handed={"weather"},
            )
        )  # fmt: skip
    ends = {
        "completed": happened.run_completed("c", run_id=run_id, usage=NOTHING, finish_reason="stop", hops=1),
        "failed": happened.run_failed("c", run_id=run_id, usage=NOTHING, code="provider_error", reason="It failed."),
    }
    return [*events, *([ends[end]] if end else [])]


def waits(number, text):
    """The events of a run that waits for a yes, and the ask."""
    asked = asks.approval_requested(
        "c", run_id=f"r{number}", turn=0, call_id="x", approval_id="a1", tool=SEND, arguments={"text": "hi"}, digest="d",
        reason="It changes things outside.", hidden=(), label=CLEAN, expires_at="", may_remember=False,
    )  # fmt: skip
    waiting = asks.run_waiting("c", run_id=f"r{number}", reason="approval")
    return [*run(number, text, "I will.", end=""), asked, waiting], asked


def told(*messages):
    """Messages as clients write them: ``user: …``, ``assistant: …``, ``call: ids``, ``tool: id``."""
    found = []
    for message in messages:
        role, _, rest = message.partition(": ")
        if role == "call":
            calls = [
                {"id": one, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                for one in rest.split()
            ]
            found.append({"role": "assistant", "content": None, "tool_calls": calls})
        elif role == "tool":
            found.append({"role": "tool", "tool_call_id": rest, "content": "rain"})
        else:
            found.append({"role": role, "content": rest})
    return read_messages(found).said


TALK = (*run(1, "Hi", "Hello"), *run(2, "And you?", "Fine."))

CASES = [
    ("nothing is stored", (), ("user: Hi",), 1),
    ("nothing is stored, and a history is told", (), ("user: Hi", "assistant: Hello", "user: How?"), 3),
    ("all of it is told again", TALK, ("user: Hi", "assistant: Hello", "user: And you?", "assistant: Fine.", "user: Bye"), 1),
    ("only what is new is told", TALK, ("user: Bye",), 1),
    ("the oldest is not told any more", TALK, ("user: And you?", "assistant: Fine.", "user: Bye"), 1),
    ("two new ones", TALK, ("user: Hi", "assistant: Hello", "assistant: Fine.", "user: Wait", "user: Bye"), 2),
    ("blanks do not count", TALK, ("assistant:   Fine. \n", "user: Bye"), 1),
    ("the same words again", TALK, ("user: Hi", "assistant: Hello", "user: And you?", "assistant: Fine.", "user: Hi"), 1),
    ("the same words alone", TALK, ("user: Hi",), 1),
    ("known words said again before the newest", TALK, ("assistant: Fine.", "user: Hi", "user: Bye"), 2),
    ("the last reply is asked for again", TALK, ("user: Hi", "assistant: Hello", "user: And you?"), 1),
    ("the last reply was edited", TALK, ("user: Hi", "assistant: Hello", "user: And you?", "assistant: Not so fine.", "user: Bye"), 2),
    ("a role counts as well as the words", run(1, "Hi", "Hello"), ("assistant: Hi", "user: Bye"), 2),
    ("another history", TALK, ("user: Who?", "assistant: Me.", "user: Bye"), 3),
    ("the last one failed and is sent again", (*run(1, "Hi", "Hello"), *run(2, "Bye", end="failed")), ("user: Hi", "assistant: Hello", "user: Bye"), 1),
    ("after a failure something else", (*run(1, "Hi", "Hello"), *run(2, "Bye", end="failed")), ("user: Hi", "assistant: Hello", "user: Bye", "user: Now?"), 1),
    ("a reply of several turns, as it was shown", run(1, "Look", "Let me look.", "The Aras."), ("user: Look", "assistant: Let me look.\n\nThe Aras.", "user: Bye"), 1),
    ("a reply of several turns, its last text only", run(1, "Look", "Let me look.", "The Aras."), ("assistant: The Aras.", "user: Bye"), 1),
    ("the result of a call", run(1, "Rain?", "", handed=["w1"]), ("user: Rain?", "call: w1", "tool: w1"), 1),
    ("the result of a call alone", run(1, "Rain?", "", handed=["w1"]), ("tool: w1",), 1),
    ("two results", run(1, "Rain?", "", handed=["w1", "w2"]), ("user: Rain?", "call: w1 w2", "tool: w1", "tool: w2"), 2),
    ("a result and a question", run(1, "Rain?", "", handed=["w1"]), ("user: Rain?", "call: w1", "tool: w1", "user: And?"), 2),
    ("a result that was told before", (*run(1, "Rain?", "", handed=["w1"]), *run(2, "", "It rains.", prior=({"role": "tool", "content": "rain", "tool_call_id": "w1"},))), ("user: Rain?", "call: w1", "tool: w1", "assistant: It rains.", "user: And?"), 1),
    ("a history that was told before", run(1, "How?", "Well.", prior=({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})), ("user: Hi", "assistant: Hello", "user: How?", "assistant: Well.", "user: Bye"), 1),
]  # fmt: skip


@pytest.mark.parametrize(("events", "messages", "new"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_comes_after_the_newest_known_message_is_new(events, messages, new):
    said = told(*messages)
    assert len(said) - known_of(events).new_from(said) == new


def test_the_words_for_a_run_that_waits_are_known_again():
    events, asked = waits(1, "Tell Bob")
    said = told("user: Tell Bob", f"assistant: {waiting_text('I will.', [asked])}", "user: And?")
    assert known_of(events).new_from(said) == 2
    answered = asks.approval_answered(asked, decision="allow", by="alice")
    ended = happened.run_completed("c", run_id="r1", usage=NOTHING, finish_reason="stop", hops=1)
    assert known_of((*events, answered, ended)).new_from(said) == 2


def test_instructions_and_handed_calls_are_known():
    known = known_of((happened.prompt_set("c", "Be kind."), *run(1, "Rain?", "", handed=["w1", "w2"])))
    assert known.instructions == {"Be kind."}
    assert known.calls == {"w1", "w2"}
