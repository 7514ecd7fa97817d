"""The laws of the window: newest kept, calls and results paired, order kept, budget kept."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tom.conversation.history import RunHistory, fold
from tom.conversation.message import Role
from tom.conversation.window import KEPT_ENDS, choose_window
from tom.errors import ContextTooSmall

words = st.text("abc ", min_size=1, max_size=120)
runs = st.lists(st.tuples(words, st.lists(st.tuples(words, words), max_size=3), words), min_size=1, max_size=8)


def conversation(story_class, told):
    story = story_class()
    for number, (question, calls, answer) in enumerate(told):
        run = f"r{number}"
        story.asks(run, question)
        story.starts(run)
        for turn, (said, result) in enumerate(calls):
            story.replies(run, turn=turn, text=said, calls=(f"{run}c{turn}",))
            story.returns(run, f"{run}c{turn}", turn=turn, content=result)
        if number < len(told) - 1:
            story.replies(run, turn=len(calls), text=answer)
            story.completes(run)
    history = fold(story.events)
    last = f"r{len(told) - 1}"
    return history.runs[last], history.before(last)


@pytest.fixture
def chosen(story):
    def choose(told, **bounds):
        current, earlier = conversation(type(story), told)
        return choose_window(current, earlier, **bounds), current, earlier

    return choose


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=runs, budget=st.integers(45, 600), limit=st.none() | st.integers(1, 12))
def test_whatever_the_conversation_the_laws_of_the_window_hold(story, told, budget, limit):
    current, earlier = conversation(type(story), told)
    window = choose_window(current, earlier, budget=budget, message_limit=limit)
    assert window.tokens <= budget
    asked = current.asked()[0]
    assert asked in window.messages, "the person's message is always in"
    kept = earlier[window.left_out :]
    users = [message.text for message in window.messages if message.role is Role.USER]
    assert users == [run.asked()[0].text for run in kept] + [asked.text], "a suffix of the runs, in order"
    open_calls = set()
    for message in window.messages:
        open_calls |= {call.id for call in message.calls}
        for result in message.results:
            assert result.call_id in open_calls, "a result never stands without its call"
            open_calls.discard(result.call_id)
    assert not open_calls, "a call never stands without its result"


def test_everything_is_in_when_there_is_room(chosen):
    window, current, earlier = chosen([("a", [], "b"), ("c", [("d", "e")], "f"), ("g", [], "")], budget=10_000)
    assert window.left_out == 0
    assert window.messages == tuple(m for run in (*earlier, current) for m in run.messages())


def test_the_oldest_run_is_the_first_to_go(chosen):
    told = [("old " * 30, [], "x"), ("new", [], "y"), ("now", [], "")]
    window, _, _ = chosen(told, budget=40)
    assert [m.text for m in window.messages] == ["new", "y", "now"]
    assert window.left_out == 1


def test_a_message_that_does_not_fit_alone_is_refused_with_both_numbers(chosen):
    with pytest.raises(ContextTooSmall, match=r"103 tokens.*room for 50") as refused:
        chosen([("x" * 300, [], "")], budget=50)
    assert refused.value.details == {"needed": 103, "available": 50}


def test_a_long_result_is_cut_in_its_middle_and_says_how_much_is_missing(chosen):
    result = "A" * 5000 + "B" * 5000
    window, _, _ = chosen([("q", [("look", result)], "")], budget=1500)
    (cut,) = [result.content for message in window.messages for result in message.results]
    assert cut.startswith("A" * KEPT_ENDS)
    assert cut.endswith("B" * KEPT_ENDS)
    assert "8000 characters left out" in cut


def test_a_long_result_of_an_earlier_run_is_cut_before_the_run_is_left_out(chosen):
    window, _, _ = chosen([("q", [("look", "A" * 9000)], "ok"), ("now", [], "")], budget=1500)
    assert window.left_out == 0


def test_the_oldest_units_of_the_current_run_go_when_even_short_results_do_not_fit(chosen):
    told = [("q", [("one", "A" * 1900), ("two", "B" * 1900)], "")]
    window, _, _ = chosen(told, budget=800)
    assert [m.text for m in window.messages if m.role is Role.ASSISTANT] == ["two"]


def test_the_message_limit_counts_what_people_and_models_said_but_not_tool_traffic(chosen):
    told = [("a", [], "b"), ("c", [("look", "r")], "d"), ("now", [], "")]
    window, _, _ = chosen(told, budget=10_000, message_limit=4)
    assert [m.text for m in window.messages if m.role is Role.USER] == ["c", "now"]


def test_a_reply_that_only_calls_rides_with_what_it_calls_for(chosen):
    told = [("a", [("", "r")] * 3, "b"), ("now", [], "")]
    window, _, _ = chosen(told, budget=10_000, message_limit=3)
    assert [m.text for m in window.messages if m.role is Role.USER] == ["a", "now"]


def test_a_run_without_a_message_fits_anywhere():
    assert choose_window(RunHistory("r"), (), budget=0).messages == ()
