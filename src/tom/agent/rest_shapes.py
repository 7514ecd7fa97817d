"""Sessions and messages as the REST door shows them. Instructions are never among the messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from tom.conversation.event import Event, EventType
from tom.conversation.history import RunHistory
from tom.store.eventstore import ConversationRow, EventStore

MOST_MESSAGES = 200
PAGE = 300

_SAID = frozenset({EventType.MESSAGE_RECEIVED, EventType.MODEL_REPLIED})


def opened(row: ConversationRow, maximum: int) -> dict[str, Any]:
    """A session that was opened just now; ``maximum`` is `MEMORY_MAX`."""
    shown = session(row, maximum)
    return {name: shown[name] for name in ("id", "memory_limit", "created_at", "metadata")}


def session(row: ConversationRow, maximum: int) -> dict[str, Any]:
    """A session in a list."""
    return {
        "id": row.id,
        "title": row.title,
        "memory_limit": None if row.memory_limit is None else min(row.memory_limit, maximum),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_seq": row.last_seq,
        "state": row.state,
        "metadata": dict(row.metadata),
        "pinned": row.pinned,
    }


async def with_history(store: EventStore, row: ConversationRow, maximum: int) -> dict[str, Any]:
    """A session with what it has used and its newest messages, oldest first."""
    newest: list[dict[str, Any]] = []
    upto = row.last_seq
    while upto >= row.first_seq and len(newest) < MOST_MESSAGES:
        after = max(row.first_seq - 1, upto - PAGE)
        events = await store.read(row.id, after=after, limit=upto - after)
        said = [message(event) for event in events if event.type in _SAID and event.role != "system" and event.content]
        newest = said + newest
        upto = after
    return session(row, maximum) | {"usage": row.usage.as_json(), "history": newest[-MOST_MESSAGES:]}


def message(event: Event, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What somebody said."""
    metadata: dict[str, Any] = {"seq": event.seq, "run_id": event.run_id}
    for name in ("finish_reason", "partial", "attachments", "metadata"):
        if name in event.extra:
            metadata[name] = event.extra[name]
    return {
        "role": event.role,
        "content": event.content or "",
        "created_at": event.timestamp,
        "metadata": metadata | dict(more or {}),
    }


def window(runs: Sequence[RunHistory], limit: int | None) -> list[dict[str, Any]]:
    """The newest runs that fit ``limit`` user and assistant messages, as the next prompt would count them."""
    kept: list[list[Event]] = []
    room = limit
    for run in reversed(runs):
        said = [event for event in _events_of(run) if event.type in _SAID and event.role != "system" and event.content]
        if room is not None and kept and len(said) > room:
            break
        kept.append(said)
        room = None if room is None else room - len(said)
    return [message(event) for said in reversed(kept) for event in said]


def _events_of(run: RunHistory) -> list[Event]:
    request = [run.request] if run.request is not None else []
    return [*request, *(unit.reply for unit in run.units)]
