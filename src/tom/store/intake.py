"""The seam by which a conversation that was written out elsewhere comes in: whole, as it was, in one transaction.

Its events keep their seqs and timestamps; rows of runs follow from them. What it has cost was paid elsewhere, so the ledger
stays as it is; calls of tools and asks are over, so there are no rows for them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tom.conversation.codec import encode_row
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.ids import ulid
from tom.store.eventstore import ConversationRow, RunRow
from tom.store.projection import run_changed, run_made

if TYPE_CHECKING:  # whoever reads the seam needs no SQLite
    import apsw


class Intake(Protocol):
    """Above: the import of the REST door, which has looked at every event. Not a way to write history: that is `append`."""

    async def take_in(self, conversation: ConversationRow, events: Sequence[Event]) -> bool:
        """Store a conversation that has ended, all of it or nothing. False when one of this id is there already.

        The events are numbered without holes from ``first_seq`` to ``last_seq`` of the row; before them may stand
        instructions that retention had left. They are given new ids. Their runs have ended.
        """
        ...


def runs_of(events: Iterable[Event]) -> tuple[RunRow, ...]:
    """The rows of the runs that follow from stored events, in the order of their beginnings."""
    runs: dict[str, RunRow] = {}
    for event in events:
        if made := run_made(event):
            origin = runs.get(made.retry_of)
            digest = origin.payload_digest if origin is not None else made.payload_digest
            place = (made.first_seq, made.created_at)
            runs[made.run_id] = RunRow(
                made.run_id, made.conversation_id, made.request_id, digest, RunState.QUEUED, 0, *place
            )
        elif (change := run_changed(event)) and (row := runs.get(change.run_id)):
            runs[row.id] = replace(row, state=change.state or row.state, usage=row.usage + change.usage)
    return tuple(runs.values())


def renamed(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events with ids of their own."""
    return tuple(event.stored(event_id=ulid(), seq=event.seq, timestamp=event.timestamp) for event in events)


def take_in(
    connection: "apsw.Connection", sql: Mapping[str, str], conversation: ConversationRow, events: Sequence[Event]
) -> bool:
    """Write the rows of a conversation and its runs, and its events, in the caller's transaction."""
    connection.execute(sql["take_in_conversation"], _conversation_row(conversation))
    if not connection.changes():
        return False
    connection.executemany(sql["insert_event"], [encode_row(event) for event in events])
    connection.executemany(sql["take_in_run"], [_run_row(run) for run in runs_of(events)])
    return True


def _conversation_row(row: ConversationRow) -> tuple[Any, ...]:
    usage = row.usage
    return (
        row.id,
        row.title,
        row.kind,
        row.surface,
        row.state,
        row.memory_limit,
        row.system_prompt or None,
        json.dumps(dict(row.metadata), ensure_ascii=False),
        row.first_seq,
        row.last_seq,
        row.tokens,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.estimated,
        usage.cost,
        row.created_at,
        row.updated_at,
        row.title_by,
        row.pinned,
        None if row.services is None else json.dumps(row.services, ensure_ascii=False),
    )


def _run_row(run: RunRow) -> tuple[Any, ...]:
    usage = run.usage
    spent = (usage.prompt_tokens, usage.completion_tokens, usage.estimated, usage.cost)
    about = (run.id, run.conversation_id, run.request_id, run.payload_digest, str(run.state))
    return (*about, run.first_seq, run.created_at, *spent)
