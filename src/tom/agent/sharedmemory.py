"""The windows of REST sessions in Redis: written through after each change, adopted by whoever knows them not yet.

This agent's own store is the truth; Redis is a copy. Behind a gateway it is only that. Agents that run alone and share a
Redis also take over each other's sessions, and a lease says which of them runs one at the moment. A Redis that is away
costs one warning a minute: then each works with what it has.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tom.agent.elsewhere import ErasedElsewhere, Here
from tom.agent.feed import Item, Stored
from tom.agent.rest_shapes import window
from tom.agent.sharedkeys import LEASE_SECONDS, Kept, Said, SharedKeys, Written
from tom.agent.sharedwindow import SURFACE, missing, opened, said_in, told
from tom.clock import Clock
from tom.conversation.event import Event, EventType
from tom.conversation.history import fold
from tom.conversation.upkeep import conversation_changed
from tom.errors import SessionElsewhere, TomError
from tom.limits.link import RedisAway, RedisOpening, Seldom
from tom.store.copies import Copies
from tom.store.eventstore import ConversationRow, EventStore
from tom.store.mirrored import ABOVE
from tom.telemetry import logs

log = logs.get("redis")

RENEW_SECONDS: Final = LEASE_SECONDS / 3
GRACE_SECONDS: Final = 5.0
"""So long a session is kept for a message that is being stored."""

AGAIN_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0
MOST_DUE: Final = 10_000
MOST_COMPARED: Final = 400
"""Events of this store that are looked at to see what is new elsewhere."""

LONGEST_WAIT: Final = 5
"""Seconds after which it is worth asking again for a session that another process runs: its run may end before its lease."""

_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_CHANGES = frozenset({
    EventType.CONVERSATION_OPENED, EventType.CONVERSATION_CHANGED, EventType.MESSAGE_RECEIVED,
    *_ENDS,
})  # fmt: skip
_BEGINS = frozenset({EventType.RUN_STARTED, EventType.RUN_RESUMED})


@dataclass(slots=True)
class _Lease:
    """A session that this process may run: when that is to be renewed, and until when it is kept without a run.

    ``above``: how far above their numbers here its next messages stand in an archive that others write to as well.
    """

    renew_at: float = 0.0
    held_until: float = 0.0
    above: int = 0


class SharedMemory:
    """Keeps Redis up to date with the REST sessions of one agent; see `elsewhere.Elsewhere` for what it is asked."""

    def __init__(
        self,
        store: EventStore,
        keys: SharedKeys,
        clock: Clock,
        *,
        copies: Copies,
        ahead: Callable[[str], int],
        tokens: int,
        maximum: int,
        alone: bool,
    ) -> None:
        """``ahead`` says how many runs of a conversation have not ended; ``tokens`` and ``maximum`` bound its window.

        ``copies`` knows what of them must not stay in Redis. ``alone``: there is no gateway, so another process may be asked for the same session.
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self._ahead = ahead
        self._tokens = tokens
        self._maximum = maximum
        self._alone = alone
        self._due: dict[str, None] = {}
        self._copies = copies
        self._stale = True
        """Whether something may be erased or cut here and not there."""
        self._behind: dict[str, float] = {}
        """Sessions of which another process wrote last: when that is to be taken over. They are not written before."""
        self._here: Here | None = None
        self._leases: dict[str, _Lease] = {}
        self._woken = asyncio.Event()
        self._warning = Seldom(clock)

    def bind(self, here: Here) -> None:
        """Whoever stores what was said elsewhere."""
        self._here = here

    # --- what conversations ask ---------------------------------------------------------------------------------

    async def adopt(self, conversation_id: str) -> Sequence[Event]:
        """See `elsewhere.Elsewhere.adopt`."""
        if not self._alone or await self._copies.erased(conversation_id):
            return ()
        try:
            kept = await self._keys.look(conversation_id)
        except RedisAway as error:
            self._warn(error)
            return ()
        if kept is None:
            return ()
        log.info("📥 A session from elsewhere is taken over", event="session_adopted", conversation_id=conversation_id)
        return opened(conversation_id, kept)

    async def claim(self, conversation_id: str, *, briefly: bool = False) -> Sequence[Event]:
        """See `elsewhere.Elsewhere.claim`."""
        if not self._alone:
            return ()
        rows = await self._store.conversations(ids=[conversation_id])
        adopted = () if rows else await self.adopt(conversation_id)
        if (rows and rows[0].surface != SURFACE) or not (rows or adopted):
            return ()
        try:
            claim = await self._keys.claim(conversation_id)
        except RedisAway as error:
            self._warn(error)
            return adopted
        if claim.gone:
            raise ErasedElsewhere
        if not claim.granted:
            raise SessionElsewhere(retry_after=float(min(LONGEST_WAIT, max(1, math.ceil(claim.wait)))))
        now = self._clock.monotonic()
        missed = adopted if claim.kept is None or not rows else await self._missed(rows[0], claim.kept)
        here = (rows[0].last_seq if rows else 0) + len(missed)
        above = max(self.above(conversation_id), claim.reached - here)
        self._leases[conversation_id] = _Lease(now + RENEW_SECONDS, now if briefly else now + GRACE_SECONDS, above)
        if claim.kept is not None and rows and self._ahead(conversation_id):
            self._behind[conversation_id] = now
        elif self._behind.pop(conversation_id, None) is not None:
            self._due[conversation_id] = None
        self._woken.set()
        return missed

    async def gone(self, row: ConversationRow) -> bool:
        """See `elsewhere.Elsewhere.gone`."""
        if not self._alone or row.surface != SURFACE:
            return False
        try:
            return await self._keys.gone(row.id)
        except RedisAway as error:
            self._warn(error)
            return False

    def above(self, conversation_id: str) -> int:
        """See `elsewhere.Elsewhere.above`."""
        lease = self._leases.get(conversation_id)
        return lease.above if lease is not None else 0

    def forget(self, conversation_id: str) -> None:
        """See `elsewhere.Elsewhere.forget`."""
        self._due.pop(conversation_id, None)
        self._leases.pop(conversation_id, None)
        self._behind.pop(conversation_id, None)
        self._stale = True
        self._woken.set()

    def notice(self, item: Item) -> None:
        """Something has happened; a listener of the feed. Never waits."""
        if not isinstance(item, Stored):
            return
        event = item.event
        lease = self._leases.get(event.conversation_id)
        if event.type == EventType.HISTORY_RETIRED:
            self._stale = True
            self._woken.set()
        elif event.type in _CHANGES:
            if lease is not None and event.type in _ENDS:
                lease.held_until = 0.0
            self._put(self._due, event.conversation_id)
        elif event.type in _BEGINS and self._alone and lease is None:
            self._leases[event.conversation_id] = _Lease()  # begun before this process was: the lease is to be taken
            self._woken.set()

    # --- beside the runs -----------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Write what is due, renew and release leases; until cancelled, then as far as Redis is there once more."""
        await self._keys.open()
        self._woken.set()  # what an earlier process left to do
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._woken.wait()
                self._woken.clear()
                await asyncio.sleep(0)  # what is told of the event goes out first
                await self._level()
        finally:
            with contextlib.suppress(TomError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._write_all()
                    for conversation_id in self._leases:
                        await self._keys.release(conversation_id)

    async def _level(self) -> None:
        """Bring Redis to where this store is, or wait until it makes sense to try again."""
        try:
            await self._write_all()
            await self._look_after_leases()
            await self._take_over()
        except TomError as error:
            if isinstance(error, RedisAway):
                self._warn(error)
            else:
                log.warning("⚠️ A window could not be read", event="session_memory_failed", code=error.code)
            self._woken.set()
            await self._clock.sleep(AGAIN_SECONDS)

    async def _write_all(self) -> None:
        if self._stale:
            await self._settle()
        while self._due:
            conversation_id = next(iter(self._due))
            del self._due[conversation_id]
            try:
                await self._write(conversation_id)
            except TomError:
                self._put(self._due, conversation_id)
                raise

    async def _settle(self) -> None:
        """Have what was erased or cut here erased or cut there; it is noted in the store until it is."""
        self._stale = False
        try:
            while stale := await self._copies.stale():
                for one in stale:
                    if one.erased:
                        await self._keys.erase(one.conversation_id)
                    else:
                        await self._write(one.conversation_id)
                await self._copies.settle(stale)
        except TomError:
            self._stale = True
            raise

    async def _write(self, conversation_id: str) -> None:
        row = await self._session(conversation_id)
        if row is None or conversation_id in self._behind:
            return
        events = await self._store.tail(conversation_id, tokens=self._tokens)
        history = fold(events)
        limit = None if row.memory_limit is None else min(row.memory_limit, self._maximum)
        shown = window(history.before(None), limit)
        said = [Said(one["role"], one["content"], one["created_at"]) for one in shown]
        reached = row.last_seq + max((event.extra.get(ABOVE, 0) for event in events), default=0)
        limit, metadata = row.memory_limit, row.metadata
        written = await self._keys.write(conversation_id, limit, said, reached=reached, metadata=metadata)
        if written != Written.DONE and self._alone:
            log.debug("Another process has this session", event="session_elsewhere", conversation_id=conversation_id)
            self._behind[conversation_id] = self._clock.monotonic()

    async def _look_after_leases(self) -> None:
        for conversation_id, lease in list(self._leases.items()):
            now = self._clock.monotonic()
            if now < self._due_at(conversation_id, lease):
                continue
            if not self._ahead(conversation_id):
                await self._keys.release(conversation_id)
                self._leases.pop(conversation_id, None)
            elif await self._session(conversation_id) is not None:
                claim = await self._keys.claim(conversation_id)
                lease.renew_at = now + RENEW_SECONDS
                if claim.kept is not None:  # somebody had it meanwhile
                    self._behind[conversation_id] = now
                if not claim.granted:
                    await self._lose(conversation_id)
            else:
                self._leases.pop(conversation_id, None)

    async def _lose(self, conversation_id: str) -> None:
        """Another process runs the session, or has erased it: two may not answer in it at once."""
        self._leases.pop(conversation_id, None)
        self._behind[conversation_id] = self._clock.monotonic()
        log.warning("⚠️ The lease of a session was lost", event="session_lost", conversation_id=conversation_id)
        if self._here is not None:
            await self._here.give_up(conversation_id)

    async def _take_over(self) -> None:
        """Where another process wrote last, take that over before anything is written."""
        for conversation_id, at in list(self._behind.items()):
            now = self._clock.monotonic()
            if self._here is None or at > now or self._ahead(conversation_id):
                continue
            try:
                await self._here.reconcile(conversation_id)
            except SessionElsewhere:
                self._behind[conversation_id] = now + LONGEST_WAIT
                continue
            if self._behind.get(conversation_id) == at:  # Redis is away, or it is not there any more
                self._behind[conversation_id] = now + LONGEST_WAIT
                if await self._session(conversation_id) is None:
                    del self._behind[conversation_id]

    def _due_at(self, conversation_id: str, lease: _Lease) -> float:
        return lease.renew_at if self._ahead(conversation_id) else lease.held_until

    def _pause(self) -> float | None:
        """Seconds until something is to be done even if nothing happens."""
        times = [self._due_at(conversation_id, lease) for conversation_id, lease in self._leases.items()]
        now = self._clock.monotonic()
        for conversation_id, at in self._behind.items():
            times.append(max(at, now + 1) if self._ahead(conversation_id) else at)
        return max(0.0, min(times) - now) if times else None

    # --- below ---------------------------------------------------------------------------------------------------

    async def _session(self, conversation_id: str) -> ConversationRow | None:
        rows = await self._store.conversations(ids=[conversation_id])
        return rows[0] if rows and rows[0].surface == SURFACE else None

    async def _missed(self, row: ConversationRow, kept: Kept) -> Sequence[Event]:
        if self._ahead(row.id):
            return ()
        after = max(row.first_seq - 1, row.last_seq - MOST_COMPARED)
        here = said_in(await self._store.read(row.id, after=after, limit=MOST_COMPARED))
        events = told(row.id, missing(here, kept.window))
        changed: dict[str, Any] = {}
        if kept.limit not in {None, row.memory_limit}:
            changed["memory_limit"] = kept.limit
        if kept.metadata not in (None, row.metadata):
            changed["metadata"] = kept.metadata
        return (conversation_changed(row.id, changed), *events) if changed else events

    def _put(self, among: dict[str, None], conversation_id: str) -> None:
        among[conversation_id] = None
        if len(among) > MOST_DUE:
            del among[next(iter(among))]
        self._woken.set()

    def _warn(self, error: RedisAway) -> None:
        if not isinstance(error, RedisOpening) and self._warning.due():
            log.warning(
                "⚠️ Redis is away: sessions are kept here alone",
                event="session_memory_failed",
                reason=error.details.get("reason", ""),
            )
