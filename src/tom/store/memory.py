"""Conversations in this process's memory: the twin of `sqlite.py`, for tests and for ``repository.enabled: false``.

It keeps the same promises but the one about the disk.
"""

import secrets
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tom.clock import Clock, SystemClock, timestamp
from tom.conversation.event import Event, EventType
from tom.conversation.run import RunState
from tom.conversation.upkeep import history_retired
from tom.conversation.usage import NOTHING
from tom.errors import AlreadyAnswered, StorageUnavailable, Superseded
from tom.ids import ulid
from tom.store.asked import (
    ANSWERABLE,
    APPROVAL,
    CANCELLED,
    PENDING,
    AskAnswered,
    AskMade,
    AsksCancelled,
    ask_changed,
)
from tom.store.eventstore import ConversationRow, DayUsage, DuplicateRequest, Publish, RunFilter, RunRow
from tom.store.intake import renamed, runs_of
from tom.store.memorycopies import MemoryCopies
from tom.store.memoryqueue import MemoryOutbox, MemoryQueue
from tom.store.outbox import MirrorRules
from tom.store.projection import (
    UPKEEP,
    ConversationChanged,
    RunChanged,
    RunMade,
    conversation_changed,
    conversation_state,
    opened_with,
    run_changed,
    run_made,
    title_of,
)
from tom.store.searching import sought

_SAID = frozenset({EventType.MESSAGE_RECEIVED, EventType.MODEL_REPLIED})

type _Asks = MutableMapping[str, tuple[AskMade, str]]
"""By id: how each was asked, and its state."""


@dataclass(slots=True)
class _Conversation:
    row: ConversationRow
    events: list[Event] = field(default_factory=list[Event])
    instructions: list[Event] = field(default_factory=list[Event])
    """Those from before the first event."""

    def texts(self) -> Iterator[str]:
        """What is searched through: the title and the messages."""
        yield self.row.title
        yield from (event.content or "" for event in self.events if event.type in _SAID)


