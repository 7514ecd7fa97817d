"""Where a conversation may be cut, and where a policy wants it to be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.conversation import retention
from tom.conversation.event import Event
from tom.conversation.part import ToolCall


def told(*kinds):
    """Events from words such as ``a?`` (asked), ``a`` (something of the run), ``a.`` (ended), ``b=a`` (b repeats a)."""
    events = []
    for seq, word in enumerate(kinds, 1):
        run, mark, origin = word[0], word[1:2], word[2:]
        kind = {"?": "message.received", ".": "run.completed", "=": "run.retried"}.get(mark, "tool.called")
        extra = {"run_id": run} | ({"retry_of": origin} if origin else {}) if run != "-" else {}
        role = {"?": "user", ".": "assistant"}.get(mark)
        stamp = f"2026-01-{seq:02}T00:00:00.000Z"
        events.append(
            Event(conversation_id="c", type=kind, seq=seq, timestamp=stamp, role=role, extra=extra, token_count=10)
        )
    return events


@pytest.mark.parametrize(
    ("story", "borders"),
    [
        ("a? a. b? b. c? c.", (3, 5)),
        ("- a? a. - b? b.", (5,)),
        ("a? a b? a. b b. c? c.", (7,)),
        ("a? a b? b.", ()),
        ("a a. b? b. c? c.", (3, 5)),
        ("a a. b? b.", (3,)),
        ("b a. b. c? c.", (4,)),
        ("a? a. b? b. c=a c. d? d.", (7,)),
        ("b? b. c? c. c=z c. d? d.", (7,)),
        ("a? a. b=a b. c? c. d? d.", (5, 7)),
        ("a? a. -? b? b.", (3, 4)),
        ("", ()),
    ],
)
def test_a_cut_falls_only_where_no_run_is_under_way(story, borders):
    assert retention.borders(told(*story.split())) == borders


@given(st.lists(st.sampled_from(["?", "", "."]), max_size=40), st.data())
def test_no_cut_ever_parts_a_run(marks, data):
    words = [data.draw(st.sampled_from("abcd")) + mark for mark in marks]
    begun, kept = set(), []
    for word in words:
        if word.endswith("?") and word[0] in begun:
            continue
        begun.add(word[0])
        kept.append(word)
    events = told(*kept)
    for border in retention.borders(events):
        before = {event.run_id for event in events if event.seq < border}
        unended = before - {event.run_id for event in events if event.type == "run.completed" and event.seq < border}
        assert not unended


def test_the_newest_tokens_are_counted_from_the_end():
    events = told("a?", "a.", "b?", "b.")
    assert [retention.within_tokens(events, limit) for limit in (40, 39, 20, 9)] == [1, 2, 3, 5]


def test_the_newest_messages_are_counted_from_the_end():
    events = told("a?", "a", "a.", "b?", "b.")
    assert [retention.within_messages(events, limit) for limit in (1, 2, 4, 5)] == [5, 4, 1, None]


def test_a_reply_that_only_calls_is_not_a_message_of_its_own():
    call = ToolCall("1", "look", "{}")
    asked, done = told("a?", "a.")
    called = replace(done, type="model.replied", content="", tool_calls=(call,))
    spoken = replace(called, content="I look.", seq=3)
    assert retention.within_messages((asked, called, spoken), 2) == 1


def test_age_is_that_of_the_first_event_that_is_young_enough():
    events = told("a?", "a.", "b?", "b.")
    moments = ("2026-01-01", "2026-01-03", "2026-02")
    assert [retention.younger_than(events, moment) for moment in moments] == [1, 3, None]


@pytest.mark.parametrize(
    ("wanted", "whole", "floor", "cut"),
    [
        (5, True, None, 5),
        (6, True, None, 5),
        (6, False, None, 7),
        (9, False, None, 7),
        (9, True, None, 7),
        (2, True, None, None),
        (2, False, None, 3),
        (7, False, 6, 5),
        (7, True, 2, None),
    ],
)
def test_the_cut_is_the_border_nearest_to_what_is_wanted(wanted, whole, floor, cut):
    events = told("a?", "a.", "b?", "b.", "c?", "c.", "d?", "d.")
    assert retention.cut_at(events, wanted, whole=whole, floor=floor) == cut


def test_one_run_is_never_cut():
    assert retention.cut_at(told("a?", "a", "a."), 3, whole=False, floor=None) is None
