"""Accepting messages: stored with fsync before anyone is told, one run per request id, in order.

A door calls `accept` and gets, without yielding to the event loop in between, the run that answers: so it can attach
itself to the run before its first word.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

from tom import ids
from tom.agent.beginning import beginning_of, received, row_of
from tom.agent.elsewhere import Elsewhere, ErasedElsewhere, placed
from tom.agent.enclosing import Enclosing, Enclosure, Fetched
from tom.agent.feed import Feed, Stored
from tom.agent.files import Files
from tom.agent.learning import UPKEEP, upkeep_id
from tom.agent.places import PendingRun
from tom.agent.prompt import Circumstances
from tom.agent.scheduler import Scheduler
from tom.agent.submission import Submission
from tom.agent.transcript import Origin, request_of
from tom.clock import Clock, timestamp
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.conversation.upkeep import conversation_changed
from tom.errors import (
    ConversationBusy,
    ConversationNotFound,
    QueueFull,
    RequestIdReused,
    RunNotFound,
    RunNotRetryable,
    SessionElsewhere,
    ShuttingDown,
    Superseded,
)
from tom.store.eventstore import ConversationRow, DuplicateRequest, EventStore, RunFilter, RunRow
from tom.telemetry import logs

log = logs.get("history")

REPEATED_WITHIN = timedelta(minutes=10)
"""So long the same id and payload without a conversation is taken as a repetition."""

REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message is stored and will be answered. ``queued`` runs are ahead; ``repeated``: it had been sent before."""

    run: RunRow
    queued: int
    repeated: bool = False


