"""What the parts of the stores' contract suite share: how a row is looked up, and what a test is given."""

from collections.abc import Awaitable, Callable

import pytest

from tom.store.eventstore import ConversationRow, EventStore, RunFilter, RunRow

type Reopen = Callable[[EventStore], Awaitable[EventStore]]


async def run_row(store: EventStore, run: str) -> RunRow:
    """The row of a run that is there."""
    (row,) = await store.runs(RunFilter(run_id=run))
    return row


async def conversation_row(store: EventStore, conversation: str = "c") -> ConversationRow:
    """The row of a conversation that is there."""
    (row,) = await store.conversations(ids=[conversation])
    return row


async def state_of(store: EventStore, conversation: str = "c") -> str:
    """The state of a conversation that is there."""
    return (await conversation_row(store, conversation)).state


class Contract:
    """A part of the suite."""

    pytestmark = pytest.mark.anyio
