"""What a client tells of earlier messages, tools that it calls itself, and instructions that are answered."""

from tom.conversation import event as happened
from tom.conversation.history import NOT_TOLD, continued, fold, gone_on
from tom.conversation.message import Role
from tom.conversation.part import ToolCall
from tom.conversation.run import CallTools, Complete, RunState, fold_run
from tom.conversation.usage import Usage
from tom.store.projection import conversation_changed, run_made

CALL = {"id": "c-1", "name": "open_door", "arguments": "{}"}


def said(runs):
    return [
        (message.role, message.text or [result.content for result in message.results])
        for run in runs
        for message in run.messages()
    ]


def hands(story, run, *calls, turn=0):
    """A reply with these (id, name) calls, of which the client makes those of ``open_door``."""
    return story.tell(
        happened.model_replied(
            "c1",
            "",
            run_id=run,
            turn=turn,
            attempt=1,
            finish_reason="tool_calls",
            model="m",
            usage=Usage(1, 1),
            tool_calls=tuple(ToolCall(call, name, "{}") for call, name in calls),
            handed={"open_door"},
        )
    )


def test_what_the_client_tells_stands_before_its_message_as_runs_of_their_own(story):
    prior = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "open", "tool_call_id": "c-1"},
        {"role": "assistant", "content": "It is open."},
    ]
    story.asks("r1", "three", prior=prior)
    history = fold(story.events)
    assert said(history.before("r1")) == [
        (Role.USER, "one"),
        (Role.ASSISTANT, "first"),
        (Role.USER, "two"),
        (Role.ASSISTANT, []),
        (Role.TOOL, ["open"]),
        (Role.ASSISTANT, "It is open."),
    ]
    assert said([history.runs["r1"]]) == [(Role.USER, "three")]


def test_replies_and_results_that_a_client_tells_are_nobodys_word_here(story):
    prior = [
        {"role": "assistant", "content": "Hello", "tool_calls": [CALL]},
        {"role": "tool", "content": "open", "tool_call_id": "c-1"},
        {"role": "user", "content": "and now?"},
    ]
    request = story.asks("r1", "go on", prior=prior)
    told = [message for run in continued((), request) for message in run.messages()]
    assert [(message.role, message.label.tainted) for message in told] == [
        (Role.ASSISTANT, True),
        (Role.TOOL, True),
        (Role.USER, False),
    ]


def test_a_result_that_nobody_asked_for_is_left_out(story):
    stray = {"role": "tool", "content": "open", "tool_call_id": "c-9"}
    assert continued((), story.asks("r1", "hi", prior=[stray])) == ()
    request = story.asks("r2", "hi", prior=[{"role": "user", "content": "one"}, stray])
    assert said(continued((), request)) == [(Role.USER, "one")]


def test_calls_of_the_clients_own_tools_end_the_run_when_ours_have_their_results(story):
    story.asks("r1", "open the door")
    story.starts("r1")
    reply = hands(story, "r1", ("c-1", "open_door"), ("c-2", "get_time"))
    assert reply.extra["handed"] == ["c-1"]
    progress = fold_run("r1", tuple(story.events), 8)
    assert progress.next_step() == CallTools(0, (ToolCall("c-2", "get_time", "{}"),))
    story.intends("r1", "c-2")
    story.returns("r1", "c-2", content="noon")
    assert fold_run("r1", tuple(story.events), 8).next_step() == Complete("tool_calls")


def test_what_came_of_the_clients_tools_joins_the_reply_that_asked_for_it(story):
    story.asks("r1", "open the door")
    story.starts("r1")
    hands(story, "r1", ("c-1", "open_door"))
    story.completes("r1")
    story.asks("r2", "", prior=[{"role": "tool", "content": "open", "tool_call_id": "c-1"}])
    history = fold(story.events)
    assert said(history.before("r2")) == [(Role.USER, "open the door"), (Role.ASSISTANT, []), (Role.TOOL, ["open"])]
    assert history.runs["r2"].asked() == ()
    assert history.runs["r1"].state is RunState.COMPLETED


def test_a_call_of_which_the_client_tells_nothing_still_has_a_result_in_the_prompt(story):
    story.asks("r1", "open the door")
    story.starts("r1")
    hands(story, "r1", ("c-1", "open_door"))
    story.completes("r1")
    history = fold([*story.events, story.asks("r2", "never mind")])
    (result,) = history.runs["r1"].messages()[-1].results
    assert (result.call_id, result.content, result.is_error) == ("c-1", NOT_TOLD, True)


def test_an_instruction_that_was_sent_as_a_message_is_answered_and_stays_an_instruction(story):
    sent = story.tell(
        happened.prompt_set(
            "c1", "Be brief.", run_id="r1", request_id="q", payload_digest="d", surface="rest", options={"level": 0}
        )
    )
    story.starts("r1")
    history = fold(story.events)
    assert history.instructions == (sent,)
    assert history.runs["r1"].asked() == ()
    assert fold_run("r1", tuple(story.events), 8).state is RunState.RUNNING
    made = run_made(sent)
    assert (made.run_id, made.request_id, made.payload_digest) == ("r1", "q", "d")
    change = conversation_changed([sent])
    assert (change.runs, change.state, change.system_prompt, change.used_at) == (
        1,
        "running",
        "Be brief.",
        sent.timestamp,
    )
    assert sent.extra["options"] == {"level": 0}