class MemoryEventStore(MemoryOutbox):
    """An `EventStore` and `Ledger` that is gone when the process is. ``boot_epoch`` stands for the number of an opening."""

    durable = False

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        boot_epoch: int = 1,
        mirror: MirrorRules | None = None,
        shared: bool = False,
    ) -> None:
        """Begin empty; ``mirror``: what an archive is told, None: there is none. ``shared``: as `SqliteEventStore.open`."""
        self._clock = clock or SystemClock()
        self._lease = boot_epoch
        self._epoch = secrets.token_hex(16)
        self._conversations: dict[str, _Conversation] = {}
        self._runs: dict[str, RunRow] = {}
        self._requests: dict[tuple[str, str], str] = {}
        self._asks: dict[str, tuple[AskMade, str]] = {}
        self._days: dict[str, DayUsage] = {}
        self._closed = False
        self._tells(MemoryQueue(mirror, events_of=self._events_of, runs=self._runs))
        self._copies = MemoryCopies(shared=shared)

    def reopen(self) -> "MemoryEventStore":
        """The same conversations as the next opening would find them after this one ended, however it ended.

        A worker that still writes through this one is superseded as soon as the next has taken its run.
        """
        following = MemoryEventStore(self._clock, boot_epoch=self._lease + 1)
        following._epoch = self._epoch
        following._conversations = self._conversations
        following._runs = self._runs
        following._requests = self._requests
        following._asks = self._asks
        following._days = self._days
        following._tells(self._queue)
        following._copies = self._copies
        return following

    @property
    def epoch(self) -> str:
        """Random: nothing of another process is in here."""
        return self._epoch

    @property
    def lost(self) -> bool:
        """Whether nothing can be written at the moment."""
        return False

    @property
    def lease(self) -> int:
        """The number of this opening."""
        return self._lease

    async def append(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Store the events, all or none; see the seam."""
        self._check_open()
        stored = self._numbered(events)
        runs = ChainMap[str, RunRow]({}, self._runs)
        requests = ChainMap[tuple[str, str], str]({}, self._requests)
        asks = ChainMap[str, tuple[AskMade, str]]({}, self._asks)
        for event in stored:
            ask = ask_changed(event)
            if made := run_made(event):
                _make_run(runs, requests, made)
            elif isinstance(ask, AskAnswered):
                _answer_ask(runs, asks, ask)
            elif change := run_changed(event):
                self._change_run(runs, change)
                _write_ask(asks, ask)
        self._runs |= runs.maps[0]
        self._requests |= requests.maps[0]
        self._asks |= asks.maps[0]
        groups: dict[str, list[Event]] = {}
        for event in stored:
            groups.setdefault(event.conversation_id, []).append(event)
        for group in groups.values():
            self._extend(conversation_changed(group), group)
            self._queue.add(group, self._now())
        self._queued.set()
        return stored

    async def take_in(self, conversation: ConversationRow, events: Sequence[Event]) -> bool:
        """Store a conversation that was written out elsewhere; see `Intake`."""
        self._check_open()
        if conversation.id in self._conversations:
            return False
        stored = renamed(events)
        before = [event for event in stored if event.seq < conversation.first_seq]
        self._conversations[conversation.id] = _Conversation(conversation, list(stored[len(before) :]), before)
        for run in runs_of(stored):
            self._runs[run.id] = run
            self._requests[run.conversation_id, run.request_id] = run.id
        self._copies.restored(conversation.id)
        self._queue.add(stored, self._now())
        self._queued.set()
        return True

    async def read(self, conversation_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """The events after seq ``after``, oldest first."""
        self._check_open()
        events = self._events(conversation_id)
        start = max(after - events[0].seq + 1, 0) if events else 0
        return tuple(events[start : start + limit])

    async def tail(self, conversation_id: str, *, tokens: int, limit: int = 2000) -> tuple[Event, ...]:
        """The newest events: backwards, to the one with which their token counts exceed ``tokens``."""
        self._check_open()
        newest: list[Event] = []
        for event in reversed(self._events(conversation_id)):
            if len(newest) == limit or tokens < 0:
                break
            newest.append(event)
            tokens -= event.token_count
        return (*self._in_front(newest), *reversed(newest))

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
        self._check_open()
        before_time, _, before_id = (before or "~").partition("/")
        wanted = sought(matching) if ids is None else None
        rows = [
            conversation.row
            for conversation in self._conversations.values()
            if (ids is None or conversation.row.id in ids)
            and (surface is None or conversation.row.surface == surface)
            and (kind is None or conversation.row.kind == kind)
            and (conversation.row.updated_at, conversation.row.id) < (before_time, before_id)
            and (wanted is None or any(map(wanted.found_in, conversation.texts())))
        ]
        rows.sort(key=lambda row: (row.updated_at, row.id), reverse=True)
        return tuple(rows[:limit])

    async def runs(self, which: RunFilter, *, limit: int = 1000) -> tuple[RunRow, ...]:
        """Runs that match, oldest first."""
        self._check_open()
        asked = None if which.asked is None else self._asks.get(which.asked)
        if which.asked is not None and asked is None:
            return ()
        rows = [row for row in self._runs.values() if _matches(row, which) and (not asked or asked[0].run_id == row.id)]
        return tuple(rows[:limit])

    async def spent(self, *, since: str, until: str | None = None) -> tuple[DayUsage, ...]:
        """What was used on each day; see `Ledger`."""
        self._check_open()
        return tuple(self._days[day] for day in sorted(self._days) if since <= day <= (until or "~"))

    async def erase(self, conversation_id: str, *, before: int | None = None, publish: Publish | None = None) -> bool:
        """Remove a conversation, or its oldest part; see the seam."""
        self._check_open()
        if before is None:
            self._erase_runs(conversation_id, None)
            gone = self._conversations.pop(conversation_id, None)
            if gone is not None:
                self._copies.note(gone.row, erased=True)
                self._queue.erased(conversation_id, self._now())
                self._queued.set()
            return gone is not None
        conversation = self._conversations.get(conversation_id)
        if conversation is None:
            return False
        cut = min(before, conversation.row.last_seq + 1)
        before_cut = [event for event in conversation.events if event.seq < cut]
        kept = [event for event in before_cut if event.type == EventType.PROMPT_SET]
        if len(kept) == len(before_cut) or self._needed_from(conversation) < before:
            return False
        if not self._queue.before_cut(conversation_id, cut):
            return False
        self._erase_runs(conversation_id, cut)
        del conversation.events[: len(before_cut)]
        conversation.instructions += kept
        tokens = conversation.row.tokens - sum(event.token_count for event in before_cut)
        row = conversation.row
        left = (event for event in conversation.events if event.type == EventType.MESSAGE_RECEIVED)
        first = next((event.content for event in left if event.role == "user"), None)
        title = title_of(first or "") if row.title_by == "message" else row.title
        conversation.row = replace(row, first_seq=cut, tokens=tokens, title=title)
        self._queue.after_cut(conversation_id, cut, self._now())
        self._copies.note(row, erased=False)
        retired = history_retired(conversation_id, first_seq=cut, events=len(before_cut) - len(kept))
        for event in await self.append([retired]):
            if publish is not None:
                publish(event)
        return True

    async def close(self) -> None:
        """Answer nothing any more."""
        self._closed = True

    # --- inside ---------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("The database is closed.")

    def _events(self, conversation_id: str) -> list[Event]:
        conversation = self._conversations.get(conversation_id)
        return conversation.events if conversation else []

    def _rows(self) -> Sequence[ConversationRow]:
        return [conversation.row for conversation in self._conversations.values()]

    def _events_of(self, conversation_id: str) -> Sequence[Event]:
        """With the instructions from before the first one."""
        conversation = self._conversations.get(conversation_id)
        return [*conversation.instructions, *conversation.events] if conversation else []

    def _numbered(self, events: Sequence[Event]) -> tuple[Event, ...]:
        now = timestamp(self._clock.now())
        last: dict[str, int] = {}
        stored: list[Event] = []
        for event in events:
            conversation = self._conversations.get(event.conversation_id)
            before = last.get(event.conversation_id) or (conversation.row.last_seq if conversation else 0)
            if not before and event.type in UPKEEP:
                raise Superseded
            last[event.conversation_id] = before + 1
            stored.append(event.stored(event_id=ulid(), seq=before + 1, timestamp=now))
        return tuple(stored)

    def _in_front(self, newest: list[Event]) -> tuple[Event, ...]:
        """The conversation's instructions and its newest summary that stand before ``newest``, which is newest first."""
        if not newest:
            return ()
        conversation = self._conversations[newest[0].conversation_id]
        summaries = [event for event in conversation.events if event.type == EventType.HISTORY_COMPACTED][-1:]
        instructions = [event for event in conversation.events if event.type == EventType.PROMPT_SET]
        found = (event for event in (*instructions, *summaries) if event.seq < newest[-1].seq)
        return (*conversation.instructions, *sorted(found, key=lambda event: event.seq))

    def _needed_from(self, conversation: _Conversation) -> float:
        """The seq of the oldest event that an unfinished run needs: its own first, or that of the one it repeats."""
        mine = (run for run in self._runs.values() if run.conversation_id == conversation.row.id)
        needed = [run for run in mine if not run.state.ended]
        for run in needed:  # grows while it is looked at
            beginning = conversation.events[run.first_seq - conversation.events[0].seq]
            origin = self._runs.get(beginning.extra.get("retry_of", ""))
            if origin is not None and origin.conversation_id == run.conversation_id:
                needed.append(origin)
        return min((run.first_seq for run in needed), default=float("inf"))

    def _erase_runs(self, conversation_id: str, before: int | None) -> None:
        """Forget the runs of a conversation that began before that seq, and what they asked."""
        for key, run_id in list(self._requests.items()):
            if key[0] == conversation_id and (before is None or self._runs[run_id].first_seq < before):
                del self._requests[key], self._runs[run_id]
                for ask_id in [ask_id for ask_id, (made, _) in self._asks.items() if made.run_id == run_id]:
                    del self._asks[ask_id]

    def _change_run(self, runs: MutableMapping[str, RunRow], change: RunChanged) -> None:
        row = runs.get(change.run_id)
        if row is None or not change.allowed(row.state, row.lease, self._lease):
            raise Superseded
        runs[change.run_id] = replace(
            row,
            state=change.state or row.state,
            lease=self._lease if change.takes_lease else row.lease,
            usage=row.usage + change.usage,
        )

    def _extend(self, change: ConversationChanged, events: list[Event]) -> None:
        conversation = self._conversations.get(change.conversation_id)
        if conversation is None:
            conversation = self._conversations[change.conversation_id] = _Conversation(_begun(change))
        conversation.events += events
        row = conversation.row
        state = change.state or row.state
        if change.recount:
            runs = (run for run in self._runs.values() if run.conversation_id == row.id)
            state = conversation_state(run.state for run in runs)
        conversation.row = replace(
            row,
            title=row.title or change.title or "",
            state=state,
            last_seq=change.last_seq,
            usage=row.usage + change.usage,
            updated_at=change.used_at or row.updated_at,
            tokens=row.tokens + change.tokens,
            system_prompt=row.system_prompt if change.system_prompt is None else change.system_prompt,
        )
        for edit in change.edits:
            conversation.row = _edited(conversation.row, edit)
        if change.runs or change.usage != NOTHING:
            day = change.at[:10]
            so_far = self._days.get(day, DayUsage(day, NOTHING, 0))
            self._days[day] = DayUsage(day, so_far.usage + change.usage, so_far.runs + change.runs)


def _make_run(runs: MutableMapping[str, RunRow], requests: MutableMapping[tuple[str, str], str], made: RunMade) -> None:
    key = (made.conversation_id, made.request_id)
    if key in requests:
        raise DuplicateRequest(runs[requests[key]])
    payload_digest = made.payload_digest
    if made.retry_of:
        origin = runs.get(made.retry_of)
        payload_digest = origin.payload_digest if origin and origin.conversation_id == made.conversation_id else ""
    place = (made.first_seq, made.created_at)
    runs[made.run_id] = RunRow(made.run_id, *key, payload_digest, RunState.QUEUED, 0, *place)
    requests[key] = made.run_id


def _answer_ask(runs: Mapping[str, RunRow], asks: _Asks, answered: AskAnswered) -> None:
    run = runs.get(answered.run_id)
    if run is None or run.state not in ANSWERABLE:
        raise Superseded
    made, state = asks.get(answered.ask_id, (None, ""))
    if made is None or made.run_id != answered.run_id or state != PENDING:
        raise AlreadyAnswered
    asks[answered.ask_id] = (made, answered.state)


def _write_ask(asks: _Asks, ask: AskMade | AsksCancelled | None) -> None:
    if isinstance(ask, AskMade):
        place = (ask.run_id, ask.turn, ask.call_id)
        taken = (made for made, _ in asks.values() if made.kind == APPROVAL == ask.kind)
        if ask.ask_id in asks or any((made.run_id, made.turn, made.call_id) == place for made in taken):
            raise Superseded
        asks[ask.ask_id] = (ask, PENDING)
    elif isinstance(ask, AsksCancelled):
        for ask_id, (made, state) in list(asks.items()):
            if made.run_id == ask.run_id and ask.call_id in {None, made.call_id} and state == PENDING:
                asks[ask_id] = (made, CANCELLED)


def _edited(row: ConversationRow, edit: Mapping[str, Any]) -> ConversationRow:
    """The row after an edit; what it does not name stays."""
    changes = {name: edit[name] for name in ("memory_limit", "pinned", "metadata") if name in edit}
    if "services" in edit:
        changes["services"] = None if edit["services"] is None else tuple(edit["services"])
    by = edit.get("title_by", "person")
    if "title" in edit and not (by == "model" and row.title_by == "person"):
        changes |= {"title": edit["title"], "title_by": by}
    allowed = {**row.allowed, **edit.get("allowed", {})}
    return replace(row, **changes, allowed={name: pin for name, pin in allowed.items() if pin is not None})


def _begun(change: ConversationChanged) -> ConversationRow:
    kind, surface, memory_limit, metadata = opened_with(change)
    times = (change.at, change.at)
    return ConversationRow(
        change.conversation_id, "", kind, surface, "idle", memory_limit, metadata, 1, 0, NOTHING, *times
    )


def _matches(row: RunRow, which: RunFilter) -> bool:
    return (
        which.run_id in {None, row.id}
        and which.conversation_id in {None, row.conversation_id}
        and which.request_id in {None, row.request_id}
        and (which.since is None or row.created_at >= which.since)
        and (not which.states or row.state in which.states)
    )
