"""Conversations in the words of an archive, and where an archive differs from the store."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from tom.archive.archive import Archive, MessageRecord, SessionRecord
from tom.conversation.event import Event, EventType
from tom.store.eventstore import ConversationRow, EventStore
from tom.store.mirrored import ABOVE, all_told
from tom.store.outbox import MirrorRules

PAGE = 1000

DEEPEST = 20
"""Levels of metadata that every archive takes; what is deeper is told as JSON text."""

_TOLD = ("run_id", "finish_reason", "attachments")
_TOLD_OF_TOOLS = ("service", "tool", "is_error")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an archive is not what it should be. ``seq`` 0: the session itself."""

    session_id: str
    seq: int
    what: str


def session_record(row: ConversationRow) -> SessionRecord:
    """A conversation as it is mirrored."""
    return SessionRecord(row.id, row.memory_limit, row.created_at, _shallow(row.metadata))


def message_record(event: Event, *, full: bool) -> MessageRecord:
    """A message as it is mirrored; ``full``: with the calls it asked for, and whose result it is."""
    extra = event.extra
    metadata: dict[str, Any] = dict(extra.get("metadata") or {})
    metadata |= {name: extra[name] for name in _TOLD if name in extra}
    if full:
        metadata |= {name: extra[name] for name in _TOLD_OF_TOOLS if name in extra}
        if event.tool_call_id:
            metadata["tool_call_id"] = event.tool_call_id
        if event.tool_calls:
            metadata["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.arguments} for call in event.tool_calls
            ]
    return MessageRecord(
        event.conversation_id, event.seq, event.role or "", event.content or "", event.timestamp, _shallow(metadata)
    )


async def compare(
    store: EventStore, archive: Archive, row: ConversationRow, rules: MirrorRules, *, shared: bool = False
) -> tuple[int, list[Difference]]:
    """How many messages a conversation's archive should hold, and where it differs. Raises `ArchiveUnavailable`.

    ``shared``: other programs tell it of their runs of the same conversations.
    """
    events = await _events(store, row)
    wanted = {event.seq: message_record(event, full=rules.full) for event in all_told(events, rules)}
    have = {record.seq: replace(record, stored_at="") for record in await _messages(archive, row.id)}
    found = [
        Difference(row.id, seq, "missing" if seq not in have else "different")
        for seq, record in wanted.items()
        if have.get(seq) != record
    ]
    again = {event.seq + event.extra.get(ABOVE, 0) for event in events if event.type == EventType.RUN_RETRIED}
    runs = {event.run_id for event in events}
    for seq in have.keys() - wanted.keys():
        erased_here = seq < row.first_seq or seq in again
        of_others = shared and have[seq].metadata.get("run_id") not in runs
        if not (rules.keep and erased_here) and not of_others:
            found.append(Difference(row.id, seq, "only in the archive"))
    return len(wanted), sorted(found, key=lambda difference: difference.seq)


def compare_sessions(
    rows: Iterable[ConversationRow], there: Mapping[str, SessionRecord], *, shared: bool = False
) -> list[Difference]:
    """Where the state of sessions differs; where it is ``shared``, the last to write it says how it is."""
    return [
        Difference(row.id, 0, "missing" if row.id not in there else "different")
        for row in rows
        if there.get(row.id) != session_record(row) and not (shared and row.id in there)
    ]


async def archived_sessions(archive: Archive) -> dict[str, SessionRecord]:
    """All sessions of an archive, by id."""
    found: dict[str, SessionRecord] = {}
    offset = 0
    while (page := await archive.sessions(limit=PAGE, offset=offset))[0]:
        found |= {record.id: record for record in page[0]}
        offset += PAGE
    return found


def _shallow(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata, at most `DEEPEST` levels deep: databases refuse what is nested deeper than they read."""
    return {name: _cut(value, DEEPEST - 1) for name, value in metadata.items()}


def _cut(value: Any, levels: int) -> Any:
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)
    if isinstance(value, Mapping):
        named = cast("Mapping[str, Any]", value)
        return {name: _cut(inner, levels - 1) for name, inner in named.items()}
    return [_cut(inner, levels - 1) for inner in cast("Sequence[Any]", value)]


async def _events(store: EventStore, row: ConversationRow) -> Sequence[Event]:
    events: list[Event] = []
    after = row.first_seq - 1
    while page := await store.read(row.id, after=after, limit=PAGE):
        events += page
        after = page[-1].seq
    return events


async def _messages(archive: Archive, session_id: str) -> Sequence[MessageRecord]:
    found: list[MessageRecord] = []
    while page := await archive.messages(session_id, limit=PAGE, offset=len(found)):
        found += page
    return found
