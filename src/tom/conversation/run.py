"""A run: everything that follows one message until it is completed, failed, cancelled or waiting.

`RunProgress` folds a run's events; `next_step` says what is to be done next. The agent's loop only ever does what
`next_step` says and records it, so going on after a crash is the same as going on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall
from tom.conversation.usage import NOTHING, Usage

MAX_BAD_CALLS = 2
"""Calls that are not JSON go back to the model this often; one more ends the run as ``model_bad_call``."""

MAX_RESUMES = 3
"""A run resumed this often without getting any further ends as ``crash_loop``."""


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing will follow."""
        return self in {RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED}


_Q, _R, _W = RunState.QUEUED, RunState.RUNNING, RunState.WAITING
_C, _F, _X = RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED

TRANSITIONS: dict[tuple[RunState, EventType], RunState] = {
    (_Q, EventType.RUN_STARTED): _R,
    (_Q, EventType.RUN_FAILED): _F,
    (_Q, EventType.RUN_CANCELLED): _X,
    (_R, EventType.RUN_RESUMED): _R,
    (_R, EventType.MODEL_REPLIED): _R,
    (_R, EventType.MODEL_FAILED): _R,
    (_R, EventType.TOOL_CALLED): _R,
    (_R, EventType.TOOL_RETURNED): _R,
    (_R, EventType.TOOL_UNRESOLVED): _R,
    (_R, EventType.RUN_WAITING): _W,
    (_R, EventType.RUN_COMPLETED): _C,
    (_R, EventType.RUN_FAILED): _F,
    (_R, EventType.RUN_CANCELLED): _X,
    (_R, EventType.APPROVAL_REQUESTED): _R,
    (_R, EventType.APPROVAL_ANSWERED): _R,
    (_R, EventType.ELICITATION_REQUESTED): _R,
    (_R, EventType.ELICITATION_ANSWERED): _R,
    (_R, EventType.TRIAGE_DECIDED): _R,
    (_R, EventType.LLM_FELL_BACK): _R,
    # A call that waits for an answer waits beside others of its turn, which go on.
    (_W, EventType.APPROVAL_ANSWERED): _W,
    (_W, EventType.ELICITATION_REQUESTED): _W,
    (_W, EventType.ELICITATION_ANSWERED): _W,
    (_W, EventType.TOOL_CALLED): _W,
    (_W, EventType.TOOL_RETURNED): _W,
    (_W, EventType.TOOL_UNRESOLVED): _W,
    (_W, EventType.RUN_RESUMED): _R,
    (_W, EventType.RUN_FAILED): _F,
    (_W, EventType.RUN_CANCELLED): _X,
}
"""(state, event) -> state. What is not here cannot happen."""


BEGINNINGS = frozenset({EventType.MESSAGE_RECEIVED, EventType.RUN_RETRIED, EventType.PROMPT_SET})
"""The events that make a run; a `prompt.set` only where it names one."""

KNOWN = frozenset(EventType)


class InvalidTransition(ValueError):
    """An event that cannot follow in this state of the run."""


def transition(state: RunState, event_type: str) -> RunState:
    """The state after an event. Raises `InvalidTransition`."""
    after = TRANSITIONS.get((state, EventType(event_type)))
    if after is None:
        message = f"{event_type} cannot follow while a run is {state}"
        raise InvalidTransition(message)
    return after


# --- what to do next ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskModel:
    """Ask the model for turn ``turn``; without tools when the bound of turns is reached."""

    turn: int
    attempt: int
    with_tools: bool


