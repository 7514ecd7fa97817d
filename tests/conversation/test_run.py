"""A run's next step follows from its events alone, and its states only change as the table says."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tom.conversation import asks
from tom.conversation import event as happened
from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.event import EventType
from tom.conversation.label import CLEAN
from tom.conversation.part import ToolCall
from tom.conversation.run import (
    MAX_BAD_CALLS,
    MAX_RESUMES,
    TRANSITIONS,
    AskModel,
    CallTools,
    Complete,
    GiveUp,
    InvalidTransition,
    Nothing,
    RunProgress,
    RunState,
    fold_run,
    transition,
)
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import Usage


def progress(story, run="r1", max_turns=8):
    return fold_run(run, tuple(story.events), max_turns)


def test_a_queued_run_waits_for_its_start(story):
    story.asks("r1")
    assert progress(story).next_step() == Nothing()


def test_a_started_run_asks_the_model(story):
    story.asks("r1")
    story.starts("r1")
    assert progress(story).next_step() == AskModel(turn=0, attempt=1, with_tools=True)


def test_a_failed_attempt_is_followed_by_the_next_one_of_the_same_turn(story):
    story.asks("r1")
    story.starts("r1")
    story.fails_to_reply("r1")
    assert progress(story).next_step() == AskModel(turn=0, attempt=2, with_tools=True)


def test_a_reply_with_calls_leads_to_those_without_a_result(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", calls=("a", "b"))
    story.intends("r1", "a")
    story.returns("r1", "a")
    assert progress(story).next_step() == CallTools(0, (ToolCall("b", "get_time", "{}"),))


def test_after_all_results_the_next_turn_begins_with_its_first_attempt(story):
    story.asks("r1")
    story.starts("r1")
    story.fails_to_reply("r1")
    story.replies("r1", calls=("a",), attempt=2)
    story.intends("r1", "a")
    story.returns("r1", "a")
    assert progress(story).next_step() == AskModel(turn=1, attempt=1, with_tools=True)


def test_a_reply_without_calls_is_the_answer(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", text="done")
    assert progress(story).next_step() == Complete("stop")


def test_at_the_bound_one_last_turn_is_asked_without_tools_and_then_the_run_is_complete(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", calls=("a",))
    story.intends("r1", "a")
    story.returns("r1", "a")
    assert progress(story, max_turns=1).next_step() == AskModel(turn=1, attempt=1, with_tools=False)
    story.replies("r1", turn=1, text="so far", calls=("again",))
    assert progress(story, max_turns=1).next_step() == Complete("tool_limit_reached")


@pytest.mark.promise("P7")
def test_a_run_that_keeps_crashing_is_given_up_and_anything_new_starts_the_count_again(story):
    story.asks("r1")
    story.starts("r1")
    for _ in range(MAX_RESUMES):
        story.resumes("r1")
    assert isinstance(progress(story).next_step(), AskModel)
    story.resumes("r1")
    assert progress(story).next_step() == GiveUp("crash_loop")
    story.replies("r1", text="done")
    assert progress(story).next_step() == Complete("stop")


@pytest.mark.promise("P2")
def test_a_run_resumed_while_its_reply_was_streaming_asks_as_a_new_attempt(story):
    story.asks("r1")
    story.starts("r1")
    story.resumes("r1")
    assert progress(story).next_step() == AskModel(turn=0, attempt=2, with_tools=True)


def test_a_run_resumed_while_its_tools_ran_does_not_count_an_attempt(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", calls=("a",))
    story.resumes("r1")
    story.intends("r1", "a")
    story.returns("r1", "a")
    assert progress(story).next_step() == AskModel(turn=1, attempt=1, with_tools=True)


@pytest.mark.promise("P4")
def test_an_unresolved_call_counts_as_answered_and_its_tool_is_remembered(story):
    story.asks("r1")
    story.starts("r1")
    story.replies("r1", calls=("a",))
    story.intends("r1", "a", tool_class=ToolClass.WRITE_EXTERNAL)
    assert progress(story).intended == {"a"}
    story.is_unresolved("r1", "a")
    after = progress(story)
    assert (after.intended, after.unresolved_tools) == (frozenset(), {"time.get_time"})
    assert after.next_step() == AskModel(turn=1, attempt=1, with_tools=True)


def test_a_model_that_cannot_write_a_call_is_given_up_after_two_repairs(story):
    story.asks("r1")
    story.starts("r1")
    for turn in range(MAX_BAD_CALLS + 1):
        assert isinstance(progress(story).next_step(), AskModel)
        story.replies("r1", turn=turn, calls=(f"c{turn}",))
        story.returns("r1", f"c{turn}", turn=turn, bad_call=True)
    assert progress(story).next_step() == GiveUp("model_bad_call")


@pytest.mark.parametrize("ending", ["completes", "fails", "cancels"])
def test_nothing_follows_an_end(story, ending):
    story.asks("r1")
    story.starts("r1")
    getattr(story, ending)("r1")
    ended = progress(story)
    assert ended.state.ended
    assert ended.next_step() == Nothing()
    with pytest.raises(InvalidTransition):
        ended.apply(story.starts("r1"))


def test_a_waiting_run_does_nothing_until_it_is_resumed(story):
    story.asks("r1")
    story.starts("r1")
    waiting = progress(story).apply(
        happened.Event(conversation_id="c1", type=EventType.RUN_WAITING, extra={"run_id": "r1"})
    )
    assert (waiting.state, waiting.next_step()) == (RunState.WAITING, Nothing())


def test_events_of_other_runs_and_of_newer_versions_are_passed_over(story):
    story.answered("r0")
    story.asks("r1")
    story.starts("r1")
    story.tell(happened.Event(conversation_id="c1", type="something.newer", extra={"run_id": "r1"}))
    assert len(progress(story).events) == 1


def test_usage_is_the_sum_of_every_reply_and_every_failed_attempt(story):
    story.asks("r1")
    story.starts("r1")
    story.tell(
        happened.model_failed(
            "c1", run_id="r1", turn=0, attempt=1, code="provider_bad_answer", retryable=True, usage=Usage(5, 2)
        )
    )
    story.replies("r1", calls=("a",), attempt=2, tokens=10)
    story.returns("r1", "a")
    story.replies("r1", turn=1, text="x", tokens=1)
    assert progress(story).usage == Usage(16, 13)


def test_the_table_leads_from_every_unfinished_state_to_every_bad_end():
    for state in (RunState.QUEUED, RunState.RUNNING, RunState.WAITING):
        assert transition(state, "run.failed") is RunState.FAILED
        assert transition(state, "run.cancelled") is RunState.CANCELLED
    assert not any(state.ended for state, _ in TRANSITIONS)


TOOL = ToolDefinition("t", "s", "t", "", {}, pin="p")


class AnyRun(RuleBasedStateMachine):
    """Does what `next_step` says, asks and is answered, is killed at any moment, and is stopped at any moment."""

    @initialize(max_turns=st.integers(1, 4))
    def begin(self, max_turns):
        self.progress = RunProgress("r", max_turns)
        self.calls = 0
        self.attempts = set()
        self.answered = set()
        self.questions = 0
        self.record(happened.run_started("c", run_id="r", level=1, services=()))

    def record(self, event):
        if event.type == EventType.MODEL_REPLIED:
            address = (event.turn, event.extra["attempt"])
            assert address not in self.attempts, "an attempt is never made twice"
            self.attempts.add(address)
        if event.type in {EventType.TOOL_RETURNED, EventType.TOOL_UNRESOLVED}:
            assert event.tool_call_id not in self.answered, "a call is answered once"
            self.answered.add(event.tool_call_id)
        self.progress = self.progress.apply(event)

    @precondition(lambda self: isinstance(self.progress.next_step(), AskModel))
    @rule(calls=st.integers(0, 2))
    def reply(self, calls):
        wanted = self.progress.next_step()
        made = tuple(ToolCall(f"call{self.calls + n}", "t", "{}") for n in range(calls if wanted.with_tools else 0))
        self.calls += calls
        self.record(
            happened.model_replied(
                "c", "x", run_id="r", turn=wanted.turn, attempt=wanted.attempt, finish_reason="stop", model="m",
                usage=Usage(1, 1), tool_calls=made,
            )
        )  # fmt: skip

    @precondition(lambda self: isinstance(self.progress.next_step(), AskModel))
    @rule()
    def fail_to_reply(self):
        wanted = self.progress.next_step()
        self.attempts.add((wanted.turn, wanted.attempt))
        self.record(
            happened.model_failed("c", run_id="r", turn=wanted.turn, attempt=wanted.attempt, code="x", retryable=True)
        )

    @precondition(lambda self: isinstance(self.progress.next_step(), CallTools))
    @rule(finish=st.booleans())
    def call(self, finish):
        wanted = self.progress.next_step()
        call = wanted.calls[0]
        if call.id not in self.progress.intended:
            self.record(
                happened.tool_called(
                    "c", run_id="r", turn=wanted.turn, call_id=call.id, service="s", tool="t", arguments={},
                    digest="d", tool_class=ToolClass.WRITE_EXTERNAL, key=call.id,
                )
            )  # fmt: skip
        if finish:
            self.record(
                happened.tool_returned(
                    "c", "ok", run_id="r", turn=wanted.turn, call_id=call.id, is_error=False, duration_ms=0
                )
            )

    @precondition(lambda self: isinstance(self.progress.next_step(), CallTools) and not self.progress.asks)
    @rule()
    def ask_for_approval(self):
        wanted = self.progress.next_step()
        for call in wanted.calls:
            if call.id not in self.progress.intended:
                self.record(
                    asks.approval_requested(
                        "c", run_id="r", turn=wanted.turn, call_id=call.id, approval_id=f"ask {call.id}", tool=TOOL,
                        arguments={}, digest="d", reason="", label=CLEAN, expires_at=None, may_remember=False,
                    )
                )  # fmt: skip
        if self.progress.open_asks:
            self.record(asks.run_waiting("c", run_id="r", reason="approval"))

    @precondition(lambda self: isinstance(self.progress.next_step(), CallTools) and self.progress.intended)
    @rule(key=st.sampled_from(["", "key"]))
    def ask_for_a_service(self, key):
        call_id = min(self.progress.intended)
        self.questions += 1
        self.record(
            asks.elicitation_requested(
                "c", run_id="r", turn=self.progress.turns - 1, call_id=call_id, service="s", expires_at=None,
                elicitation_id=f"question {self.questions}", question=Elicitation("form", "?", key=key),
            )
        )  # fmt: skip
        self.record(asks.run_waiting("c", run_id="r", reason="elicitation"))

    @precondition(lambda self: not self.progress.state.ended and self.progress.open_asks)
    @rule(yes=st.booleans(), data=st.data())
    def answer(self, yes, data):
        asked = data.draw(st.sampled_from(self.progress.open_asks))
        before = len(self.progress.open_asks)
        if asked.type == EventType.APPROVAL_REQUESTED:
            self.record(asks.approval_answered(asked, decision=asks.ALLOW if yes else asks.DENY, by="bob"))
        else:
            self.record(asks.elicitation_answered(asked, ElicitationAnswer("accept" if yes else "decline"), by="bob"))
        assert len(self.progress.open_asks) == before - 1

    @precondition(lambda self: self.progress.state is RunState.WAITING and not self.progress.open_asks)
    @rule()
    def go_on(self):
        turn, pending = self.progress.turns, self.progress.pending
        self.record(happened.run_resumed("c", run_id="r"))
        if pending and self.progress.resumes <= MAX_RESUMES and self.progress.bad_calls <= MAX_BAD_CALLS:
            assert self.progress.next_step() == CallTools(turn - 1, pending)
        for call in pending:
            if self.progress.continued(call.id):
                assert call.id in self.progress.intended

    @precondition(lambda self: self.progress.state is RunState.WAITING and self.progress.intended)
    @rule()
    def a_call_ends_beside_an_open_ask(self):
        call_id = min(self.progress.intended)
        self.record(
            happened.tool_returned(
                "c", "ok", run_id="r", turn=self.progress.turns - 1, call_id=call_id, is_error=False, duration_ms=0
            )
        )
        assert self.progress.state is RunState.WAITING
        assert call_id not in {asked.tool_call_id for asked in self.progress.open_asks}

    @precondition(lambda self: self.progress.state is RunState.RUNNING)
    @rule()
    def be_killed_and_resumed(self):
        wanted = self.progress.next_step()
        if isinstance(wanted, AskModel):
            self.attempts.add((wanted.turn, wanted.attempt))
        self.progress = fold_run("r", self.progress.events, self.progress.max_turns)
        self.record(happened.run_resumed("c", run_id="r"))
        for call_id in sorted(self.progress.intended):
            self.record(
                happened.tool_unresolved(
                    "c", "?", run_id="r", turn=self.progress.turns - 1, call_id=call_id, service="s", tool="t"
                )
            )

    @precondition(lambda self: isinstance(self.progress.next_step(), Complete))
    @rule()
    def complete(self):
        self.record(
            happened.run_completed("c", run_id="r", usage=Usage(), finish_reason="stop", hops=self.progress.turns)
        )

    @precondition(lambda self: not self.progress.state.ended)
    @rule()
    def stop(self):
        self.record(happened.run_cancelled("c", run_id="r", usage=Usage(), reason="stopped"))

    @precondition(lambda self: self.progress.state.ended)
    @rule(event_type=st.sampled_from(EventType))
    def nothing_follows_an_end(self, event_type):
        with pytest.raises(InvalidTransition):
            transition(self.progress.state, event_type)

    @invariant()
    def a_fold_of_the_events_is_the_progress(self):
        if hasattr(self, "progress"):
            assert fold_run("r", self.progress.events, self.progress.max_turns) == self.progress

    @invariant()
    def an_unfinished_run_always_has_something_to_do(self):
        if hasattr(self, "progress") and self.progress.state is RunState.RUNNING:
            assert not isinstance(self.progress.next_step(), Nothing)

    @invariant()
    def a_waiting_run_does_nothing(self):
        if hasattr(self, "progress") and self.progress.state is RunState.WAITING:
            assert self.progress.next_step() == Nothing()

    @invariant()
    def turns_stay_within_the_bound_and_its_last_turn(self):
        if hasattr(self, "progress"):
            assert self.progress.turns <= self.progress.max_turns + 1


TestAnyRun = AnyRun.TestCase
TestAnyRun.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
