"""Appending in SQLite: what runs in the writer's thread, inside its transaction.

What is refused before anything was written is returned and not raised: raising would roll back the group of other
people's writes that this one shares a transaction with. Where something was written already, raising is right.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import apsw

from tom.clock import Clock, timestamp
from tom.conversation.codec import encode_row
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.errors import Superseded
from tom.ids import ulid
from tom.store.eventstore import DuplicateRequest
from tom.store.projection import (
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
from tom.store.rows import read_run

REMEMBERED = 4096
"""Conversations whose last seq is kept in memory."""

type Refusal = DuplicateRequest | Superseded


class Appender:
    """Numbers events and writes them with the rows that follow from them. Used by one thread."""

    def __init__(self, sql: Mapping[str, str], clock: Clock, lease: int) -> None:
        """``sql``: the store's statements; ``lease``: the number of this opening."""
        self._sql = sql
        self._clock = clock
        self._lease = lease
        self._last: OrderedDict[str, int] = OrderedDict()

    def forget(self) -> None:
        """Rely on nothing remembered: a transaction was rolled back, or a conversation erased."""
        self._last.clear()

    def append(self, connection: apsw.Connection, events: Sequence[Event]) -> tuple[Event, ...] | Refusal:
        """Store the events; returns them as stored, or why they are refused."""
        last = {event.conversation_id: 0 for event in events}
        for conversation_id in last:
            last[conversation_id] = self._last_seq(connection, conversation_id)
        known = frozenset(conversation_id for conversation_id, seq in last.items() if seq)
        now = timestamp(self._clock.now())
        stored: list[Event] = []
        for event in events:
            seq = last[event.conversation_id] = last[event.conversation_id] + 1
            stored.append(event.stored(event_id=ulid(), seq=seq, timestamp=now))
        if refused := self._write_runs(connection, stored):
            return refused
        for event in stored:
            connection.execute(self._sql["insert_event"], encode_row(event))
            self._write_effect(connection, event)
        for conversation_id in last:
            change = conversation_changed([event for event in stored if event.conversation_id == conversation_id])
            self._write_conversation(connection, change, known=conversation_id in known)
        self._remember(last)
        return tuple(stored)

    def _last_seq(self, connection: apsw.Connection, conversation_id: str) -> int:
        found = self._last.get(conversation_id)
        if found is None:
            found = connection.execute(self._sql["last_seq"], (conversation_id,)).get
        return found or 0

    def _remember(self, last: Mapping[str, int]) -> None:
        for conversation_id, seq in last.items():
            self._last[conversation_id] = seq
            self._last.move_to_end(conversation_id)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    # --- runs -----------------------------------------------------------------------------------------------------

    def _write_runs(self, connection: apsw.Connection, stored: Sequence[Event]) -> Refusal | None:
        written = False
        for event in stored:
            if made := run_made(event):
                refused = self._make_run(connection, made)
            elif change := run_changed(event):
                refused = self._change_run(connection, change)
            else:
                continue
            if refused and written:
                raise refused
            if refused:
                return refused
            written = True
        return None

    def _make_run(self, connection: apsw.Connection, made: RunMade) -> Refusal | None:
        if made.retry_of:
            query, origin = "insert_retry", made.retry_of
        else:
            query, origin = "insert_run", made.payload_digest
        row = (made.run_id, made.conversation_id, made.request_id, origin, made.first_seq, made.created_at)
        connection.execute(self._sql[query], row)
        if connection.changes():
            return None
        earlier = connection.execute(self._sql["run_of_request"], (made.conversation_id, made.request_id))
        return DuplicateRequest(read_run(next(earlier)))

    def _change_run(self, connection: apsw.Connection, change: RunChanged) -> Refusal | None:
        if change.takes_lease:
            row = (self._lease, change.recovered, change.run_id, self._lease)
            connection.execute(self._sql["take_run"], row)
        else:
            usage = change.usage
            spent = (usage.prompt_tokens, usage.completion_tokens, usage.estimated)
            row = (change.state, *spent, change.run_id, self._lease, change.ends_queued)
            connection.execute(self._sql["update_run"], row)
        return None if connection.changes() else Superseded()

    # --- effects and conversations --------------------------------------------------------------------------------

    def _write_effect(self, connection: apsw.Connection, event: Event) -> None:
        match effect_changed(event):
            case EffectIntended() as effect:
                row = (
                    effect.run_id,
                    effect.turn,
                    effect.call_id,
                    effect.service,
                    effect.tool,
                    effect.digest,
                    effect.key,
                )
                connection.execute(self._sql["intend_effect"], (*row, effect.tool_class))
            case EffectEnded() as effect:
                row = (effect.state, effect.result, effect.run_id, effect.turn, effect.call_id)
                connection.execute(self._sql["end_effect"], row)
            case None:
                pass

    def _write_conversation(self, connection: apsw.Connection, change: ConversationChanged, *, known: bool) -> None:
        state = change.state
        if change.recount:
            unfinished = connection.execute(self._sql["states_of_unfinished"], (change.conversation_id,))
            state = conversation_state(RunState(name) for (name,) in unfinished)
        spent = (change.tokens, change.usage.prompt_tokens, change.usage.completion_tokens, change.usage.estimated)
        title = change.title or ""
        if known:
            row = (change.last_seq, *spent, state, title, change.system_prompt, change.conversation_id)
            connection.execute(self._sql["update_conversation"], row)
            if change.used_at:
                connection.execute(self._sql["use_conversation"], (change.used_at, change.conversation_id))
        else:
            kind, surface, memory_limit, metadata = opened_with(change)
            about = (change.conversation_id, title, kind, surface, state or "idle", memory_limit, change.system_prompt)
            place = (change.first_seq, change.last_seq, *spent, change.at, change.at)
            connection.execute(self._sql["insert_conversation"], (*about, json.dumps(metadata), *place))
