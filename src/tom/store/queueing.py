"""The outbox in SQLite: what runs in the database's threads. Every verb that writes does so in its caller's transaction.

An archive that was told something and is switched off is still owed every erasure; when it is switched on again, it is
told what it lacks.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import apsw

from tom.conversation.codec import decode_row, from_json
from tom.conversation.event import Event
from tom.store.eventstore import ConversationRow
from tom.store.mirrored import QUEUES, TARGET, RowQueued, erasure_queued, exchange, row_queued, written_out
from tom.store.outbox import MOST_AT_ONCE, PARKED_SHOWN, Entry, Kind, Lag, MirrorRules
from tom.store.rows import read_conversation

type Row = tuple[Any, ...]

_REFERS = frozenset({Kind.EXCHANGE, Kind.PROMPT})
"""Kinds of entries whose texts are events."""


class Queueing:
    """Rows of the outbox. ``rules`` None: there is no archive now, and only of erasures one that there was is told."""

    def __init__(self, sql: Mapping[str, str], rules: MirrorRules | None) -> None:
        """``sql``: the store's statements."""
        self._sql = sql
        self.rules = rules
        self._owed = rules
        """The rules of the archive that has to hear of erasures."""

    def recorded(self, connection: apsw.Connection) -> bool:
        """Read which archive this file was mirrored in; whether `record` has something to write."""
        row = self._recorded(connection)
        if self.rules is None:
            self._owed = None if row is None else MirrorRules(bool(row[1]), bool(row[2]))
            return row is not None and not row[3]
        return row is None or bool(row[3]) or row[:3] != _recorded_as(self.rules)

    def record(self, connection: apsw.Connection, at: str) -> None:
        """Note which archive there is; one that may lack something is told everything it lacks."""
        row = self._recorded(connection)
        if self.rules is not None:
            connection.execute(self._sql["set_mirror"], (TARGET, *_recorded_as(self.rules), False))
            if row is None or row[3] or row[0] != self.rules.place or self.rules.full > row[1]:
                self.refill(connection, None, at)
        elif row is not None:
            connection.execute(self._sql["set_mirror"], (TARGET, *row[:3], True))

    def add(self, cursor: apsw.Cursor, stored: Iterable[Event], at: str) -> None:
        """Write the rows that follow from events just stored."""
        if self.rules is None:
            return
        for event in stored:
            if event.type in QUEUES and (row := row_queued(event, self.rules, at)) is not None:
                self._queue(cursor, row)

    def erased(self, connection: apsw.Connection, conversation_id: str, at: str) -> None:
        """The conversation was erased: nothing of it is told any more but that."""
        connection.execute(self._sql["forget_queued"], (conversation_id, None))
        if self._owed is not None:
            self.owe(connection, conversation_id, at)

    def owe(self, connection: apsw.Connection, conversation_id: str, at: str) -> None:
        """Whichever archive there is or was has to erase the conversation."""
        self._queue(connection, erasure_queued(conversation_id, at))

    def before_cut(self, connection: apsw.Connection, conversation_id: str, before: int) -> bool:
        """The events before that seq are about to be erased: what waits and is to be kept is written out.

        False when too much is written out already: they may not be erased yet.
        """
        if self.rules is None or not self.rules.keep:
            return True
        bodies: list[tuple[str, int]] = []
        for row in connection.execute(self._sql["waiting_of"], (conversation_id,)).fetchall():
            needed: list[Event] = []
            entry = self._entry(connection, row, {}, needed.append)
            if any(event.seq < before for event in needed):
                bodies.append((written_out(entry.events), entry.id))
        if bodies and connection.execute(self._sql["written_out"]).get >= self.rules.most_kept:
            return False
        connection.executemany(self._sql["write_out"], bodies)
        return True

    def after_cut(self, connection: apsw.Connection, conversation_id: str, before: int, at: str) -> None:
        """The events before that seq were erased: the archive is told, unless it is to keep them."""
        if self._owed is None or self._owed.keep:
            return
        connection.execute(self._sql["forget_queued"], (conversation_id, before))
        self._queue(connection, erasure_queued(conversation_id, at, before))

    def due(self, connection: apsw.Connection, *, now: str, limit: int) -> tuple[Entry, ...]:
        """See the seam. All of it is read at one moment."""
        with _moment(connection):
            rows = connection.execute(self._sql["erasures_due"], {"now": now, "limit": limit}).fetchall()
            if len(rows) < limit:
                more = {"now": now, "limit": limit - len(rows)}
                rows += connection.execute(self._sql["entries_due"], more).fetchall()
            return tuple(self._entries(connection, rows))

    def confirm(self, connection: apsw.Connection, entries: Sequence[Entry]) -> None:
        """Forget them, by their number: what was queued meanwhile has another."""
        connection.execute(self._sql["confirm"], (json.dumps([entry.id for entry in entries]),))

    def postpone(self, connection: apsw.Connection, entry: Entry, *, until: str, reason: str) -> None:
        """Hold it and what follows it back."""
        connection.execute(self._sql["postpone"], (until or "~", not until, reason, entry.id))

    def lag(self, connection: apsw.Connection) -> Lag:
        """See the seam."""
        with _moment(connection):
            ((entries, oldest, next_at),) = self._rows(connection, "lag")
            parked = self._rows(connection, "parked", PARKED_SHOWN)
            held = connection.execute(self._sql["held"]).get if parked else 0
        return Lag(entries, oldest or "", next_at or "", tuple(map(_plain, parked)), held)

    def refill(self, connection: apsw.Connection, conversation_id: str | None, at: str) -> int:
        """See the seam."""
        row = {"target": TARGET, "conversation": conversation_id, "at": at}
        connection.execute(self._sql["refill_sessions"], row)
        connection.execute(self._sql["refill_exchanges"], row)
        if self.rules is not None and self.rules.full:
            connection.execute(self._sql["refill_prompts"], {**row, "keep": self.rules.keep})
        connection.execute(self._sql["release"], (conversation_id,))
        ((waiting, *_),) = self._rows(connection, "lag")
        return waiting

    # --- inside ---------------------------------------------------------------------------------------------------

    def _recorded(self, connection: apsw.Connection) -> Row | None:
        """Place, whole, keep and off of the archive that this file knows of."""
        rows = connection.execute(self._sql["mirrors"]).fetchall()
        return next((row[1:] for row in rows if row[0] == TARGET), None)

    def _queue(self, cursor: apsw.Cursor | apsw.Connection, row: RowQueued) -> None:
        """A row in place of an earlier one for the same thing: one that is being told now is not taken for it."""
        cursor.execute(self._sql["queue"], (TARGET, *row))

    def _rows(self, connection: apsw.Connection, query: str, *row: Any) -> list[Row]:
        return connection.execute(self._sql[query], row).fetchall()

    def _entries(self, connection: apsw.Connection, rows: Sequence[Row]) -> Iterator[Entry]:
        """The entries with their texts, until these are many."""
        sessions = self._sessions(connection, rows)
        left = MOST_AT_ONCE
        for row in rows:
            if left < 0:
                return
            entry = self._entry(connection, row, sessions)
            left -= sum(len(event.content or "") for event in entry.events)
            yield entry

    def _sessions(self, connection: apsw.Connection, rows: Iterable[Row]) -> Mapping[str, ConversationRow]:
        ids = json.dumps(sorted({row[2] for row in rows}))
        which = {"ids": ids, "before_time": "~", "before_id": "", "surface": None, "kind": None, "limit": -1}
        found = map(read_conversation, connection.execute(self._sql["conversations_by_id"], which))
        return {row.id: row for row in found}

    def _entry(
        self,
        connection: apsw.Connection,
        row: Row,
        sessions: Mapping[str, ConversationRow],
        needs: Callable[[Event], Any] = lambda _: None,
    ) -> Entry:
        """The entry of a row with its texts; ``needs`` is told of every event it is made from."""
        plain = _plain(row)
        body: str | None = row[5]
        if body is not None:
            events = tuple(from_json(value) for value in json.loads(body))
        elif plain.kind in _REFERS:
            events = tuple(self._events(connection, plain, needs))
        else:
            events = ()
        session = sessions.get(plain.conversation_id) if plain.kind not in {Kind.ERASE, Kind.CUT} else None
        about = (plain.id, plain.kind, plain.conversation_id, plain.seq, plain.run_id, plain.tries, plain.reason)
        return Entry(*about, session, events)

    def _events(self, connection: apsw.Connection, entry: Entry, needs: Callable[[Event], Any]) -> Sequence[Event]:
        if entry.kind == Kind.PROMPT:
            row = (entry.conversation_id, entry.seq, entry.seq)
            return [decode_row(found) for found in connection.execute(self._sql["events_between"], row)]
        rules = self.rules or MirrorRules()
        first = connection.execute(self._sql["first_of_run"], (entry.run_id, entry.conversation_id)).get or 1
        found: list[Event] = []
        query = self._sql["events_between" if rules.full else "said_between"]
        for event in map(decode_row, connection.execute(query, (entry.conversation_id, first, entry.seq))):
            if event.run_id == entry.run_id:
                found.append(event)
                needs(event)
        return exchange(found, rules, partial(self._origin, connection, entry.conversation_id, needs))

    def _origin(
        self, connection: apsw.Connection, conversation_id: str, needs: Callable[[Event], Any], run_id: str
    ) -> Event | None:
        """What the run began with."""
        for found in connection.execute(self._sql["beginning_of_run"], (run_id, conversation_id)).fetchall():
            event = decode_row(found)
            needs(event)
            return event
        return None


def _recorded_as(rules: MirrorRules) -> Row:
    return rules.place, int(rules.full), int(rules.keep)


def queues_something(events: Iterable[Event]) -> bool:
    """Whether a row may follow from one of them."""
    return any(event.type in QUEUES for event in events)


def _plain(row: Row) -> Entry:
    """A row without its texts."""
    entry_id, kind, conversation_id, run_id, seq, _, tries, reason = row
    return Entry(entry_id, Kind(kind), conversation_id, seq, run_id, tries, reason)


@contextmanager
def _moment(connection: apsw.Connection) -> Generator[None]:
    """What is read inside is read as of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
