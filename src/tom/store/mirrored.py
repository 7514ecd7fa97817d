"""What an archive is told, and which rows of the outbox follow from events. Pure, as `projection.py` is.

An archive holds exchanges: the message of a run that was completed, and the replies to it. With ``full`` it holds
instructions and tool calls as well. A message that was answered at the second asking stands where it was asked again,
for what an archive holds is in order.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from tom.conversation.codec import to_json
from tom.conversation.event import Event, EventType
from tom.conversation.run import BEGINNINGS
from tom.store.outbox import Kind, MirrorRules

TARGET = "archive"

QUEUES = frozenset({
    EventType.RUN_COMPLETED,
    EventType.CONVERSATION_OPENED,
    EventType.CONVERSATION_CHANGED,
    EventType.PROMPT_SET,
})  # fmt: skip
"""All events from which a row may follow."""

ADOPTED: Final = "adopted"
"""Marks the end of a run that took place elsewhere, where an archive is told of it."""

ABOVE: Final = "archived_above"
"""In the beginning of a run: how far above their numbers its messages stand in an archive that others write to as well."""

_SHOWN = frozenset({"metadata", "memory_limit"})
"""What an archive knows of a conversation and may be changed."""

_TOOL = frozenset({EventType.TOOL_RETURNED, EventType.TOOL_UNRESOLVED})


class RowQueued(NamedTuple):
    """A row for the outbox. Of a session there is one, and it is the newest."""

    dedup_key: str
    conversation_id: str
    kind: Kind
    run_id: str
    seq: int
    created_at: str


def row_queued(event: Event, rules: MirrorRules, at: str) -> RowQueued | None:
    """The row that follows from an event that is stored at ``at``, if one does."""
    kind = event.type
    place = (event.seq, at)
    if kind == EventType.RUN_COMPLETED and event.run_id:
        if event.extra.get(ADOPTED):
            return None
        return RowQueued(f"exchange:{event.run_id}", event.conversation_id, Kind.EXCHANGE, event.run_id, *place)
    if kind == EventType.CONVERSATION_OPENED or (
        kind == EventType.CONVERSATION_CHANGED and _SHOWN & event.extra.keys()
    ):
        return RowQueued(f"session:{event.conversation_id}", event.conversation_id, Kind.SESSION, "", *place)
    if kind == EventType.PROMPT_SET and rules.full and not event.run_id:
        return RowQueued(f"prompt:{event.conversation_id}:{event.seq}", event.conversation_id, Kind.PROMPT, "", *place)
    return None


def erasure_queued(conversation_id: str, at: str, before: int | None = None) -> RowQueued:
    """The row that tells of an erasure."""
    if before is None:
        return RowQueued(f"erase:{conversation_id}", conversation_id, Kind.ERASE, "", 0, at)
    return RowQueued(f"cut:{conversation_id}", conversation_id, Kind.CUT, "", before, at)


def exchange(events: Iterable[Event], rules: MirrorRules, origin: Callable[[str], Event | None]) -> list[Event]:
    """The messages of a completed run with these events; ``origin`` finds the message that another run began with."""
    told: list[Event] = []
    above = 0
    for event in events:
        if event.type in BEGINNINGS:
            above = event.extra.get(ABOVE, 0)
            message = _message_of(event, origin)
            if message is not None and (message.role != "system" or rules.full):
                told.append(message)
        elif _is_told(event, rules):
            told.append(event)
    return [replace(event, seq=event.seq + above) for event in told] if above else told


def all_told(events: Sequence[Event], rules: MirrorRules) -> list[Event]:
    """Every message of a conversation that its archive holds, in order."""
    runs: dict[str, list[Event]] = {}
    beginnings: Mapping[str, Event] = {
        event.run_id: event for event in events if event.type in BEGINNINGS and event.run_id
    }
    told: list[Event] = []
    for event in events:
        if event.run_id:
            runs.setdefault(event.run_id, []).append(event)
        elif event.type == EventType.PROMPT_SET and rules.full:
            told.append(event)
        if event.type == EventType.RUN_COMPLETED and not event.extra.get(ADOPTED):
            told += exchange(runs.get(event.run_id, ()), rules, beginnings.get)
    return sorted(told, key=lambda event: event.seq)


def written_out(events: Sequence[Event]) -> str:
    """The texts of a row whose events are about to be erased, as JSON."""
    return json.dumps([to_json(event) for event in events], ensure_ascii=False)


def _message_of(beginning: Event, origin: Callable[[str], Event | None]) -> Event | None:
    """The message that a run answers, at the place where it was asked."""
    message: Event | None = beginning
    while message is not None and message.type == EventType.RUN_RETRIED:
        earlier = origin(message.extra.get("retry_of", ""))
        message = earlier if earlier is not None and earlier.seq < message.seq else None
    if message is None or message is beginning:
        return message
    extra = {**message.extra, "run_id": beginning.run_id}
    return replace(message, id=beginning.id, seq=beginning.seq, timestamp=beginning.timestamp, extra=extra)


def _is_told(event: Event, rules: MirrorRules) -> bool:
    if event.type == EventType.MODEL_REPLIED:
        said = bool(event.content) or rules.full or not event.tool_calls
        return said and not event.extra.get("partial")
    return rules.full and event.type in _TOOL
