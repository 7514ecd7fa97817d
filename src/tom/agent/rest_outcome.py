"""What came of a run, as the REST door answers it: the reply, the recorded failure, or how the run stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tom.agent.answering import JsonAnswer
from tom.agent.asks import ask_object
from tom.agent.cell import Cell
from tom.agent.following import ENDS
from tom.agent.frames import BESIDES
from tom.agent.rest_shapes import window
from tom.agent.waiting import still_open
from tom.conversation.event import Event, EventType
from tom.conversation.history import fold
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING
from tom.errors import TomError
from tom.store.eventstore import ConversationRow, RunRow

SOURCE = "provider"
"""Where a failure of a model call comes from; which provider it was is nobody's business."""

_OTHERS: Mapping[str, int] = {"deadline": 504, "model_bad_call": 502}
"""Codes of ends that are no class of `tom.errors`."""

_STATUS: Mapping[RunState, str] = {RunState.QUEUED: "queued", RunState.WAITING: "waiting"}


@dataclass(slots=True)
class Outcome:
    """What a run's events told until it ended, or until nobody waited any more."""

    reply: Event | None = None
    end: Event | None = None
    failure: Event | None = None
    asks: list[Event] = field(default_factory=list[Event])

    def note(self, event: Event) -> None:
        """One more event of the run."""
        if event.type == EventType.MODEL_REPLIED:
            self.reply = event
        elif event.type == EventType.MODEL_FAILED:
            self.failure = event
        elif event.type in ENDS:
            self.end = event
        self.asks.append(event)

    @property
    def asked(self) -> Mapping[str, Any]:
        """The first open ask of either kind, as its object."""
        found: dict[str, Any] = {}
        for event in still_open(self.asks):
            kind = "approval" if event.type == EventType.APPROVAL_REQUESTED else "elicitation"
            found.setdefault(kind, ask_object(event))
        return found


async def replied_answer(cell: Cell, row: ConversationRow, outcome: Outcome, *, cached: bool) -> JsonAnswer:
    """200: the reply (as far as it came, where the run was stopped), what it took, and the window it leaves."""
    end = outcome.end
    assert end is not None  # noqa: S101 - asked for after the end only
    reply = outcome.reply or end
    cancelled = end.type == EventType.RUN_CANCELLED
    metadata: dict[str, Any] = {
        "finish_reason": "cancelled" if cancelled else end.extra["finish_reason"],
        "run_id": end.run_id,
        "seq": reply.seq,
        "cached": cached,
    }
    metadata |= {name: end.extra[name] for name in BESIDES if name in end.extra}
    body = {
        "session_id": row.id,
        "message": {
            "role": "assistant",
            "content": reply.content or "",
            "created_at": reply.timestamp,
            "metadata": metadata,
        },
        "usage": (end.usage or NOTHING).as_json(),
        "history": await _window(cell, row),
    }
    return JsonAnswer(body)


async def _window(cell: Cell, row: ConversationRow) -> list[dict[str, Any]]:
    settings = cell.settings
    limit = None if row.memory_limit is None else min(row.memory_limit, settings.doors.memory_max)
    history = fold(await cell.store.tail(row.id, tokens=settings.chat.context_max_tokens))
    return window(history.before(None), limit)


def failed_answer(outcome: Outcome, request_id: str, *, cached: bool) -> JsonAnswer:
    """The recorded failure; the message is kept, and ``run_id`` is what may be retried."""
    end = outcome.end
    assert end is not None  # noqa: S101 - asked for after the end only
    code: str = end.extra["code"]
    status = status_of(code)
    details: dict[str, Any] = {"run_id": end.run_id}
    if status in {502, 504}:
        failure = outcome.failure
        details |= {"source": SOURCE, "retryable": bool(failure.extra["retryable"]) if failure else status == 504}
    elif status == 500:
        details["timestamp"] = end.timestamp
    if "limit" in end.extra:
        details["limit"] = end.extra["limit"]
    if cached:
        details["cached"] = True
    body = {"error": {"code": code, "message": end.extra["reason"], "details": details}, "request_id": request_id}
    return JsonAnswer(body, status, {"Retry-After": "2"} if status == 503 else {})


def unfinished_answer(run: RunRow, outcome: Outcome, state: RunState) -> JsonAnswer:
    """202: the run waits for a person, works on, or is queued; ``GET …/events?after=`` has the rest."""
    body = {
        "session_id": run.conversation_id,
        "run_id": run.id,
        "status": "waiting" if outcome.asked else _STATUS.get(state, "running"),
        "seq": run.first_seq,
    }
    return JsonAnswer(body | dict(outcome.asked), 202)


def status_of(code: str) -> int:
    """The HTTP status of an error by its stable code; 500 for one that nobody knows."""
    return _statuses().get(code, 500)


@cache
def _statuses() -> Mapping[str, int]:
    found = dict(_OTHERS)
    classes: list[type[TomError]] = [TomError]
    while classes:
        one = classes.pop(0)
        found.setdefault(one.code, one.http_status)
        classes += one.__subclasses__()
    return found
