"""The seam between the store and whoever tells an archive what happened.

Above: the pump of `tom.agent`, which empties the outbox into an archive. Below: the same files as the events', for a row
of the outbox is written in the transaction of the event it follows from (`mirrored.py` says which). It is not a queue
of work: what is confirmed is gone, what is not is told again, and an archive must take the same thing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tom.conversation.event import Event
from tom.store.eventstore import ConversationRow

MOST_AT_ONCE = 4 * 1024 * 1024
"""Characters of texts that `Outbox.due` returns at most, but for the last entry."""

PARKED_SHOWN = 100


class Kind(StrEnum):
    """What an entry tells."""

    EXCHANGE = "exchange"
    PROMPT = "prompt"
    SESSION = "session"
    ERASE = "erase"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class MirrorRules:
    """What an archive is told. ``full``: instructions and tool calls, too. ``keep``: also what retention erases first.

    ``most_kept``: bytes of texts that are kept for the archive alone; retention erases no more until they are told.
    """

    full: bool = False
    keep: bool = True
    most_kept: int = 256 * 1024 * 1024
    place: str = field(default="", compare=False)
    """Tells one archive from another: a store that is shown another one tells it everything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that the archive has not confirmed yet.

    ``events`` are the messages of it, in order of seq; ``session`` is the conversation as it is now, None where it is
    erased. ``seq`` of a `Kind.CUT`: what is smaller goes. ``tries``: how often it was refused.
    """

    id: int
    kind: Kind
    conversation_id: str
    seq: int
    run_id: str = ""
    tries: int = 0
    reason: str = ""
    session: ConversationRow | None = None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the archive is behind: entries, when the oldest was queued, when a refused one is due, what is parked.

    ``held``: how many of the entries are parked or wait behind one that is.
    """

    entries: int = 0
    oldest: str = ""
    next_at: str = ""
    parked: tuple[Entry, ...] = field(default_factory=tuple[Entry, ...])
    held: int = 0


class Outbox(Protocol):
    """What the archive is still to be told. Every verb may raise `StorageUnavailable`, those that write `StorageFull`."""

    async def due(self, *, limit: int = 200) -> tuple[Entry, ...]:
        """Entries to be told now, with their texts; those of one conversation in their order.

        Erasures of whole conversations come first. What was postponed or parked holds back the rest of its conversation
        and nothing else.
        """
        ...

    async def confirm(self, entries: Sequence[Entry]) -> None:
        """The archive has these; they are forgotten. What was queued for the same thing meanwhile stays."""
        ...

    async def postpone(self, entry: Entry, *, until: str, reason: str) -> None:
        """The archive refused it: not before ``until`` (RFC 3339); empty: it is parked."""
        ...

    async def lag(self) -> Lag:
        """How far the archive is behind."""
        ...

    async def refill(self, conversation_id: str | None = None) -> int:
        """Queue everything again, of one conversation or of all; what was postponed or parked is due. How many entries wait."""
        ...

    async def owe(self, conversation_ids: Sequence[str], *, memory: Sequence[str] = ()) -> None:
        """The archive, and the shared ``memory``, is to be told of these erasures, which this store does not know of."""
        ...

    async def queued(self) -> None:
        """Wait until something was queued after the last `due` began."""
        ...
