"""What asks and answers carry, and what a run makes of them."""

import pytest

from tom.conversation import asks
from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.event import EventType
from tom.conversation.label import Label
from tom.conversation.part import ToolCall
from tom.conversation.run import AskModel, CallTools, InvalidTransition, Nothing, RunState, fold_run


def progress(story, run="r1"):
    return fold_run(run, tuple(story.events), 8)


@pytest.fixture
def asking(story):
    """A run whose reply asks for two calls."""
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", calls=("a", "b"))
    return story


def test_an_ask_names_the_sources_of_what_the_model_has_read(story):
    asked = story.wishes("r1", "a", label=Label(frozenset({"web.fetch", "mail.read"})))
    assert (asked.extra["tainted"], asked.extra["sources"]) == (True, ["mail.read", "web.fetch"])
    assert (asked.extra["pin"], asked.extra["arguments_digest"]) == ("pin-1", "sha256:0")


def test_an_answer_is_of_the_same_call_and_says_what_was_edited(story):
    asked = story.wishes("r1", "a", turn=3)
    plain = story.decides(asked)
    edited = story.decides(asked, arguments={"x": 1}, digest="sha256:1", note="less", remember="conversation")
    assert (plain.run_id, plain.turn, plain.tool_call_id) == ("r1", 3, "a")
    assert (plain.extra["arguments_digest"], "arguments" in plain.extra, "note" in plain.extra) == (
        "sha256:0",
        False,
        False,
    )
    assert (edited.extra["arguments"], edited.extra["arguments_digest"]) == ({"x": 1}, "sha256:1")
    assert (edited.extra["note"], edited.extra["remember"]) == ("less", "conversation")


def test_a_question_carries_its_form_or_its_address_and_the_services_state():
    form = Elicitation("form", "Which?", {"type": "object"}, key="k")
    asked = asks.elicitation_requested(
        "c", run_id="r", turn=0, call_id="a", elicitation_id="e", service="s", question=form, expires_at="t", state="S"
    )
    assert (asked.extra["schema"], asked.extra["state"], "url" in asked.extra) == ({"type": "object"}, "S", False)
    there = Elicitation("url", "Log in", url="https://a.example")
    asked = asks.elicitation_requested(
        "c", run_id="r", turn=0, call_id="a", elicitation_id="e", service="s", question=there, expires_at=None
    )
    assert (asked.extra["url"], "schema" in asked.extra, "state" in asked.extra) == ("https://a.example", False, False)


@pytest.mark.promise("P19")
def test_what_was_typed_elsewhere_is_never_in_an_answer(story):
    there = Elicitation("url", "Log in", url="https://a.example")
    asked = asks.elicitation_requested(
        "c", run_id="r", turn=0, call_id="a", elicitation_id="e", service="s", question=there, expires_at=None
    )
    assert (
        "content" not in asks.elicitation_answered(asked, ElicitationAnswer("accept", {"pin": "1234"}), by="bob").extra
    )
    form = story.questions("r1", "a")
    assert story.tells(form, list="home").extra["content"] == {"list": "home"}
    assert "content" not in story.tells(form, "decline").extra


def test_open_asks_are_those_of_pending_calls_without_an_answer(asking):
    first, second = asking.wishes("r1", "a"), asking.wishes("r1", "b")
    assert progress(asking).open_asks == (first, second)
    assert progress(asking).asked == 1
    asking.waits("r1")
    asking.decides(second)
    waiting = progress(asking)
    assert (waiting.state, waiting.open_asks, waiting.next_step()) == (RunState.WAITING, (first,), Nothing())
    asking.decides(first, asks.DENY)
    asking.resumes("r1")
    after = progress(asking)
    assert (after.open_asks, set(after.decisions), after.attempts) == ((), {"a", "b"}, 0)
    assert after.next_step() == CallTools(0, (ToolCall("a", "get_time", "{}"), ToolCall("b", "get_time", "{}")))


def test_a_call_that_was_answered_asks_no_more(asking):
    asking.wishes("r1", "a")
    question = asking.questions("r1", "b")
    asking.returns("r1", "a")
    assert progress(asking).open_asks == (question,)
    asking.returns("r1", "b")
    assert progress(asking).open_asks == ()
    assert isinstance(progress(asking).next_step(), AskModel)


def test_the_next_turn_begins_without_asks(asking):
    asking.decides(asking.wishes("r1", "a"))
    asking.tells(asking.questions("r1", "b"))
    asking.returns("r1", "a")
    asking.returns("r1", "b")
    asking.replies("r1", turn=1, calls=("c",))
    after = progress(asking)
    assert (after.asks, after.decisions, after.questions, after.answers) == ({}, {}, {}, {})
    asking.wishes("r1", "c", turn=1)
    assert progress(asking).asked == 2


def test_a_call_goes_on_when_all_its_questions_have_an_answer(asking):
    asking.intends("r1", "a")
    asking.questions("r1", "b", question="on the connection")
    one, two = (asking.questions("r1", "a", key=key, question=key) for key in ("one", "two"))
    asking.waits("r1", "elicitation")
    assert not progress(asking).continued("a")
    asking.tells(one)
    assert not progress(asking).continued("a")
    asking.tells(two, "decline")
    assert progress(asking).continued("a")
    assert not progress(asking).continued("b")
    asking.resumes("r1")
    asking.intends("r1", "a")
    assert progress(asking).tool_calls == 1


def test_a_person_who_answers_keeps_a_run_from_counting_as_crashing(asking):
    for _ in range(3):
        asking.resumes("r1")
    asking.decides(asking.wishes("r1", "a"))
    assert progress(asking).resumes == 0
    asking.resumes("r1")
    asking.tells(asking.questions("r1", "b"))
    assert progress(asking).resumes == 0


def test_triage_and_falling_back_are_steps_of_a_run(asking):
    from tom.conversation import upkeep
    from tom.conversation.usage import Usage

    told = upkeep.triage_decided("c1", run_id="r1", services=(), level=0, ms=1, how="model", usage=Usage(3, 1))
    asking.tell(told)
    asking.tell(upkeep.llm_fell_back("c1", run_id="r1", turn=0, attempt=2, source="a", target="b", reason="x"))
    after = progress(asking)
    assert (after.triage.extra["level"], after.usage) == (0, Usage(13, 11))


@pytest.mark.parametrize("kind", [EventType.MODEL_REPLIED, EventType.RUN_COMPLETED, EventType.APPROVAL_REQUESTED])
def test_a_waiting_run_neither_speaks_nor_ends_well_nor_asks_more(asking, kind):
    asking.waits("r1")
    with pytest.raises(InvalidTransition):
        progress(asking).apply(asking.tell(asking.events[0].__class__(conversation_id="c1", type=kind)))


def test_nothing_is_asked_any_more_once_the_run_has_ended(asking):
    asking.wishes("r1", "a")
    asking.waits("r1")
    assert progress(asking).open_asks
    asking.cancels("r1")
    assert progress(asking).open_asks == ()
