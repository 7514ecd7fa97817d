"""The seam between an agent and the place where its conversations are kept.

Above: `tom.agent`, which appends facts and reads them back. Below: `sqlite.py` (one file, one writer) and
`memory.py` (its twin). It is not a query language and not a cache: six verbs, and every one is bounded.

Events are the truth. The rows of conversations and runs are projections that an implementation updates in the same
transaction as the events they follow from (`projection.py`), so they can never disagree with them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING, Usage


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation in a list. ``state`` is ``idle``, ``running`` or ``waiting``; times are RFC 3339 UTC.

    ``title_by``: ``message`` (its first line), ``model`` or ``person``. ``services``: pinned for triage, None: none
    are. ``allowed``: standing yeses, full tool name -> pin. ``tokens`` is the sum over its events' counts.
    """

    id: str
    title: str
    kind: str
    surface: str
    state: str
    memory_limit: int | None
    metadata: Mapping[str, Any]
    first_seq: int
    last_seq: int
    usage: Usage
    created_at: str
    updated_at: str
    title_by: str = "message"
    pinned: bool = False
    services: tuple[str, ...] | None = None
    allowed: Mapping[str, str] = field(default_factory=dict[str, str])
    tokens: int = 0
    system_prompt: str = ""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run. ``first_seq`` is the seq of the event that made it; ``lease`` the boot that last worked on it."""

    id: str
    conversation_id: str
    request_id: str
    payload_digest: str
    state: RunState
    lease: int
    first_seq: int
    created_at: str
    usage: Usage = NOTHING


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, oldest first. Everything given must match; ``since`` compares ``created_at``.

    ``asked`` is the id of an approval or elicitation: the run that asked it.
    """

    run_id: str | None = None
    conversation_id: str | None = None
    request_id: str | None = None
    since: str | None = None
    asked: str | None = None
    states: Collection[RunState] = field(default_factory=tuple[RunState, ...])


class DuplicateRequest(Exception):
    """The request_id already made a run in this conversation: nothing was appended."""

    def __init__(self, run: RunRow) -> None:
        """Carry the run that the first submission made."""
        self.run = run
        super().__init__(run.id)


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What one person has used on one day (UTC, ``YYYY-MM-DD``)."""

    day: str
    usage: Usage
    runs: int


class Ledger(Protocol):
    """What has been used, day by day; rows are written in the transaction of the events that cost something.

    The other, small seam of this package: what the limits of `tom.agent` are measured against.
    """

    async def spent(self, *, since: str, until: str | None = None) -> tuple[DayUsage, ...]:
        """The days from ``since`` to ``until`` (both included) on which something was used, oldest first."""
        ...


type Publish = Callable[[Event], None]
"""Tells of an event that was stored. Must not wait."""


class EventStore(Protocol):
    """One person's conversations. Every verb may raise `StorageUnavailable`; appending also `StorageFull`."""

    @property
    def epoch(self) -> str:
        """Changes when numbers handed out earlier may mean something else (restore, unclean machine stop)."""
        ...

    @property
    def lease(self) -> int:
        """The number of this opening (boot epoch); workers of an earlier opening are superseded."""
        ...

    async def append(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Store the events in one transaction and return them with id, seq and timestamp.

        Returns only after the commit that covers them, with fsync when one of them is of the FULL class
        (`durability.py`). Raises `DuplicateRequest` when a `message.received` or `run.retried` among them repeats a
        (conversation, request_id); `Superseded` when a run in them is leased to a later opening or has ended, or when
        upkeep (`conversation.changed`, `history.compacted`) is of a conversation that is not there;
        `AlreadyAnswered` when an `approval.answered` or `elicitation.answered` is not the first to its ask. An answer
        may be given by any opening while its run has not ended.
        """
        ...

    async def read(self, conversation_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """The events after seq ``after``, oldest first, at most ``limit``; none for an unknown conversation."""
        ...

    async def tail(self, conversation_id: str, *, tokens: int, limit: int = 2000) -> tuple[Event, ...]:
        """The newest events, oldest first: backwards until their token counts exceed ``tokens`` or ``limit``.

        In front of them stand all `prompt.set` and the newest `history.compacted` that are older than they are.
        """
        ...

    async def conversations(
        self,
        *,
        ids: Collection[str] | None = None,
        surface: str | None = None,
        kind: str | None = None,
        matching: str = "",
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[ConversationRow, ...]:
        """Conversations, newest use first; ``before`` is a (``updated_at`` + ``/`` + ``id``) cursor of an earlier page.

        ``matching``: those whose title, or one of whose messages, holds all these words (`searching.py`); not with ``ids``.
        """
        ...

    async def runs(self, which: RunFilter, *, limit: int = 1000) -> tuple[RunRow, ...]:
        """Runs that match, oldest first."""
        ...

    async def erase(self, conversation_id: str, *, before: int | None = None, publish: Publish | None = None) -> bool:
        """Remove a conversation for good (events, runs, effects, asks, free pages). False when there was none.

        With ``before`` only its events of a smaller seq, with the runs that began among them, and a `history.retired`
        is appended in the same transaction; a title that was a message's first line is then the first remaining one's.
        The conversation's instructions (`prompt.set`) stay, apart from what is read; `tail` gives them. The caller sees
        to it that the cut is at the border of a run. ``publish`` is told of the `history.retired` before anything that
        is appended later can return. False when there was nothing to remove, or when an unfinished run, or one that it
        repeats, began before the cut.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued, checkpoint, mark a clean close, release the lock."""
        ...
