"""What the frames of one conversation say, in order, without a gap and without doubles.

`Follower.hear` takes a frame and returns what happened, as values that a terminal can print. It is pure: it neither
reads nor prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENDED: Final = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A person said something, here (``own``) or on another device."""

    run_id: str
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A request of this reader is stored, as the run ``run_id``."""

    request_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Said:
    """More of a reply; ``whole`` is all of this turn so far."""

    run_id: str
    turn: int
    text: str
    whole: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was said of this turn does not count; it begins again."""

    run_id: str
    turn: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Replied:
    """A turn's reply is stored."""

    run_id: str
    turn: int
    text: str
    model: str


@dataclass(frozen=True, slots=True)
class Called:
    """A tool is being called."""

    run_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Returned:
    """A call came back, or (``state`` ``unresolved``) may have happened."""

    run_id: str
    name: str
    state: str
    text: str
    milliseconds: int | None


@dataclass(frozen=True, slots=True)
class Waits:
    """The run waits for its person: ``ask`` is the object of an approval or of a service's question."""

    run_id: str
    ask: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """An ask was answered, here or elsewhere, or its time was over: ``outcome`` by ``by`` on ``device``."""

    run_id: str
    ask: Mapping[str, Any]
    outcome: str
    by: str
    device: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is, in its service's words."""

    run_id: str
    name: str
    text: str
    part: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run is over: ``completed``, ``failed`` or ``cancelled``."""

    run_id: str
    state: str
    answer: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An action was refused."""

    request_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything stored has been seen; ``reload``: the store numbers anew, all before this is void."""

    reload: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """Something was missed: resume."""


type Happening = (
    Asked
    | Taken
    | Said
    | Withdrawn
    | Replied
    | Called
    | Returned
    | Waits
    | Settled
    | Progress
    | Ended
    | Refused
    | CaughtUp
    | Missing
)


@dataclass(slots=True)
class _Turn:
    attempt: int = 1
    text: str = ""
    stored: bool = False


@dataclass(slots=True)
class _Run:
    state: str = "running"
    turns: dict[int, _Turn] = field(default_factory=dict[int, _Turn])
    calls: dict[tuple[int, str], str] = field(default_factory=dict[tuple[int, str], str])

    def turn(self, number: int) -> _Turn:
        return self.turns.setdefault(number, _Turn())

    @property
    def answer(self) -> str:
        texts = [turn.text for _, turn in sorted(self.turns.items()) if turn.text]
        return texts[-1] if texts else ""


type _Fold = Callable[[Mapping[str, Any], Mapping[str, Any], _Run], list[Happening]]


class Follower:
    """One conversation as one reader knows it."""

    def __init__(self, conversation_id: str, after: int = 0) -> None:
        """Know everything up to seq ``after``."""
        self.conversation_id = conversation_id
        self.last = after
        self.epoch: str | None = None
        self.own: set[str] = set()
        self.runs: dict[str, _Run] = {}
        self.run_of: dict[str, str] = {}
        self.open: dict[str, Mapping[str, Any]] = {}
        self._heard: Mapping[str, Callable[[Mapping[str, Any]], list[Happening]]] = {
            "accepted": self._accepted,
            "event": self._event,
            "chunk": self._fragment,
            "processing": self._progress,
        }
        self._folds: Mapping[str, _Fold] = {
            "message.received": self._asked,
            "run.retried": self._asked,
            "run.started": self._began,
            "run.resumed": self._began,
            "model.replied": self._replied,
            "tool.called": self._called,
            "tool.returned": self._returned,
            "tool.unresolved": self._returned,
            "approval.requested": self._waits,
            "elicitation.requested": self._waits,
            "approval.answered": self._settled,
            "elicitation.answered": self._settled,
            "run.waiting": self._rests,
            "run.completed": self._ended,
            "run.failed": self._ended,
            "run.cancelled": self._ended,
        }

    @property
    def active(self) -> str | None:
        """The run that is at work."""
        return next((run_id for run_id, run in self.runs.items() if run.state == "running"), None)

    @property
    def busy(self) -> bool:
        """Whether any run has not ended."""
        return any(run.state not in ENDED for run in self.runs.values())

    @property
    def waits(self) -> bool:
        """Whether all that is going on waits for the person (or behind what does)."""
        return bool(self.open) and self.active is None

    def hear(self, frame: Mapping[str, Any]) -> list[Happening]:
        """Take a frame; returns what is new in it."""
        status = frame.get("status")
        if status == "error":
            return self._refused(frame)
        if status == "complete" and frame["metadata"].get("result") == "caught_up":
            return self._caught_up(frame)
        heard = self._heard.get(str(status))
        if heard is None or frame.get("conversation_id") != self.conversation_id:
            return []
        return heard(frame)

    # --- frames that are not stored ----------------------------------------------------------------------------

    def _refused(self, frame: Mapping[str, Any]) -> list[Happening]:
        if "run_id" in frame:  # the stored end of the run says the same
            return []
        error = frame["error"]
        return [Refused(frame["request_id"], error["code"], error["message"])]

    def _caught_up(self, frame: Mapping[str, Any]) -> list[Happening]:
        facts = frame["metadata"]
        self.epoch = facts.get("epoch", self.epoch)
        reload = bool(facts.get("reload"))
        if reload:
            self.last, self.runs, self.open = 0, {}, {}
        return [CaughtUp(reload)]

    def _accepted(self, frame: Mapping[str, Any]) -> list[Happening]:
        self.run_of[frame["request_id"]] = frame["run_id"]
        return []

    def _fragment(self, frame: Mapping[str, Any]) -> list[Happening]:
        run = self.runs.get(frame["run_id"])
        if run is None or run.state in ENDED or frame["chunk"]["type"] != "text":
            return []
        turn = run.turn(frame["turn"])
        if turn.stored or frame["attempt"] < turn.attempt:
            return []
        happened = self._restart(frame["run_id"], frame["turn"], turn, frame["attempt"])
        if frame["offset"] > len(turn.text):
            return [*happened, Missing()]
        fresh = frame["chunk"]["data"][len(turn.text) - frame["offset"] :]
        turn.text += fresh
        if fresh:
            happened.append(Said(frame["run_id"], frame["turn"], fresh, turn.text))
        return happened

    def _progress(self, frame: Mapping[str, Any]) -> list[Happening]:
        run = self.runs.get(frame["run_id"])
        chunk = frame["chunk"]
        if run is not None and chunk.get("type") == "tool_progress":
            return [_progress_of(frame["run_id"], chunk)]
        if run is None or chunk.get("type") != "attempt":
            return []
        number = frame.get("turn", max(run.turns, default=0))
        return self._restart(frame["run_id"], number, run.turn(number), chunk["metadata"]["attempt"])

    def _restart(self, run_id: str, number: int, turn: _Turn, attempt: int) -> list[Happening]:
        if turn.stored or attempt <= turn.attempt:
            return []
        shown, turn.attempt, turn.text = turn.text, attempt, ""
        return [Withdrawn(run_id, number, attempt)] if shown else []

    # --- events ------------------------------------------------------------------------------------------------

    def _event(self, frame: Mapping[str, Any]) -> list[Happening]:
        event: Mapping[str, Any] = frame["event"]
        extra: Mapping[str, Any] = event["extra"] or {}
        if event["type"] == "history.retired":
            self.last = max(self.last, extra["first_seq"] - 1)
            return []
        if event["seq"] <= self.last:
            return []
        if event["seq"] > self.last + 1:
            return [Missing()]
        self.last = event["seq"]
        run_id: str = extra.get("run_id", "")
        fold = self._folds.get(event["type"])
        if not run_id or fold is None:
            return []
        return fold(event, extra, self.runs.setdefault(run_id, _Run()))

    def _asked(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        run.state = "queued"
        self.run_of[event["request_id"]] = extra["run_id"]
        own = event["request_id"] in self.own
        taken: list[Happening] = [Taken(event["request_id"], extra["run_id"])] if own else []
        if event["type"] == "run.retried":
            return taken
        return [*taken, Asked(extra["run_id"], event["content"] or "", own)]

    def _began(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        run.state = "running"
        if event["type"] == "run.started":
            return []
        unsaid = [(number, turn) for number, turn in run.turns.items() if turn.text and not turn.stored]
        for _, turn in unsaid:
            turn.text = ""
        return [Withdrawn(extra["run_id"], number, turn.attempt + 1) for number, turn in unsaid]

    def _replied(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        turn = run.turn(extra["turn"])
        turn.text, turn.stored = event["content"] or "", True
        return [Replied(extra["run_id"], extra["turn"], turn.text, event["model"] or "")]

    def _called(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        name = f"{extra['service']} · {extra['tool']}"
        run.calls[extra["turn"], event["tool_call_id"]] = name
        return [Called(extra["run_id"], name, extra["arguments"])]

    def _returned(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        state = "failed" if extra.get("is_error") else "done"
        if event["type"] == "tool.unresolved":
            state = "unresolved"
        name = run.calls.get((extra["turn"], event["tool_call_id"]), extra.get("tool") or "tool")
        return [Returned(extra["run_id"], name, state, event["content"] or "", extra.get("duration_ms"))]

    def _waits(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        run.state = "waiting"
        ask = {**extra, "conversation_id": self.conversation_id, "asked_at": event["timestamp"]}
        self.open[_ask_id(extra)] = ask
        return [Waits(extra["run_id"], ask)]

    def _settled(self, _event: Mapping[str, Any], extra: Mapping[str, Any], _run: _Run) -> list[Happening]:
        ask = self.open.pop(_ask_id(extra), extra)
        outcome = extra.get("decision") or extra.get("outcome", "")
        return [Settled(extra["run_id"], ask, outcome, extra.get("by", ""), extra.get("device", ""))]

    def _rests(self, _event: Mapping[str, Any], _extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        run.state = "waiting"
        return []

    def _ended(self, event: Mapping[str, Any], extra: Mapping[str, Any], run: _Run) -> list[Happening]:
        self.open = {name: ask for name, ask in self.open.items() if ask["run_id"] != extra["run_id"]}
        run.state = event["type"].removeprefix("run.")
        return [Ended(extra["run_id"], run.state, run.answer, extra.get("code", ""), extra.get("reason", ""))]


def _ask_id(extra: Mapping[str, Any]) -> str:
    return extra.get("approval_id") or extra["elicitation_id"]


def _progress_of(run_id: str, chunk: Mapping[str, Any]) -> Progress:
    facts = chunk["metadata"]
    part = facts["done"] / facts["total"] if facts.get("total") else None
    return Progress(run_id, facts["tool"].replace(".", " · ", 1), chunk["data"], part)