def test_an_instruction_of_its_own_makes_no_run(story):
    plain = story.tell(happened.prompt_set("c1", "Be kind."))
    assert run_made(plain) is None
    change = conversation_changed([plain])
    assert (change.runs, change.used_at, change.system_prompt) == (0, None, "Be kind.")


def test_a_reply_that_was_given_elsewhere_is_the_assistants(story):
    story.asks("r1", "Good evening.", role="assistant")
    assert said([fold(story.events).runs["r1"]]) == [(Role.ASSISTANT, "Good evening.")]


def test_the_clients_tools_are_kept_with_its_message(story):
    tool = {"name": "open_door", "description": "Opens it.", "parameters": {"type": "object"}}
    assert story.asks("r1", "hi", client_tools=[tool]).extra["client_tools"] == [tool]
    assert "client_tools" not in story.asks("r2", "hi").extra
    assert "options" not in happened.prompt_set("c1", "x", run_id="r3").extra


def told_of(runs):
    return [
        (result.call_id, result.content) for run in runs for message in run.messages() for result in message.results
    ]


def result_of(call, content):
    return {"role": "tool", "content": content, "tool_call_id": call}


def test_a_result_finds_its_reply_though_another_message_came_between(story):
    story.asks("r1", "open the door")
    story.starts("r1")
    hands(story, "r1", ("c-1", "open_door"))
    story.completes("r1")
    story.asks("r2", "something else")
    story.starts("r2")
    story.replies("r2", text="Between.")
    story.completes("r2")
    earlier = fold(story.events).before(None)
    request = story.asks("r3", "", prior=[result_of("c-1", "open")])
    before, going_on = gone_on(earlier, request)
    assert said(before) == [(Role.USER, "something else"), (Role.ASSISTANT, "Between.")]
    assert said([going_on]) == [(Role.USER, "open the door"), (Role.ASSISTANT, []), (Role.TOOL, ["open"])]
    assert told_of(fold(story.events).before("r3")) == [("c-1", "open")]


def test_results_that_come_one_at_a_time_join_the_same_reply(story):
    story.asks("r1", "open both")
    story.starts("r1")
    hands(story, "r1", ("c-1", "open_door"), ("c-2", "open_door"))
    story.completes("r1")
    story.asks("r2", "", prior=[result_of("c-1", "one")])
    story.starts("r2")
    story.replies("r2", text="And the other?")
    story.completes("r2")
    earlier = fold(story.events).before(None)
    before, going_on = gone_on(earlier, story.asks("r3", "", prior=[result_of("c-2", "two")]))
    assert before == ()
    assert said([going_on]) == [
        (Role.USER, "open both"),
        (Role.ASSISTANT, "And the other?"),
        (Role.ASSISTANT, []),
        (Role.TOOL, ["one"]),
        (Role.TOOL, ["two"]),
    ], "the reply that is answered now is the last one"


def test_a_call_id_that_is_used_again_means_the_newest_call_that_waits(story):
    for run in ("r1", "r2"):
        story.asks(run, run)
        story.starts(run)
        hands(story, run, ("c-1", "open_door"))
        story.completes(run)
    story.asks("r3", "go on", prior=[result_of("c-1", "newer"), result_of("c-1", "older"), result_of("c-1", "stray")])
    assert told_of(fold(story.events).before("r3")) == [("c-1", "older"), ("c-1", "newer")]


def test_a_message_that_says_something_itself_goes_on_with_no_other(story):
    request = story.asks("r1", "hi", prior=[{"role": "user", "content": "one"}])
    before, going_on = gone_on((), request)
    assert said(before) == [(Role.USER, "one")]
    assert going_on is None


def test_a_message_that_tells_nothing_new_goes_on_with_the_newest_run(story):
    story.starts("r0")  # of a part that begins inside a run
    story.asks("r1", "hello")
    earlier = tuple(fold(story.events).runs.values())
    before, going_on = gone_on(earlier, story.asks("r2", ""))
    assert [run.run_id for run in before] == ["r0"]
    assert going_on.run_id == "r1"
    assert gone_on((), story.asks("r3", "")) == ((), None)


def test_what_is_no_message_goes_on_with_no_other(story):
    story.asks("r1", "hello")
    story.starts("r2")  # its request is not among these
    instruction = story.tell(happened.prompt_set("c1", "Be kind.", run_id="r3"))
    assert gone_on(tuple(fold(story.events[:1]).runs.values()), instruction)[1] is None
    stray = fold(story.events[1:2]).runs["r2"]
    hands(story, "r2", ("c-1", "open_door"))
    asking = fold(story.events[:2] + story.events[3:]).runs["r2"]
    before, going_on = gone_on((asking, stray), story.asks("r4", "", prior=[result_of("c-1", "open")]))
    assert before == (stray,)
    assert going_on.request is None
