"""What came of a run, as the REST door answers it: the reply, the recorded failure, or how the run stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tom.agent.answering import JsonAnswer
from tom.agent.asks import ask_object
from tom.agent.cell import Cell
from tom.agent.following import ENDS
from tom.agent.frames import BESIDES
from tom.agent.recorded import details_of, recorded_failure
from tom.agent.rest_shapes import window
from tom.agent.transcript import request_of
from tom.agent.waiting import still_open
from tom.conversation.event import Event, EventType
from tom.conversation.history import fold
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING
from tom.errors import RunNotFound, TomError
from tom.store.eventstore import ConversationRow, RunRow

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


async def replied_answer(
    cell: Cell, row: ConversationRow, run: RunRow, outcome: Outcome, *, cached: bool
) -> JsonAnswer:
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
        "history": await _window(cell, row, run),
    }
    return JsonAnswer(body)


async def _window(cell: Cell, row: ConversationRow, run: RunRow) -> list[dict[str, Any]]:
    """As many messages as this request wished for, else its session."""
    settings = cell.settings
    try:
        options: Mapping[str, Any] = (await request_of(cell.store, run)).extra.get("options", {})
    except RunNotFound:  # a repetition of what is not kept any more
        options = {}
    wished: int | None = options.get("memory_limit", row.memory_limit)
    limit = None if wished is None else min(wished, settings.doors.memory_max)
    history = fold(await cell.store.tail(row.id, tokens=settings.chat.context_max_tokens))
    return window(history.before(None), limit)


def failure_of(outcome: Outcome, *, cached: bool) -> TomError:
    """The recorded failure, to be raised; the message is kept, and ``run_id`` is what may be retried."""
    end = outcome.end
    assert end is not None  # noqa: S101 - asked for after the end only
    error = recorded_failure(end)
    error.details.update({"run_id": end.run_id, **details_of(end, outcome.failure, cached=cached)})
    return error


def unfinished_answer(run: RunRow, outcome: Outcome, state: RunState) -> JsonAnswer:
    """202: the run waits for a person, works on, or is queued; ``GET …/events?after=`` has the rest."""
    body = {
        "session_id": run.conversation_id,
        "run_id": run.id,
        "status": "waiting" if outcome.asked else _STATUS.get(state, "running"),
        "seq": run.first_seq,
    }
    return JsonAnswer(body | dict(outcome.asked), 202)
