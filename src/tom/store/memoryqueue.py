"""The outbox in memory: the twin of `queueing.py`."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tom.clock import Clock, timestamp
from tom.conversation.event import Event, EventType
from tom.store.copies import Stale
from tom.store.eventstore import ConversationRow, RunRow
from tom.store.memorycopies import MemoryCopies
from tom.store.mirrored import RowQueued, erasure_queued, exchange, row_queued, written_out
from tom.store.outbox import MOST_AT_ONCE, PARKED_SHOWN, Entry, Kind, Lag, MirrorRules

_PARKED = "~"


@dataclass(slots=True)
class _Waiting:
    """A row."""

    entry: Entry
    key: str
    created_at: str
    next_at: str = ""
    kept: int = 0
    """Bytes, once its texts are nowhere else."""


class MemoryQueue:
    """Rows of the outbox, gone with the process. ``events_of`` gives a conversation's events, instructions in front."""

    def __init__(
        self,
        rules: MirrorRules | None,
        *,
        events_of: Callable[[str], Sequence[Event]],
        runs: Mapping[str, RunRow],
    ) -> None:
        """``rules`` None: there is no archive."""
        self.rules = rules
        self._events_of = events_of
        self._runs = runs
        self._waiting: dict[str, _Waiting] = {}
        self._number = 0

    def add(self, stored: Iterable[Event], at: str) -> None:
        """Queue what follows from events just stored."""
        if self.rules is None:
            return
        for event in stored:
            if (row := row_queued(event, self.rules, at)) is not None:
                self._queue(row)

    def erased(self, conversation_id: str, at: str) -> None:
        """The conversation was erased."""
        self._forget(lambda entry: entry.conversation_id == conversation_id)
        if self.rules is not None:
            self.owe(conversation_id, at)

    def owe(self, conversation_id: str, at: str) -> None:
        """Whichever archive there is has to erase the conversation."""
        self._queue(erasure_queued(conversation_id, at))

    def before_cut(self, conversation_id: str, before: int) -> bool:
        """The events before that seq are about to be erased: what waits and is to be kept is written out.

        False when too much is written out already.
        """
        if self.rules is None or not self.rules.keep:
            return True
        wanted: list[tuple[_Waiting, tuple[Event, ...]]] = []
        for row in self._waiting.values():
            if row.entry.conversation_id != conversation_id or row.entry.kind != Kind.EXCHANGE or row.kept:
                continue
            needed: list[Event] = []
            events = tuple(self._events(row.entry, needed.append))
            if any(event.seq < before for event in needed):
                wanted.append((row, events))
        if wanted and sum(row.kept for row in self._waiting.values()) >= self.rules.most_kept:
            return False
        for row, events in wanted:
            row.entry, row.kept = replace(row.entry, events=events), len(written_out(events).encode())
        return True

    def after_cut(self, conversation_id: str, before: int, at: str) -> None:
        """The events before that seq were erased: the archive is told, unless it is to keep them."""
        if self.rules is None or self.rules.keep:
            return
        self._forget(
            lambda entry: (
                entry.conversation_id == conversation_id
                and entry.kind in {Kind.EXCHANGE, Kind.PROMPT}
                and entry.seq < before
            )
        )
        self._queue(erasure_queued(conversation_id, at, before))

    def due(self, rows: Mapping[str, ConversationRow], *, now: str, limit: int) -> tuple[Entry, ...]:
        """See the seam; ``rows`` are the conversations."""
        held: set[str] = set()
        erasures: list[_Waiting] = []
        others: list[_Waiting] = []
        for row in sorted(self._waiting.values(), key=lambda row: row.entry.id):
            if row.next_at > now:
                held.add(row.entry.conversation_id)
            elif row.entry.conversation_id not in held:
                (erasures if row.entry.kind == Kind.ERASE else others).append(row)
        found: list[Entry] = []
        left = MOST_AT_ONCE
        for row in [*erasures, *others][:limit]:
            if left < 0:
                break
            found.append(self._told(row, rows))
            left -= sum(len(event.content or "") for event in found[-1].events)
        return tuple(found)

    def confirm(self, entries: Sequence[Entry]) -> None:
        """Forget them, by their number."""
        numbers = {entry.id for entry in entries}
        self._forget(lambda entry: entry.id in numbers)

    def postpone(self, entry: Entry, *, until: str, reason: str) -> None:
        """Hold it and what follows it back."""
        for row in self._waiting.values():
            if row.entry.id == entry.id:
                row.entry = replace(row.entry, tries=row.entry.tries + 1, reason=reason)
                row.next_at = until or _PARKED

    def lag(self) -> Lag:
        """See the seam."""
        rows = sorted(self._waiting.values(), key=lambda row: row.entry.id)
        parked = [replace(row.entry, events=()) for row in rows if row.next_at == _PARKED]
        firsts: dict[str, int] = {}
        for entry in parked:
            firsts.setdefault(entry.conversation_id, entry.id)
        held = sum(row.entry.id >= firsts.get(row.entry.conversation_id, self._number + 1) for row in rows)
        return Lag(
            len(rows),
            min((row.created_at for row in rows), default=""),
            min((row.next_at for row in rows if row.next_at not in {"", _PARKED}), default=""),
            tuple(parked[:PARKED_SHOWN]),
            held,
        )

    def refill(
        self, events: Sequence[Event], rows: Iterable[ConversationRow], conversation_id: str | None, at: str
    ) -> int:
        """See the seam; ``events`` and ``rows`` are of the conversations that are asked for."""
        rules = self.rules or MirrorRules()
        for row in sorted(rows, key=lambda row: (row.created_at, row.id)):
            self._queue(RowQueued(f"session:{row.id}", row.id, Kind.SESSION, "", row.last_seq, at), again=True)
        firsts = {row.id: row.first_seq for row in rows}
        for kind in (EventType.RUN_COMPLETED, EventType.PROMPT_SET):
            for event in sorted(events, key=lambda event: (event.conversation_id, event.seq)):
                gone = event.seq < firsts[event.conversation_id] and not rules.keep
                if event.type == kind and not gone and (queued := row_queued(event, rules, at)) is not None:
                    self._queue(queued, again=True)
        for waiting in self._waiting.values():
            if waiting.next_at and conversation_id in {None, waiting.entry.conversation_id}:
                waiting.next_at = ""
                waiting.entry = replace(waiting.entry, tries=0, reason="")
        return len(self._waiting)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _queue(self, row: RowQueued, *, again: bool = False) -> None:
        """A row in place of an earlier one for the same thing; ``again``: unless that is there."""
        if again and row.dedup_key in self._waiting:
            return
        self._number += 1
        entry = Entry(self._number, row.kind, row.conversation_id, row.seq, row.run_id)
        self._waiting[row.dedup_key] = _Waiting(entry, row.dedup_key, row.created_at)

    def _forget(self, which: Callable[[Entry], bool]) -> None:
        for key in [key for key, row in self._waiting.items() if which(row.entry)]:
            del self._waiting[key]

    def _told(self, row: _Waiting, rows: Mapping[str, ConversationRow]) -> Entry:
        entry = row.entry
        session = rows.get(entry.conversation_id) if entry.kind not in {Kind.ERASE, Kind.CUT} else None
        events = entry.events if row.kept else tuple(self._events(entry, lambda _: None))
        return replace(entry, session=session, events=events)

    def _events(self, entry: Entry, needs: Callable[[Event], object]) -> Sequence[Event]:
        events = self._events_of(entry.conversation_id)
        if entry.kind == Kind.PROMPT:
            return [event for event in events if event.seq == entry.seq]
        if entry.kind != Kind.EXCHANGE:
            return ()

        def origin(run_id: str) -> Event | None:
            run = self._runs.get(run_id)
            first = run.first_seq if run is not None and run.conversation_id == entry.conversation_id else 0
            for event in events:
                if event.seq == first:
                    needs(event)
                    return event
            return None

        mine = [event for event in events if event.run_id == entry.run_id and event.seq <= entry.seq]
        for event in mine:
            needs(event)
        return exchange(mine, self.rules or MirrorRules(), origin)


