"""Rows of SQLite as the seam's values."""

import json
from typing import Any

from tom.conversation.run import RunState
from tom.conversation.usage import Usage
from tom.store.eventstore import ConversationRow, RunRow

type Row = tuple[Any, ...]


def read_run(row: Row) -> RunRow:
    """A row of ``runs``, in the order of columns that every query of them has."""
    run_id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, *spent = row
    usage = Usage(spent[0], spent[1], bool(spent[2]))
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
        usage=Usage(row[9], row[10], bool(row[11])),
        created_at=row[12],
        updated_at=row[13],
    )
