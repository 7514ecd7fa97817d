"""Rows of SQLite as the seam's values."""

import json
from typing import Any

from tom.conversation.run import RunState
from tom.conversation.usage import Usage
from tom.store.eventstore import ConversationRow, DayUsage, RunRow

type Row = tuple[Any, ...]


def read_run(row: Row) -> RunRow:
    """A row of ``runs``, in the order of columns that every query of them has."""
    run_id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, *spent = row
    usage = Usage(spent[0], spent[1], bool(spent[2]), spent[3])
    state = RunState(state)
    return RunRow(run_id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, usage)


def read_conversation(row: Row) -> ConversationRow:
    """A row of ``conversations``, in the order of columns that every query of them has."""
    return ConversationRow(
        id=row[0],
        title=row[1],
        kind=row[2],
        surface=row[3],
        state=row[4],
        memory_limit=row[5],
        metadata=json.loads(row[6]),
        first_seq=row[7],
        last_seq=row[8],
        usage=Usage(row[9], row[10], bool(row[11]), row[14]),
        created_at=row[12],
        updated_at=row[13],
        title_by=row[15],
        pinned=bool(row[16]),
        services=None if row[17] is None else tuple(json.loads(row[17])),
        allowed=json.loads(row[18]),
        tokens=row[19],
        system_prompt=row[20] or "",
    )


def read_day(row: Row) -> DayUsage:
    """A row of ``ledger``."""
    return DayUsage(row[0], Usage(row[1], row[2], bool(row[3]), row[4]), row[5])