class MemoryOutbox(ABC):
    """The verbs of the seam, for a store in memory."""

    _clock: Clock
    _copies: MemoryCopies

    def _tells(self, queue: MemoryQueue) -> None:
        self._queue = queue
        self._queued = asyncio.Event()

    @abstractmethod
    def _check_open(self) -> None: ...

    @abstractmethod
    def _rows(self) -> Sequence[ConversationRow]: ...

    @abstractmethod
    def _events_of(self, conversation_id: str) -> Sequence[Event]: ...

    def _now(self) -> str:
        return timestamp(self._clock.now())

    async def due(self, *, limit: int = 200) -> tuple[Entry, ...]:
        """Entries to be told now; see `Outbox`."""
        self._check_open()
        self._queued.clear()
        return self._queue.due({row.id: row for row in self._rows()}, now=self._now(), limit=limit)

    async def confirm(self, entries: Sequence[Entry]) -> None:
        """The archive has these."""
        self._check_open()
        self._queue.confirm(entries)

    async def postpone(self, entry: Entry, *, until: str, reason: str) -> None:
        """The archive refused it."""
        self._check_open()
        self._queue.postpone(entry, until=until, reason=reason)

    async def lag(self) -> Lag:
        """How far the archive is behind."""
        self._check_open()
        return self._queue.lag()

    async def refill(self, conversation_id: str | None = None) -> int:
        """Queue everything again."""
        self._check_open()
        wanted = [row for row in self._rows() if conversation_id in {None, row.id}]
        events = [event for row in wanted for event in self._events_of(row.id)]
        self._queued.set()
        return self._queue.refill(events, wanted, conversation_id, self._now())

    async def owe(self, conversation_ids: Sequence[str], *, memory: Sequence[str] = ()) -> None:
        """The archive, and the shared ``memory``, is to be told of these erasures, which happened elsewhere."""
        for conversation_id in conversation_ids:
            self._queue.owe(conversation_id, self._now())
        for conversation_id in memory:
            self._copies.owe(conversation_id)
        self._queued.set()

    # --- what a shared memory must not keep -----------------------------------------------------------------------

    async def stale(self, *, after: int = 0, limit: int = 100) -> tuple[Stale, ...]:
        """Copies that are behind; see `Copies`."""
        self._check_open()
        return self._copies.stale(after, limit)

    async def settle(self, stale: Sequence[Stale]) -> None:
        """These copies are right now."""
        self._check_open()
        self._copies.settle(stale)

    async def erased(self, conversation_id: str) -> bool:
        """Whether the conversation was erased here and a copy may be left."""
        self._check_open()
        return self._copies.erased(conversation_id)

    async def ids(self, *, after: str = "", limit: int = 500) -> tuple[str, ...]:
        """Conversations by id, in the order of their ids."""
        self._check_open()
        return tuple(sorted(row.id for row in self._rows() if row.id > after)[:limit])

    async def queued(self) -> None:
        """Wait until something was queued after the last `due` began."""
        await self._queued.wait()
