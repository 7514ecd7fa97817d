"""Messages, usage and tool classes."""

from hypothesis import given
from hypothesis import strategies as st

from tom.conversation import message as make
from tom.conversation.message import Message, Role
from tom.conversation.part import Image, Text, Thinking, ToolCall, ToolResult
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import NOTHING, Usage, estimate_tokens

usages = st.builds(Usage, st.integers(0, 9999), st.integers(0, 9999), st.booleans())


@given(usages, usages, usages)
def test_usage_adds_up_in_any_grouping(one, two, three):
    assert (one + two) + three == one + (two + three)
    assert one + NOTHING == one
    assert (one + two).total_tokens == one.total_tokens + two.total_tokens


@given(st.text(max_size=200))
def test_every_text_costs_something_and_an_estimate_never_exceeds_its_length(text):
    assert (estimate_tokens(text) > 0) == bool(text)
    assert estimate_tokens(text) <= max(1, len(text))


def test_non_latin_text_costs_more_per_code_point():
    assert estimate_tokens("سلام دنیا" * 10) > estimate_tokens("hello you" * 10)


def test_a_message_gives_its_parts_by_kind():
    image, call, result = Image("image/png", b"x"), ToolCall("1", "t", "{}"), ToolResult("1", "ok")
    message = Message(Role.ASSISTANT, (Text("a"), Thinking("hm"), Text("b"), image, call, result))
    assert (message.text, message.images, message.calls, message.results) == ("ab", (image,), (call,), (result,))
    assert make.system("s").role is Role.SYSTEM
    assert make.assistant("", (call,)).parts == (call,)
    assert make.tool(result).results == (result,)


def test_only_reading_classes_may_be_repeated():
    assert {kind for kind in ToolClass if kind.reads_only} == {ToolClass.READ_PUBLIC, ToolClass.READ_PRIVATE}


def test_people_and_rules_know_a_tool_by_its_full_name():
    assert ToolDefinition("x", "time", "get", "", {}).full_name == "time.get"


def test_a_usage_tells_all_four_numbers():
    assert Usage(1, 2, estimated=True).as_json() == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "estimated": True,
    }
