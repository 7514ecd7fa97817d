"""Conversations in one SQLite file."""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Self

import apsw

from tom.clock import Clock, SystemClock, timestamp
from tom.conversation.codec import decode_row
from tom.conversation.event import Event, EventType
from tom.conversation.upkeep import history_retired
from tom.sqlite import Database
from tom.sqlite.recovery import end_process
from tom.store.appending import Appender
from tom.store.copies import MEMORY, SHARED_SURFACE, Stale
from tom.store.durability import needs_fsync
from tom.store.eventstore import ConversationRow, DayUsage, Publish, RunFilter, RunRow
from tom.store.intake import renamed, take_in
from tom.store.outbox import Entry, Lag, MirrorRules
from tom.store.projection import UNFINISHED, title_of
from tom.store.queries import load_queries
from tom.store.queueing import Queueing, queues_something
from tom.store.rows import read_conversation, read_day, read_run
from tom.store.searching import sought

_AFTER_EVERY_TIME = "~"


class SqliteEventStore:
    """An `EventStore` and `Ledger` on one file, which this process alone writes."""

    durable = True

    def __init__(
        self, database: Database, clock: Clock, mirror: MirrorRules | None = None, *, shared: bool = False
    ) -> None:
        """Use `open`."""
        self._shared = shared
        self._database = database
        self._sql = load_queries()
        self._clock = clock
        self._queueing = Queueing(self._sql, mirror)
        self._queued = asyncio.Event()
        self._appender = Appender(self._sql, clock, database.boot_epoch, self._queueing)
        self._append = self._appender.append_all
        database.after_rollback(self._appender.forget)
        self._summed: set[str] = set()
        self._instructed: set[str] = set()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock | None = None,
        on_fatal: Callable[[], None] = end_process,
        boot_id: str | None = None,
        vfs: str | None = None,
        mirror: MirrorRules | None = None,
        shared: bool = False,
    ) -> Self:
        """Open or create the file ``path``; ``mirror``: what an archive is told, None: there is none.

        ``shared``: sessions have copies in a memory that other processes see; see `Copies`.

        The other parameters, and errors, are those of `Database.open`.
        """
        clock = clock or SystemClock()
        migrations = resources.files("tom.store").joinpath("migrations")
        database = await Database.open(
            path, migrations=migrations, clock=clock, on_fatal=on_fatal, boot_id=boot_id, vfs=vfs
        )
        store = cls(database, clock, mirror, shared=shared)
        store._summed, store._instructed, changed = await database.read(store._read_special)
        if changed:
            await database.write(store._record)
        return store

    @property
    def epoch(self) -> str:
        """Changes when numbers handed out earlier may mean something else."""
        return self._database.epoch

    @property
    def lost(self) -> bool:
        """Whether nothing can be written at the moment."""
        return self._database.lost

    @property
    def lease(self) -> int:
        """The number of this opening."""
        return self._database.boot_epoch

    async def append(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Store the events in one transaction; see the seam."""
        if not events:
            return ()
        for event in events:  # before it is there: who looks for it in vain loses nothing
            if event.type == EventType.HISTORY_COMPACTED:
                self._summed.add(event.conversation_id)
            elif event.type == EventType.PROMPT_SET:
                self._instructed.add(event.conversation_id)
        stored = await self._database.write_together(self._append, events, full=needs_fsync(events), rows=len(events))
        if isinstance(stored, Exception):
            raise stored
        if self._queueing.rules is not None and queues_something(stored):
            self._queued.set()
        return stored

    async def take_in(self, conversation: ConversationRow, events: Sequence[Event]) -> bool:
        """Store a conversation that was written out elsewhere; see `Intake`."""
        stored = renamed(events)
        kinds = {event.type for event in stored}
        self._summed |= {conversation.id} if EventType.HISTORY_COMPACTED in kinds else set()
        self._instructed |= {conversation.id} if EventType.PROMPT_SET in kinds else set()
        work = partial(self._take_in, conversation=conversation, events=stored)
        taken = await self._database.write(work, rows=len(stored))
        self._queued.set()
        return taken

    async def read(self, conversation_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """The events after seq ``after``, oldest first."""
        return await self._database.read(partial(self._read, row=(conversation_id, after, limit)))

    async def tail(self, conversation_id: str, *, tokens: int, limit: int = 2000) -> tuple[Event, ...]:
        """The newest events: backwards, to the one with which their token counts exceed ``tokens``."""
        return await self._database.read(partial(self._tail, row=(conversation_id, limit), tokens=tokens))

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
        """Conversations, newest use first."""
        before_time, _, before_id = (before or _AFTER_EVERY_TIME).partition("/")
        row: dict[str, Any] = {"before_time": before_time, "before_id": before_id, "surface": surface, "kind": kind}
        row["limit"] = limit
        query = "conversations"
        if ids is not None:
            query = "conversations_by_id"
            row["ids"] = json.dumps(list(ids))
        elif (wanted := sought(matching)) is not None:
            query = "conversations_matching"
            row |= {"likes": json.dumps(wanted.likes), "globs": json.dumps(wanted.globs)}
        return await self._database.read(partial(self._list, query=query, row=row, read=read_conversation))

    async def runs(self, which: RunFilter, *, limit: int = 1000) -> tuple[RunRow, ...]:
        """Runs that match, oldest first."""
        row = {
            "run_id": which.run_id,
            "conversation_id": which.conversation_id,
            "request_id": which.request_id,
            "asked": which.asked,
            "since": which.since,
            "states": json.dumps(list(which.states)) if which.states else None,
            "limit": limit,
        }
        return await self._database.read(partial(self._list, query=_query_for(which), row=row, read=read_run))

    async def spent(self, *, since: str, until: str | None = None) -> tuple[DayUsage, ...]:
        """What was used on each day; see `Ledger`."""
        return await self._database.read(partial(self._list, query="spent", row=(since, until), read=read_day))

    async def erase(self, conversation_id: str, *, before: int | None = None, publish: Publish | None = None) -> bool:
        """Remove a conversation for good, or its oldest part; see the seam."""
        retired: tuple[Event, ...] = ()
        if before is None:
            erased = await self._database.write(partial(self._erase, conversation_id=conversation_id))
        else:
            retired = await self._database.write(partial(self._retire, conversation_id=conversation_id, before=before))
            erased = bool(retired)
        if publish is not None:
            for event in retired:
                publish(event)
        if erased:
            self._queued.set()
            await self._database.truncate()
        return erased

    # --- what an archive is told ----------------------------------------------------------------------------------

    async def due(self, *, limit: int = 200) -> tuple[Entry, ...]:
        """Entries to be told now; see `Outbox`."""
        self._queued.clear()
        now = timestamp(self._clock.now())
        return await self._database.read(partial(self._queueing.due, now=now, limit=limit))

    async def confirm(self, entries: Sequence[Entry]) -> None:
        """The archive has these."""
        await self._database.write(partial(self._queueing.confirm, entries=entries), full=False)

    async def postpone(self, entry: Entry, *, until: str, reason: str) -> None:
        """The archive refused it."""
        await self._database.write(
            partial(self._queueing.postpone, entry=entry, until=until, reason=reason), full=False
        )

    async def lag(self) -> Lag:
        """How far the archive is behind."""
        return await self._database.read(self._queueing.lag)

    async def refill(self, conversation_id: str | None = None) -> int:
        """Queue everything again."""
        at = timestamp(self._clock.now())
        waiting = await self._database.write(partial(self._queueing.refill, conversation_id=conversation_id, at=at))
        self._queued.set()
        return waiting

    async def owed(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The conversations of whose erasure the archive, and those of whose the shared memory has not been told."""

        def read(connection: apsw.Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
            archive = tuple(str(row[0]) for row in connection.execute(self._sql["owed"]))
            stale = self._list(connection, "stale", (0, -1), _stale)
            return archive, tuple(one.conversation_id for one in stale if one.erased)

        return await self._database.read(read)

    async def owe(self, conversation_ids: Sequence[str], *, memory: Sequence[str] = ()) -> None:
        """The archive, and the shared ``memory``, is to be told of these erasures, which happened elsewhere."""
        await self._database.write(partial(self._owe, conversation_ids=conversation_ids, memory=memory))
        self._queued.set()

    async def queued(self) -> None:
        """Wait until something was queued after the last `due` began."""
        await self._queued.wait()

    async def stale(self, *, after: int = 0, limit: int = 100) -> tuple[Stale, ...]:
        """Copies in a shared memory that are behind; see `Copies`."""
        return await self._database.read(partial(self._list, query="stale", row=(after, limit), read=_stale))

    async def settle(self, stale: Sequence[Stale]) -> None:
        """These copies are right now."""
        row = (json.dumps([one.number for one in stale]),)
        await self._database.write(lambda connection: connection.execute(self._sql["settle"], row), full=False)

    async def erased(self, conversation_id: str) -> bool:
        """Whether the conversation was erased here and a copy may be left."""
        row = (conversation_id,)
        return bool(await self._database.read(lambda connection: connection.execute(self._sql["stale_of"], row).get))

    async def ids(self, *, after: str = "", limit: int = 500) -> tuple[str, ...]:
        """Conversations by id, in the order of their ids."""
        row = (after, limit)
        return await self._database.read(
            partial(self._list, query="ids_after", row=row, read=lambda found: str(found[0]))
        )

    async def count(self) -> tuple[int, int]:
        """How many conversations and events there are."""
        return await self._database.read(lambda connection: connection.execute(self._sql["count_everything"]).get)

    async def close(self, *, erase: bool = False) -> None:
        """Finish what is queued, checkpoint, mark a clean close, release the lock; ``erase``: remove the file."""
        await self._database.close(erase=erase)

    # --- in the database's threads --------------------------------------------------------------------------------

    def _read(self, connection: apsw.Connection, row: tuple[Any, ...]) -> tuple[Event, ...]:
        return tuple(map(decode_row, connection.execute(self._sql["events_after"], row)))

    def _tail(self, connection: apsw.Connection, row: tuple[Any, ...], tokens: int) -> tuple[Event, ...]:
        newest: list[Event] = []
        for found in connection.execute(self._sql["events_backwards"], row):
            event = decode_row(found)
            newest.append(event)
            tokens -= event.token_count
            if tokens < 0:
                break
        newest.reverse()
        return (*self._in_front(connection, row[0], newest[0].seq), *newest) if newest else ()

    def _in_front(self, connection: apsw.Connection, conversation_id: str, before: int) -> tuple[Event, ...]:
        """The instructions and the newest summary from before that seq, in order."""
        found: list[Event] = []
        if conversation_id in self._instructed:
            found += map(decode_row, connection.execute(self._sql["instructions"], (conversation_id, before)))
        if conversation_id in self._summed:
            summary = connection.execute(self._sql["newest_summary"], (conversation_id,)).fetchone()
            found += [event for event in ([decode_row(summary)] if summary else []) if event.seq < before]
        return tuple(sorted(found, key=lambda event: event.seq))

    def _take_in(self, connection: apsw.Connection, conversation: ConversationRow, events: Sequence[Event]) -> bool:
        taken = take_in(connection, self._sql, conversation, events)
        if taken:
            connection.execute(self._sql["restored"], (conversation.id,))
            self._queueing.add(connection.cursor(), events, self._appender.now())
        return taken

    def _read_special(self, connection: apsw.Connection) -> tuple[set[str], set[str], bool]:
        """The conversations that have a summary, and instructions: the tail of others needs no second statement.

        Last, whether something is new about the places that have copies.
        """
        summed = {str(conversation_id) for (conversation_id,) in connection.execute(self._sql["summed"])}
        instructed = {str(conversation_id) for (conversation_id,) in connection.execute(self._sql["instructed"])}
        known = any(row[0] == MEMORY for row in connection.execute(self._sql["mirrors"]).fetchall())
        fresh = self._shared and not known
        self._shared = self._shared or known
        return summed, instructed, self._queueing.recorded(connection) or fresh

    def _record(self, connection: apsw.Connection) -> None:
        self._queueing.record(connection, self._appender.now())
        if self._shared:
            connection.execute(self._sql["set_mirror"], (MEMORY, "", False, False, False))

    def _list[T](
        self,
        connection: apsw.Connection,
        query: str,
        row: Mapping[str, Any] | tuple[Any, ...],
        read: Callable[[tuple[Any, ...]], T],
    ) -> tuple[T, ...]:
        return tuple(map(read, connection.execute(self._sql[query], row)))

    def _erase(self, connection: apsw.Connection, conversation_id: str) -> bool:
        self._erase_events(connection, conversation_id, None)
        if self._shared:
            connection.execute(self._sql["note_erased"], (conversation_id, SHARED_SURFACE))
        connection.execute(self._sql["erase_conversation"], (conversation_id,))
        erased = bool(connection.changes())
        if erased:
            self._queueing.erased(connection, conversation_id, self._appender.now())
        return erased

    def _owe(self, connection: apsw.Connection, conversation_ids: Sequence[str], memory: Sequence[str]) -> None:
        for conversation_id in conversation_ids:
            self._queueing.owe(connection, conversation_id, self._appender.now())
        connection.executemany(self._sql["note_elsewhere"], [(conversation_id,) for conversation_id in memory])

    def _retire(self, connection: apsw.Connection, conversation_id: str, before: int) -> tuple[Event, ...]:
        """Remove the events before a seq; the event that tells of it, nothing when there was nothing to remove."""
        needed = connection.execute(self._sql["needed_from"], (conversation_id,)).get
        if needed is not None and needed < before:
            return ()
        last = connection.execute(self._sql["last_seq"], (conversation_id,)).get or 0
        cut = min(before, last + 1)
        tokens = connection.execute(self._sql["tokens_before"], (conversation_id, cut)).get
        if not self._queueing.before_cut(connection, conversation_id, cut):
            return ()
        gone = self._erase_events(connection, conversation_id, cut)
        if not gone:
            return ()
        self._queueing.after_cut(connection, conversation_id, cut, self._appender.now())
        if self._shared:
            connection.execute(self._sql["note_cut"], (conversation_id, SHARED_SURFACE))
        text = connection.execute(self._sql["first_message"], (conversation_id,)).get
        connection.execute(self._sql["retire_conversation"], (cut, tokens, title_of(text or ""), conversation_id))
        retired = history_retired(conversation_id, first_seq=cut, events=gone)
        (stored,) = self._appender.append_all(connection, [[retired]])
        assert isinstance(stored, tuple)  # noqa: S101 - the conversation is there
        return stored

    def _erase_events(self, connection: apsw.Connection, conversation_id: str, before: int | None) -> int:
        """Remove events and what follows from them; returns how many."""
        self._appender.forget()
        for query in ("erase_effects", "erase_asks", "erase_runs", "erase_events"):
            connection.execute(self._sql[query], (conversation_id, before))
        return connection.changes()


def _stale(row: tuple[Any, ...]) -> Stale:
    number, conversation_id, erased = row
    return Stale(number, conversation_id, bool(erased))


def _query_for(which: RunFilter) -> str:
    """The query whose index narrows the filter most."""
    if which.asked is not None:
        return "runs_by_ask"
    if which.run_id is not None:
        return "runs_by_id"
    if which.request_id is not None:
        return "runs_by_request"
    if which.states and UNFINISHED.issuperset(which.states):
        return "runs_unfinished"
    return "runs" if which.conversation_id is None else "runs_of_conversation"
