"""The fold tells what was said, run by run."""

from tom.conversation import event as happened
from tom.conversation.history import Unit, fold
from tom.conversation.message import Role
from tom.conversation.run import RunState


def texts(run):
    return [
        (message.role, message.text or [result.content for result in message.results]) for message in run.messages()
    ]


def test_a_run_is_its_message_its_replies_and_their_results(story):
    story.asks("r1", "what time is it?")
    story.starts("r1")
    story.replies("r1", calls=("a",))
    story.intends("r1", "a")
    story.returns("r1", "a", content="noon")
    story.replies("r1", turn=1, text="It is noon.")
    story.completes("r1")
    run = fold(story.events).runs["r1"]
    assert texts(run) == [
        (Role.USER, "what time is it?"),
        (Role.ASSISTANT, []),
        (Role.TOOL, ["noon"]),
        (Role.ASSISTANT, "It is noon."),
    ]
    assert run.state is RunState.COMPLETED
    assert run.answer.content == "It is noon."
    result = run.messages()[2].results[0]
    assert (result.name, result.service, result.is_error) == ("get_time", "time", False)


def test_queued_messages_belong_to_their_own_runs_however_they_interleave(story):
    story.asks("r1", "one")
    story.starts("r1")
    story.asks("r2", "two")
    story.replies("r1", text="first")
    story.completes("r1")
    history = fold(story.events)
    assert texts(history.runs["r1"]) == [(Role.USER, "one"), (Role.ASSISTANT, "first")]
    assert texts(history.runs["r2"]) == [(Role.USER, "two")]
    assert [run.run_id for run in history.before("r2")] == ["r1"]
    assert history.before("r1") == ()


def test_a_retry_answers_the_first_message_and_takes_the_place_of_what_it_retries(story):
    story.asks("r1", "please")
    story.starts("r1")
    story.fails("r1")
    story.answered("r2", question="meanwhile")
    story.retries("r3", retry_of="r1")
    story.starts("r3")
    history = fold(story.events)
    assert texts(history.runs["r3"]) == [(Role.USER, "please")]
    assert [run.run_id for run in history.before("r3")] == ["r2"]


def test_a_retry_of_a_run_outside_the_part_that_was_read_has_no_message(story):
    story.retries("r3", retry_of="gone")
    assert fold(story.events).runs["r3"].messages() == ()


def test_a_part_that_begins_inside_a_run_leaves_that_run_out_of_what_came_before(story):
    story.answered("r1")
    story.answered("r2")
    history = fold(story.events[2:])
    assert [run.run_id for run in history.before("r2")] == []
    assert history.runs["r1"].request is None


def test_a_reply_cut_off_before_its_results_keeps_only_its_text(story):
    story.asks("r1")
    story.starts("r1")
    reply = story.replies("r1", text="let me look", calls=("a", "b"))
    story.returns("r1", "a")
    story.cancels("r1")
    run = fold(story.events).runs["r1"]
    assert not run.units[0].complete
    assert texts(run)[1:] == [(Role.ASSISTANT, "let me look")]
    assert run.messages()[1].calls == ()
    silent = happened.model_replied(
        "c1", "", run_id="r1", turn=0, attempt=1, finish_reason="stop", model="m", usage=reply.usage,
        tool_calls=reply.tool_calls,
    )  # fmt: skip
    assert Unit(silent).messages() == ()


def test_an_empty_reply_says_nothing(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", text="")
    assert len(fold(story.events).runs["r1"].messages()) == 1


def test_an_unresolved_call_is_told_to_the_model_as_an_error(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", calls=("a",))
    story.is_unresolved("r1", "a")
    (result,) = fold(story.events).runs["r1"].messages()[2].results
    assert result.is_error


def test_instructions_and_unknown_events_are_kept_apart(story):
    story.tell(happened.prompt_set("c1", "be brief"))
    story.tell(happened.Event(conversation_id="c1", type="something.newer", extra={"run_id": "r1"}))
    story.tell(happened.conversation_opened("c1", surface="ws"))
    history = fold(story.events)
    assert [event.content for event in history.instructions] == ["be brief"]
    assert history.runs == {}


def test_an_event_that_cannot_follow_changes_nothing(story):
    story.answered("r1")
    run = fold(story.events).runs["r1"]
    assert run.apply(story.starts("r1")) is run
    assert fold(story.events).runs["r1"].state is RunState.COMPLETED


def test_a_result_before_any_reply_is_passed_over(story):
    story.asks("r1")
    story.starts("r1")
    story.returns("r1", "a")
    run = fold(story.events).runs["r1"]
    assert run.units == ()
    assert run.answer is None


def test_an_unresolved_call_without_a_reply_changes_nothing(story):
    story.asks("r1")
    story.starts("r1")
    story.is_unresolved("r1", "a")
    assert fold(story.events).runs["r1"].units == ()


def test_a_conversation_whose_only_run_is_unknown_has_nothing_before_it(story):
    story.answered("r1")
    assert [run.run_id for run in fold(story.events).before("elsewhere")] == ["r1"]


def test_a_summary_stands_for_the_runs_up_to_its_end(story):
    story.answered("r1")
    story.answered("r2")
    second = story.events[4]
    story.sums_up(second.seq)
    story.answered("r3")
    history = fold(story.events)
    assert [run.run_id for run in history.before("r3")] == []
    assert [run.run_id for run in history.before(None)] == ["r3"]
    assert history.summary.content == "They said hello."


def test_a_summed_up_run_that_is_repeated_later_is_told_again(story):
    story.asks("r1")
    story.starts("r1")
    story.fails("r1")
    story.sums_up(1)
    story.retries("r2", "r1")
    story.starts("r2")
    story.replies("r2", text="fine")
    story.completes("r2")
    (again,) = fold(story.events).before(None)
    assert (again.run_id, again.began, again.request.seq) == ("r2", 5, 1)