class Conversations:
    """The conversations of one person."""

    def __init__(
        self,
        store: EventStore,
        scheduler: Scheduler,
        feed: Feed,
        clock: Clock,
        files: Files,
        enclosing: Enclosing,
        *,
        max_queue: int,
        durable: bool,
        initial_prompt: str = "",
        new_id: Callable[[], str] = ids.ulid,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Accept into ``store``, and what comes with messages into ``files``; at most ``max_queue`` runs wait.

        ``new_id`` names the conversations that are opened; where their names are all that a visitor holds, `ids.capability`.
        ``initial_prompt`` is set in every conversation that is opened (`INITIAL_SYSTEM_PROMPT`). ``elsewhere`` knows of
        other processes that may have the same ones.
        """
        self.store = store
        self.scheduler = scheduler
        self.feed = feed
        self.durable = durable
        self._clock = clock
        self._files = files
        self._enclosing = enclosing
        self._max_queue = max_queue
        self._initial_prompt = initial_prompt
        self.new_id = new_id
        self._elsewhere = elsewhere
        self._known: OrderedDict[str, None] = OrderedDict()
        self._new: set[str] = set()
        self._turnstiles: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- accepting ---------------------------------------------------------------------------------------------

    async def accept(self, message: Submission) -> Accepted:
        """Store the message and give its run a place.

        Raises `RequestIdReused`, `ConversationBusy`, `QueueFull`, `ShuttingDown`, a storage error, or what
        `Enclosing` raises for what comes with the message; then nothing was stored.
        """
        if message.conversation_id is not None:
            return await self._accept_in(message, message.conversation_id)
        async with self._turnstile("request", message.request_id):
            conversation_id = await self._where_repeated(message)
            if conversation_id is None:
                conversation_id = self.new_id()
                self._new.add(conversation_id)
            return await self._accept_in(message, conversation_id)

    async def _accept_in(self, message: Submission, conversation_id: str) -> Accepted:
        try:
            fetched = await self._fetch(message, conversation_id)  # nobody else waits for a service that is slow
            async with self._turnstile("conversation", conversation_id):
                await self._claim(conversation_id)
                stored = await self._store_message(message, conversation_id, fetched)
                row = row_of(stored[-1], message.digest)
                origin = Origin(message.around, stored[-1], *beginning_of(stored))
                queued = self.scheduler.enqueue(PendingRun(row, origin))
        except DuplicateRequest as duplicate:
            return self._repeated(message, duplicate.run)
        return Accepted(row, queued)

    async def _store_message(
        self, message: Submission, conversation_id: str, fetched: Fetched | None
    ) -> tuple[Event, ...]:
        await self._check_room(message, conversation_id)
        if fetched is None:
            enclosure = Enclosure(message.text, options=message.chosen)
        else:
            enclosure = await self._enclosing.keep(conversation_id, fetched)
        opening = await self._opening(conversation_id, message)
        told = [happened.prompt_set(conversation_id, text) for text in message.instructions]
        began = placed(received(conversation_id, message, enclosure), self._elsewhere)
        return await self._append(*opening, *told, began)

    async def _fetch(self, message: Submission, conversation_id: str) -> Fetched | None:
        """Fetch what comes with a message, unless there is no room for it or it is a repetition (`DuplicateRequest`)."""
        if not self._enclosing.wanted(message):
            return None
        await self._check_room(message, conversation_id)
        earlier = await self._earlier(message, conversation_id)
        if earlier:
            raise DuplicateRequest(earlier[0])
        return await self._enclosing.fetch(message)

    async def _earlier(self, message: Submission, conversation_id: str) -> tuple[RunRow, ...]:
        which = RunFilter(conversation_id=conversation_id, request_id=message.request_id)
        return await self.store.runs(which, limit=1)

    async def _check_room(self, message: Submission, conversation_id: str) -> None:
        """Refuse what cannot be taken now, unless it is a repetition of what was taken already."""
        ahead = self.scheduler.ahead(conversation_id)
        refused: Exception | None = None
        if self.scheduler.draining:
            refused = ShuttingDown()
        elif ahead and message.if_busy == "reject":
            refused = ConversationBusy()
        elif ahead > self._max_queue:
            refused = QueueFull()
        if refused is None:
            return
        earlier = await self._earlier(message, conversation_id)
        raise DuplicateRequest(earlier[0]) if earlier else refused

    def _repeated(self, message: Submission, run: RunRow) -> Accepted:
        if run.payload_digest != message.digest:
            raise RequestIdReused
        return Accepted(run, 0, repeated=True)

    async def _where_repeated(self, message: Submission) -> str | None:
        """The conversation of the same id and payload within the last ten minutes.

        Raises `RequestIdReused` when the id came with another payload in a conversation like the one it would open.
        """
        since = timestamp(self._clock.now() - REPEATED_WITHIN)
        runs = await self.store.runs(RunFilter(request_id=message.request_id, since=since))
        for run in runs:
            if run.payload_digest == message.digest:
                return run.conversation_id
        rows = await self.store.conversations(ids=[run.conversation_id for run in runs]) if runs else ()
        if any((row.surface, row.kind) == (message.surface, message.kind) for row in rows):
            raise RequestIdReused
        return None

    async def interrupt(self, accepted: Accepted) -> None:
        """Cancel the run that is active before the accepted one."""
        conversation_id = accepted.run.conversation_id
        active = self.scheduler.active_run(conversation_id)
        if active is not None and active != accepted.run.id:
            await self.scheduler.stop(conversation_id, active)

    # --- opening, retrying, stopping ---------------------------------------------------------------------------

    async def open(
        self,
        surface: str,
        metadata: dict[str, object] | None = None,
        *,
        kind: str = "chat",
        memory_limit: int | None = None,
    ) -> str:
        """Open an empty conversation; returns its id. ``memory_limit`` bounds the messages of its windows."""
        if self.scheduler.draining:
            raise ShuttingDown
        conversation_id = upkeep_id() if surface == UPKEEP else self.new_id()
        opened = happened.conversation_opened(
            conversation_id,
            surface=surface,
            metadata=metadata,
            kind=UPKEEP if surface == UPKEEP else kind,  # no list shows it
            memory_limit=memory_limit,
        )
        initial = () if surface == UPKEEP else self._initial(conversation_id)
        await self._append(opened, *initial)
        return conversation_id

    def _initial(self, conversation_id: str) -> tuple[Event, ...]:
        return (happened.prompt_set(conversation_id, self._initial_prompt),) if self._initial_prompt else ()

    async def retry(
        self,
        conversation_id: str,
        run_id: str,
        request_id: str,
        around: Circumstances,
        *,
        check: Callable[[Event], None] | None = None,
    ) -> Accepted:
        """Answer the message of a failed or cancelled run again, by a new run. ``check`` looks at the message first.

        Raises what ``check`` raises, `ConversationNotFound`, `RunNotFound`, `RunNotRetryable`, `RequestIdReused`, `ShuttingDown`.
        """
        if self.scheduler.draining:
            raise ShuttingDown
        await self.get(conversation_id)
        async with self._turnstile("conversation", conversation_id):
            if self.scheduler.ahead(conversation_id) > self._max_queue:
                raise QueueFull
            await self._claim(conversation_id)
            rows = await self.store.runs(RunFilter(run_id=run_id, conversation_id=conversation_id))
            if not rows:
                raise RunNotFound
            if rows[0].state not in {RunState.FAILED, RunState.CANCELLED}:
                raise RunNotRetryable
            if check is not None:
                check(await request_of(self.store, rows[0]))
            again = happened.run_retried(conversation_id, run_id=ids.ulid(), retry_of=run_id, request_id=request_id)
            try:
                (stored,) = await self._append(placed(again, self._elsewhere))
            except DuplicateRequest as duplicate:
                if duplicate.run.payload_digest != rows[0].payload_digest:
                    raise RequestIdReused from None
                return Accepted(duplicate.run, 0, repeated=True)
            row = row_of(stored, rows[0].payload_digest)
            return Accepted(row, self.scheduler.enqueue(PendingRun(row, Origin(around))))

    async def stop(self, conversation_id: str, run_id: str | None = None, *, queued: bool = False) -> str | None:
        """Stop the active run. Raises `ConversationNotFound`."""
        await self.get(conversation_id)
        return await self.scheduler.stop(conversation_id, run_id, queued=queued)

    async def change(self, conversation_id: str, change: Mapping[str, Any]) -> None:
        """Change what is known about a conversation (`upkeep.conversation_changed`). Raises `ConversationNotFound`."""
        try:
            await self._append(conversation_changed(conversation_id, change))
        except Superseded:  # there is none, or not any more
            raise ConversationNotFound from None

    async def erase(self, conversation_id: str, *, only_if: Callable[[ConversationRow], bool] | None = None) -> bool:
        """Remove a conversation for good, its runs cancelled first. Raises `ConversationNotFound`.

        With ``only_if`` only when that still holds once nothing can be accepted in between; False when it does not.
        """
        async with self._turnstile("conversation", conversation_id):  # nothing is accepted in between
            if only_if is not None and not only_if(await self._find(conversation_id)):
                return False
            await self._claim(conversation_id)
            await self._find(conversation_id)
            await self._erase(conversation_id)
        return True

    async def _erase(self, conversation_id: str) -> None:
        await self.scheduler.stop(conversation_id, queued=True)
        # The files first: while the conversation is there, erasing it can be asked for again.
        await self._files.erase(conversation_id)
        await self.store.erase(conversation_id)
        self.scheduler.forget(conversation_id)
        self._known.pop(conversation_id, None)
        if self._elsewhere is not None:
            self._elsewhere.forget(conversation_id)
        self.feed.erased(conversation_id)

    async def drop_files(self, conversation_id: str) -> None:
        """Remove the files that no event names any more, now that the oldest were erased.

        While a run goes on nothing is removed: it may have kept a picture that its event is about to name.
        """
        if not self._files.has_any(conversation_id):
            return
        async with self._turnstile("conversation", conversation_id):  # nothing is accepted in between
            if self.scheduler.ahead(conversation_id):
                return
            named: set[str] = set()
            after = 0
            while events := await self.store.read(conversation_id, after=after, limit=1000):
                named.update(kept["file"] for event in events for kept in event.extra.get("attachments", ()))
                after = events[-1].seq
            await self._files.retain(conversation_id, named)

    # --- reading -----------------------------------------------------------------------------------------------

    async def get(self, conversation_id: str) -> ConversationRow:
        """One conversation; one that is known elsewhere only is taken over, one that was erased there is erased here.

        Raises `ConversationNotFound`.
        """
        row = await self._find(conversation_id)
        if self._elsewhere is not None and await self._elsewhere.gone(row):
            with contextlib.suppress(SessionElsewhere):
                await self.reconcile(conversation_id)
            raise ConversationNotFound
        return row

    async def _find(self, conversation_id: str) -> ConversationRow:
        rows = await self.store.conversations(ids=[conversation_id])
        if not rows and self._elsewhere is not None:
            rows = await self._adopt(conversation_id, self._elsewhere)
        if not rows:
            raise ConversationNotFound
        return rows[0]

    async def _adopt(self, conversation_id: str, elsewhere: Elsewhere) -> tuple[ConversationRow, ...]:
        async with self._turnstile("adoption", conversation_id):  # two at once would open it twice
            rows = await self.store.conversations(ids=[conversation_id])
            if not rows and (events := await elsewhere.adopt(conversation_id)):
                await self._append(*events)
                rows = await self.store.conversations(ids=[conversation_id])
            return rows

    async def _claim(self, conversation_id: str, *, briefly: bool = False) -> None:
        """Be the process that runs the conversation, having what was said of it elsewhere.

        Raises `SessionElsewhere`, `ConversationNotFound` when it was erased there.
        """
        if self._elsewhere is None:
            return
        try:
            events = await self._elsewhere.claim(conversation_id, briefly=briefly)
        except ErasedElsewhere:
            log.info("🗑️ Erased elsewhere", event="session_erased_elsewhere", conversation_id=conversation_id)
            await self._erase(conversation_id)
            raise ConversationNotFound from None
        if events:
            await self._append(*events)

    async def reconcile(self, conversation_id: str) -> None:
        """See `elsewhere.Here.reconcile`."""
        with contextlib.suppress(ConversationNotFound):
            async with self._turnstile("conversation", conversation_id):
                await self._claim(conversation_id, briefly=True)

    async def give_up(self, conversation_id: str) -> None:
        """See `elsewhere.Here.give_up`."""
        await self.scheduler.stop(conversation_id, queued=True)

    async def run(self, run_id: str) -> RunRow:
        """One run. Raises `RunNotFound`."""
        rows = await self.store.runs(RunFilter(run_id=run_id))
        if not rows:
            raise RunNotFound
        return rows[0]

    async def events_of(self, run: RunRow) -> tuple[Event, ...]:
        """All events of one run so far, in order."""
        found: list[Event] = []
        after = run.first_seq - 1
        while events := await self.store.read(run.conversation_id, after=after, limit=1000):
            found.extend(event for event in events if event.run_id == run.id)
            after = events[-1].seq
            if found and found[-1].type in _ENDS:
                break
        return tuple(found)

    # --- inside ------------------------------------------------------------------------------------------------

    async def _append(self, *events: Event) -> tuple[Event, ...]:
        stored = await self.store.append(events)
        for event in stored:
            self.feed.publish(Stored(event, event.request_id))
        self._remember(stored[0].conversation_id)
        return stored

    async def _opening(self, conversation_id: str, message: Submission) -> tuple[Event, ...]:
        if conversation_id in self._known:
            return ()
        fresh = conversation_id in self._new  # its id was made a moment ago: nobody can have used it
        self._new.discard(conversation_id)
        if not fresh and await self.store.conversations(ids=[conversation_id]):
            self._remember(conversation_id)
            return ()
        if message.existing:
            raise ConversationNotFound
        opened = happened.conversation_opened(conversation_id, surface=message.surface, kind=message.kind)
        return (opened, *self._initial(conversation_id))

    def _remember(self, conversation_id: str) -> None:
        self._known[conversation_id] = None
        self._known.move_to_end(conversation_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _turnstile(self, kind: str, name: str) -> asyncio.Lock:
        key = f"{kind} {name}"
        lock = self._turnstiles.get(key)
        if lock is None:
            lock = self._turnstiles[key] = asyncio.Lock()
        return lock


_ENDS = frozenset({"run.completed", "run.failed", "run.cancelled"})
