"""Events survive being written as rows and as JSON."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.conversation import codec
from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage

names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
texts = st.text(max_size=60).filter(lambda text: text.encode("utf-8", "replace").decode() == text)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
usages = st.builds(Usage, st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
calls = st.builds(ToolCall, names, names, texts)
events = st.builds(
    Event,
    conversation_id=names,
    type=st.sampled_from([*EventType, "something.newer"]).map(str),
    id=names,
    seq=st.integers(1, 2**40),
    timestamp=names,
    role=st.none() | st.sampled_from(["user", "assistant", "tool", "system"]),
    content=st.none() | texts,
    tool_calls=st.lists(calls, max_size=3).map(tuple),
    tool_call_id=st.none() | names,
    model=st.none() | names,
    usage=st.none() | usages,
    extra=st.dictionaries(names.filter(lambda name: name != "v"), json_values, max_size=4),
    token_count=st.integers(0, 10**6),
    request_id=st.none() | names,
)


@given(events)
def test_an_event_written_as_a_row_is_read_back_equal(event):
    assert codec.decode_row(codec.encode_row(event)) == event


@given(events)
def test_an_event_rendered_as_json_is_read_back_equal(event):
    assert codec.from_json(codec.to_json(event)) == event


@given(events)
def test_a_row_holds_only_what_a_table_can_hold(event):
    row = codec.encode_row(event)
    assert len(row) == len(codec.COLUMNS)
    assert all(value is None or isinstance(value, str | int) for value in row)


def test_an_event_of_an_older_version_is_lifted_step_by_step_to_the_current_shape():
    old = codec.to_json(Event(conversation_id="c", type="model.replied", extra={"words": "hi"}))
    upcasts = {
        ("model.replied", 1): lambda value: value | {"extra": {"text": value["extra"]["words"], "v": 2}},
        ("model.replied", 2): lambda value: value | {"content": value["extra"]["text"], "extra": {"v": 3}},
    }
    row = codec.encode_row(Event(conversation_id="c", type="model.replied", extra={"words": "hi"}))
    for lifted in (codec.from_json(old, upcasts), codec.decode_row(row, upcasts)):
        assert (lifted.content, lifted.extra) == ("hi", {"v": 3})


@pytest.mark.parametrize(
    "value", [{}, {"type": "x"}, codec.to_json(Event(conversation_id="c", type="x")) | {"usage": [1]}]
)
def test_json_that_tom_did_not_render_is_refused_by_name(value):
    with pytest.raises(codec.CodecError, match="cannot be read"):
        codec.from_json(value)


@pytest.mark.parametrize(
    "row",
    [
        ("only", "two"),
        ("id", "c", 1, "t", "x", None, None, "{broken", None, None, None, None, 0, None),
        ("id", "c", 1, "t", "x", None, None, "[1]", None, None, None, None, 0, None),
        ("id", "c", 1, "t", "x", None, None, None, None, None, '{"prompt_tokens":1}', None, 0, None),
    ],
)
def test_a_row_that_tom_did_not_write_is_refused_by_name(row):
    with pytest.raises(codec.CodecError, match="cannot be read"):
        codec.decode_row(row)
