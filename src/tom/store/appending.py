"""Appending in SQLite: what runs in the writer's thread, inside its transaction.

Appends that share a transaction are written in one call. What is refused before anything of it was written is returned
and not raised, because raising rolls back all of them; where something was written already, raising is right.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw

from tom.clock import Clock, timestamp
from tom.conversation.codec import encode_row
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING
from tom.errors import AlreadyAnswered, Superseded
from tom.ids import ulid
from tom.store.asked import ABOUT_ASKS, ANSWERABLE, AskAnswered, AskMade, AsksCancelled, ask_changed
from tom.store.eventstore import DuplicateRequest
from tom.store.projection import (
    EDITABLE,
    UPKEEP,
    ConversationChanged,
    EffectEnded,
    EffectIntended,
    RunChanged,
    RunMade,
    conversation_changed,
    conversation_state,
    effect_changed,
    opened_with,
    run_changed,
    run_made,
)
from tom.store.queueing import Queueing
from tom.store.rows import read_run

REMEMBERED = 4096
"""Conversations whose last seq is kept in memory."""

_MILLISECOND = timedelta(milliseconds=1)

type Refusal = DuplicateRequest | Superseded | AlreadyAnswered


@dataclass(slots=True)
class _Group:
    """What is written in one call."""

    cursor: apsw.Cursor
    now: str
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    effects: list[EffectIntended | EffectEnded] = field(default_factory=list[EffectIntended | EffectEnded])
    stored: dict[str, list[Event]] = field(default_factory=dict[str, list[Event]])


class Appender:
    """Numbers events and writes them with the rows that follow from them. Used by one thread."""

    def __init__(self, sql: Mapping[str, str], clock: Clock, lease: int, queueing: Queueing) -> None:
        """``sql``: the store's statements; ``lease``: the number of this opening; ``queueing``: of what an archive is told."""
        self._queueing = queueing
        self._sql = sql
        self._clock = clock
        self._lease = lease
        self._last: OrderedDict[str, int] = OrderedDict()
        self._asking: set[str] | None = None
        self._rendered_from = datetime.fromtimestamp(0, UTC)
        self._rendered = ""
        self._cursor: apsw.Cursor | None = None
        self._insert_event = sql["insert_event"]

    def forget(self) -> None:
        """Rely on nothing remembered: a transaction was rolled back, or a conversation erased."""
        self._last.clear()
        self._asking = None

    def append_all(
        self, connection: apsw.Connection, appends: Sequence[Sequence[Event]]
    ) -> list[tuple[Event, ...] | Refusal]:
        """Store each append's events; returns them as stored, or why they are refused."""
        group = _Group(self._cursor_of(connection), self.now())
        answers = [self._take(group, events) for events in appends]
        group.cursor.executemany(self._insert_event, group.rows)
        for effect in group.effects:
            self._write_effect(group.cursor, effect)
        spent, runs = NOTHING, 0
        for conversation_id, events in group.stored.items():
            self._queueing.add(group.cursor, events, group.now)
            change = conversation_changed(events)
            self._write_conversation(group.cursor, change)
            self._last[conversation_id] = change.last_seq
            self._last.move_to_end(conversation_id)
            runs += change.runs
            if change.usage is not NOTHING:
                spent += change.usage
        if runs or spent != NOTHING:
            day = (group.now[:10], spent.prompt_tokens, spent.completion_tokens, spent.estimated, spent.cost, runs)
            group.cursor.execute(self._sql["spend"], day)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        return answers

    def _take(self, group: "_Group", events: Sequence[Event]) -> tuple[Event, ...] | Refusal:
        """Number the events of one append and write its runs; the rest is written for the whole group at once."""
        last: dict[str, int] = {}
        stored: list[Event] = []
        for event in events:
            conversation_id = event.conversation_id
            seq = last.get(conversation_id)
            if seq is None:
                earlier = group.stored.get(conversation_id)
                seq = earlier[-1].seq if earlier else self._last_seq(group.cursor, conversation_id)
            if not seq and event.type in UPKEEP:
                return Superseded()
            last[conversation_id] = seq = seq + 1
            stored.append(event.stored(event_id=ulid(), seq=seq, timestamp=group.now))
        if refused := self._write_runs(group.cursor, stored):
            return refused
        for event in stored:
            group.rows.append(encode_row(event))
            if effect := effect_changed(event):
                group.effects.append(effect)
            group.stored.setdefault(event.conversation_id, []).append(event)
        return tuple(stored)

    def _cursor_of(self, connection: apsw.Connection) -> apsw.Cursor:
        """One cursor for all statements: making one takes as long as a small statement."""
        if self._cursor is None or self._cursor.connection is not connection:
            self._cursor = connection.cursor()
        return self._cursor

    def now(self) -> str:
        """The time, rendered once a millisecond."""
        moment = self._clock.now()
        if not self._rendered_from <= moment < self._rendered_from + _MILLISECOND:
            self._rendered_from = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
            self._rendered = timestamp(moment)
        return self._rendered

    def _last_seq(self, cursor: apsw.Cursor, conversation_id: str) -> int:
        found = self._last.get(conversation_id)
        if found is None:
            found = cursor.execute(self._sql["last_seq"], (conversation_id,)).get
        return found or 0

    # --- runs -----------------------------------------------------------------------------------------------------

    def _write_runs(self, cursor: apsw.Cursor, stored: Sequence[Event]) -> Refusal | None:
        written = False
        for event in stored:
            ask = ask_changed(event) if event.type in ABOUT_ASKS else None
            if made := run_made(event):
                refused = self._make_run(cursor, made)
            elif ask is not None and isinstance(ask, AskAnswered):
                refused = self._answer_ask(cursor, ask)
            elif change := run_changed(event):
                refused = self._change_run(cursor, change)
            else:
                continue
            if refused and written:
                raise refused
            if refused:
                return refused
            written = True
            if ask is not None and not isinstance(ask, AskAnswered):
                self._write_ask(cursor, ask)
        return None

    def _make_run(self, cursor: apsw.Cursor, made: RunMade) -> Refusal | None:
        if made.retry_of:
            query, origin = "insert_retry", made.retry_of
        else:
            query, origin = "insert_run", made.payload_digest
        row = (made.run_id, made.conversation_id, made.request_id, origin, made.first_seq, made.created_at)
        cursor.execute(self._sql[query], row)
        if cursor.connection.changes():
            return None
        # Read to its end: a statement left half-read keeps its moment of the log alive.
        (earlier,) = cursor.execute(self._sql["run_of_request"], (made.conversation_id, made.request_id)).fetchall()
        return DuplicateRequest(read_run(earlier))

    def _change_run(self, cursor: apsw.Cursor, change: RunChanged) -> Refusal | None:
        if change.takes_lease:
            row = (self._lease, change.recovered, change.run_id, self._lease)
            cursor.execute(self._sql["take_run"], row)
        else:
            usage = change.usage
            spent = (usage.prompt_tokens, usage.completion_tokens, usage.estimated, usage.cost)
            row = (change.state, *spent, change.run_id, self._lease, change.ends_resting)
            cursor.execute(self._sql["update_run"], row)
        return None if cursor.connection.changes() else Superseded()

    # --- asks -----------------------------------------------------------------------------------------------------

    def _answer_ask(self, cursor: apsw.Cursor, answered: AskAnswered) -> Refusal | None:
        cursor.execute(self._sql["answer_ask"], answered._asdict())
        if cursor.connection.changes():
            return None
        states = {state for (state,) in cursor.execute(self._sql["state_of_run"], (answered.run_id,)).fetchall()}
        return AlreadyAnswered() if states & ANSWERABLE else Superseded()

    def _write_ask(self, cursor: apsw.Cursor, ask: AskMade | AsksCancelled) -> None:
        """Write an ask whose run was written already: so a refusal is raised."""
        asking = self._runs_asking(cursor)
        if isinstance(ask, AskMade):
            cursor.execute(self._sql["make_ask"], ask)
            if not cursor.connection.changes():
                raise Superseded
            asking.add(ask.run_id)
        elif ask.run_id in asking:
            cursor.execute(self._sql["cancel_asks"], ask._asdict())
            if ask.call_id is None:
                asking.discard(ask.run_id)

    def _runs_asking(self, cursor: apsw.Cursor) -> set[str]:
        """The runs that may have asks pending: most have none, and need no statement to cancel them."""
        if self._asking is None:
            self._asking = {str(run_id) for (run_id,) in cursor.execute(self._sql["runs_asking"]).fetchall()}
        return self._asking

    # --- effects and conversations --------------------------------------------------------------------------------

    def _write_effect(self, cursor: apsw.Cursor, effect: EffectIntended | EffectEnded) -> None:
        if isinstance(effect, EffectIntended):
            cursor.execute(self._sql["intend_effect"], effect)
        else:
            row = (effect.state, effect.result, effect.run_id, effect.turn, effect.call_id)
            cursor.execute(self._sql["end_effect"], row)

    def _write_conversation(self, cursor: apsw.Cursor, change: ConversationChanged) -> None:
        state = change.state
        if change.recount:
            unfinished = cursor.execute(self._sql["states_of_unfinished"], (change.conversation_id,))
            state = conversation_state(RunState(name) for (name,) in unfinished)
        usage = change.usage
        spent = (change.tokens, usage.prompt_tokens, usage.completion_tokens, usage.estimated, usage.cost)
        title = change.title or ""
        if change.first_seq > 1:
            row = (change.last_seq, *spent, state, title, change.system_prompt, change.conversation_id)
            if change.used_at:
                cursor.execute(self._sql["use_conversation"], (change.used_at, *row))
            else:
                cursor.execute(self._sql["update_conversation"], row)
        else:
            kind, surface, memory_limit, metadata = opened_with(change)
            about = (change.conversation_id, title, kind, surface, state or "idle", memory_limit, change.system_prompt)
            place = (change.first_seq, change.last_seq, *spent, change.at, change.at)
            cursor.execute(self._sql["insert_conversation"], (*about, json.dumps(metadata), *place))
        for edit in change.edits:
            self._edit_conversation(cursor, change.conversation_id, edit)

    def _edit_conversation(self, cursor: apsw.Cursor, conversation_id: str, edit: Mapping[str, Any]) -> None:
        """Change what stands in a conversation's row; what ``edit`` does not name stays."""
        row = {name: edit.get(name) for name in EDITABLE}
        for name in ("metadata", "services", "allowed"):
            row[name] = None if row[name] is None else json.dumps(row[name], ensure_ascii=False)
        named = {f"has_{name}": name in edit for name in ("memory_limit", "services")}
        cursor.execute(self._sql["edit_conversation"], {"id": conversation_id, **row, **named})