@dataclass(frozen=True, slots=True)
class CallTools:
    """Call the tools that the stored reply of ``turn`` asks for and that have no result yet."""

    turn: int
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Complete:
    """The last reply is the answer."""

    finish_reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run cannot go on: ``crash_loop`` or ``model_bad_call``."""

    code: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """The run has ended or waits for a person."""


type Step = AskModel | CallTools | Complete | GiveUp | Nothing


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run as its events tell it, from its `message.received` or `run.retried` on.

    Of the turn whose calls are pending: ``asks`` and ``decisions`` are the approvals asked and answered, by call;
    ``questions`` and ``answers`` the elicitations, by their id. ``asked`` counts the turns that asked for approvals,
    ``tool_calls`` the calls that were made.
    """

    run_id: str
    max_turns: int
    state: RunState = RunState.QUEUED
    turns: int = 0
    attempts: int = 0
    resumes: int = 0
    pending: tuple[ToolCall, ...] = ()
    intended: frozenset[str] = frozenset()
    unresolved_tools: frozenset[str] = frozenset()
    bad_calls: int = 0
    last_reply: Event | None = None
    triage: Event | None = None
    asks: Mapping[str, Event] = field(default_factory=dict[str, Event])
    decisions: Mapping[str, Event] = field(default_factory=dict[str, Event])
    asked: int = 0
    questions: Mapping[str, Event] = field(default_factory=dict[str, Event])
    answers: Mapping[str, Event] = field(default_factory=dict[str, Event])
    tool_calls: int = 0
    usage: Usage = NOTHING
    events: tuple[Event, ...] = field(default=(), repr=False)

    def apply(self, event: Event) -> "RunProgress":
        """The progress after one more event of this run. Raises `InvalidTransition`."""
        after = replace(
            self,
            state=transition(self.state, event.type),
            events=(*self.events, event),
            usage=self.usage + _spent(event),
        )
        match event.type:
            case EventType.MODEL_REPLIED:
                return _replied(after, event)
            case EventType.MODEL_FAILED | EventType.RUN_RESUMED:
                resumed = event.type == EventType.RUN_RESUMED
                again = not (resumed and self.pending)
                return replace(after, attempts=self.attempts + again, resumes=self.resumes + resumed)
            case EventType.TRIAGE_DECIDED:
                return replace(after, triage=event)
            case EventType.TOOL_CALLED:
                call_id = event.tool_call_id or ""
                made = self.tool_calls + (call_id not in self.intended)
                return replace(after, intended=self.intended | {call_id}, tool_calls=made)
            case EventType.TOOL_RETURNED | EventType.TOOL_UNRESOLVED:
                return _returned(after, event)
            case _:
                return _asked(after, event)

    def next_step(self) -> Step:
        """What is to be done now."""
        if self.state is not RunState.RUNNING:
            return Nothing()
        if self.resumes > MAX_RESUMES:
            return GiveUp("crash_loop")
        if self.bad_calls > MAX_BAD_CALLS:
            return GiveUp("model_bad_call")
        if self.last_reply is not None and self._answers(self.last_reply):
            return Complete(self._finish_reason(self.last_reply))
        if self.pending:
            return CallTools(self.turns - 1, self.pending)
        return AskModel(self.turns, self.attempts + 1, with_tools=self.turns < self.max_turns)

    @property
    def open_asks(self) -> tuple[Event, ...]:
        """The approvals and elicitations of the pending calls that nobody has answered, in order; none once it ended."""
        if self.state.ended:
            return ()
        waiting = {call.id for call in self.pending}
        asks = [event for call_id, event in self.asks.items() if call_id in waiting - self.decisions.keys()]
        questions = [
            event
            for asked_id, event in self.questions.items()
            if asked_id not in self.answers and event.tool_call_id in waiting
        ]
        return tuple(sorted((*asks, *questions), key=lambda event: event.seq))

    def continued(self, call_id: str) -> bool:
        """Whether the call was answered with questions, all of which have an answer now: it can be made again."""
        asked = [event for event in self.questions.values() if event.tool_call_id == call_id and event.extra["key"]]
        return bool(asked) and all(event.extra["elicitation_id"] in self.answers for event in asked)

    def _answers(self, reply: Event) -> bool:
        handed = "handed" in reply.extra and not self.pending
        return not reply.tool_calls or handed or self.turns > self.max_turns

    def _finish_reason(self, reply: Event) -> str:
        if self.turns > self.max_turns:
            return "tool_limit_reached"
        return "tool_calls" if "handed" in reply.extra else reply.extra.get("finish_reason", "stop")


def _replied(progress: RunProgress, event: Event) -> RunProgress:
    return replace(
        progress,
        turns=event.turn + 1,
        attempts=0,
        resumes=0,
        pending=tuple(call for call in event.tool_calls if call.id not in event.extra.get("handed", ())),
        intended=frozenset(),
        last_reply=event,
        asks={},
        decisions={},
        questions={},
        answers={},
    )


def _asked(progress: RunProgress, event: Event) -> RunProgress:
    """An ask or its answer; a run that is being answered is not one that gets nowhere."""
    call_id = event.tool_call_id or ""
    match event.type:
        case EventType.APPROVAL_REQUESTED:
            first = not progress.asks
            return replace(progress, asks={**progress.asks, call_id: event}, asked=progress.asked + first)
        case EventType.APPROVAL_ANSWERED:
            return replace(progress, decisions={**progress.decisions, call_id: event}, resumes=0)
        case EventType.ELICITATION_REQUESTED:
            return replace(progress, questions={**progress.questions, event.extra["elicitation_id"]: event})
        case EventType.ELICITATION_ANSWERED:
            return replace(progress, answers={**progress.answers, event.extra["elicitation_id"]: event}, resumes=0)
        case _:
            return progress


def _returned(progress: RunProgress, event: Event) -> RunProgress:
    unresolved = progress.unresolved_tools
    if event.type == EventType.TOOL_UNRESOLVED:
        unresolved |= {f"{event.extra['service']}.{event.extra['tool']}"}
    return replace(
        progress,
        resumes=0,
        pending=tuple(call for call in progress.pending if call.id != event.tool_call_id),
        intended=progress.intended - {event.tool_call_id or ""},
        unresolved_tools=unresolved,
        bad_calls=progress.bad_calls + bool(event.extra.get("bad_call")),
    )


def _spent(event: Event) -> Usage:
    counted = event.type in {EventType.MODEL_REPLIED, EventType.MODEL_FAILED, EventType.TRIAGE_DECIDED}
    return event.usage if counted and event.usage is not None else NOTHING


def fold_run(
    run_id: str, events: tuple[Event, ...], max_turns: int, progress: RunProgress | None = None
) -> RunProgress:
    """Fold the events of one conversation into the progress of one run, going on from ``progress`` where given.

    Other runs' events are passed over. Raises `InvalidTransition`.
    """
    progress = progress or RunProgress(run_id, max_turns)
    for event in events:
        if event.run_id == run_id and event.type not in BEGINNINGS and event.type in KNOWN:
            progress = progress.apply(event)
    return progress
