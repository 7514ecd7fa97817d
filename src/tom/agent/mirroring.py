"""The pump: tells an archive what the outbox holds, in the background, for as long as it takes.

In order within a conversation, at least once; a run never waits for it. An archive that is away is tried again after
1, 2, 4 … 300 seconds (± 20 %). A record that is refused holds back its conversation only, and is parked after ten tries.
What an archive behind a slow line does not take in time is told in ever smaller pieces, down to one entry.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Protocol

from tom.agent.learning import UPKEEP
from tom.agent.mirrorwords import archived_sessions, message_record, session_record
from tom.archive.archive import Archive, ArchiveClientMissing, ArchiveUnavailable, RecordRefused
from tom.clock import Clock, parse_timestamp, timestamp
from tom.errors import StorageFull, StorageUnavailable, TomError
from tom.store.copies import Copies
from tom.store.eventstore import EventStore
from tom.store.outbox import MOST_AT_ONCE, Entry, Kind, Lag, MirrorRules, Outbox
from tom.telemetry import logs

log = logs.get("archive")

LONGEST_WAIT: Final = 300.0
MOST_TRIES: Final = 10
LOOK_SECONDS: Final = 1.0
"""So long the lag that is shown may be old while there is much to tell."""

MOST_ENTRIES: Final = 200
MOST_PATIENCE: Final = 64
"""Successes after which more at once is tried again, at most."""

KNOWN: Final = 200
"""Sessions that are looked for to see whether an archive is empty."""

MANY: Final = 100_000
OLD_SECONDS: Final = 7 * 86_400.0
_ERASING: Final = frozenset({Kind.ERASE, Kind.CUT})
_AWAY: Final = (ArchiveUnavailable, ArchiveClientMissing, StorageUnavailable, StorageFull)


class Pace:
    """How much is told at once: half of what did not get through in time, and more again when that goes well."""

    def __init__(self) -> None:
        """Begin with the most."""
        self.entries = MOST_ENTRIES
        self.characters = MOST_AT_ONCE
        self._patience = 1
        self._successes = 0

    def shrink(self, entries: int, characters: int) -> None:
        """So much was too much; the next try of more is a longer time off."""
        self.entries = max(1, entries // 2)
        self.characters = max(1, characters // 2)
        self._patience = min(MOST_PATIENCE, 2 * self._patience)
        self._successes = 0

    def grow(self) -> None:
        """It got through."""
        self._successes += 1
        if self._successes < self._patience:
            return
        self._successes = 0
        self.entries = min(MOST_ENTRIES, 2 * self.entries)
        self.characters = min(MOST_AT_ONCE, 2 * self.characters)
        if (self.entries, self.characters) == (MOST_ENTRIES, MOST_AT_ONCE):
            self._patience = 1


class Told(Outbox, Copies, EventStore, Protocol):
    """What is to be told, and which conversations there are."""


class Mirroring:
    """Empties one person's outbox into their archive."""

    def __init__(
        self,
        outbox: Told,
        archive: Archive,
        clock: Clock,
        *,
        rules: MirrorRules,
        backend: str,
        chance: random.Random | None = None,
    ) -> None:
        """``rules``: those of the outbox; ``backend``: the archive's name for people; ``chance`` spreads tries."""
        self.archive = archive
        self.rules = rules
        self._outbox = outbox
        self._clock = clock
        self._backend = backend
        self._chance = chance or random.Random()  # noqa: S311 - spreads load
        self._lag = Lag()
        self._looked = float("-inf")
        self._fails = 0
        self._reason = ""
        self._prepared = False
        self._pace = Pace()
        self._advanced = False
        """Whether something was told since the last failure."""
        self._rebuilding = False
        self._hurry = asyncio.Event()
        self._idle = asyncio.Event()

    # --- how it stands ---------------------------------------------------------------------------------------------

    def lag_seconds(self) -> float:
        """The age of the oldest thing that the archive lacks; 0.0 when it lacks nothing."""
        if not self._lag.entries:
            return 0.0
        return max(0.0, (self._clock.now() - parse_timestamp(self._lag.oldest)).total_seconds())

    def state(self) -> Mapping[str, Any]:
        """For ``/health`` and ``tom archive status``: ``state`` is ``ok``, ``catching_up`` or ``unreachable``."""
        lag = self.lag_seconds()
        state = "unreachable" if self._fails else ("catching_up" if self._lag.entries else "ok")
        behind = bool(self._fails) or self._lag.entries > MANY or lag > OLD_SECONDS
        return {
            "backend": self._backend,
            "state": state,
            "archive_behind": behind,
            "lag_seconds": round(lag, 3),
            "waiting": self._lag.entries,
            "parked": len(self._lag.parked),
            "reason": self._reason,
        }

    async def status(self) -> Mapping[str, Any]:
        """As `state`, looked up now, with what is parked."""
        await self._look()
        parked = [
            {
                "session_id": entry.conversation_id,
                "kind": entry.kind,
                "seq": entry.seq,
                "tries": entry.tries,
                "reason": entry.reason,
            }
            for entry in self._lag.parked
        ]
        return {**self.state(), "parked": parked, "held": self._lag.held}

    # --- what is asked of it ---------------------------------------------------------------------------------------

    async def rebuild(self) -> int:
        """Queue everything again, and what was parked; returns how much there is to tell.

        What only the archive has is erased there, as soon as it can be asked.
        """
        self._rebuilding = True
        waiting = await self._outbox.refill()
        await self._look()
        self._hurry.set()
        return waiting

    async def conversation_ids(self, *, after: str, limit: int) -> tuple[str, ...]:
        """A page of what there is to compare: by id, so that what is used meanwhile is neither missed nor seen twice."""
        return await self._outbox.ids(after=after, limit=limit)

    async def flush(self, seconds: float) -> bool:
        """Try to tell everything now, for at most ``seconds``; whether nothing that could be told is left."""
        self._idle.clear()
        self._hurry.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
                while self._hurry.is_set():  # it was an earlier round that ended
                    self._idle.clear()
                    await self._idle.wait()
        return self._idle.is_set() and not self._fails

    async def serve(self) -> None:
        """Tell the archive whatever is queued, until cancelled."""
        try:
            while True:
                await self._round()
        finally:
            with suppress(Exception):
                async with asyncio.timeout(2.0):
                    await self.archive.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        """Tell what is due, then wait for more; after a failure wait for the next try."""
        self._hurry.clear()
        try:
            await self._prepare()
            if self._rebuilding:
                await self._erase_strangers()
            while entries := await self._outbox.due(limit=self._pace.entries):
                await self._tell(entries)
                if self._clock.monotonic() - self._looked >= LOOK_SECONDS:
                    await self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is: the next try may do, a dead pump never does
            wait = self._failed(error)
            with suppress(*_AWAY):
                await self._look()
            self._idle.set()
            await self._wait(wait)
            return
        if self._fails:
            log.info("🗄️ The archive is there again", event="archive_back", tries=self._fails)
        self._fails, self._reason = 0, ""
        await self._look()
        self._idle.set()
        await self._wait(self._until_next(), woken=True)

    async def _prepare(self) -> None:
        """After a start and every failure: make what is missing; what is found empty is filled again."""
        if self._prepared:
            return
        await self.archive.prepare()
        due = [entry.conversation_id for entry in await self._outbox.due(limit=self._pace.entries)]
        there = await self.archive.has_any((*await self._outbox.ids(limit=KNOWN), *due))
        if not there and (waiting := await self._outbox.refill()):
            log.info("🗄️ The archive is empty; everything is written again", event="archive_refilled", waiting=waiting)
        self._prepared = True

    async def _erase_strangers(self) -> None:
        """Have sessions erased that only the archive has: of this person, for it lists no others."""
        there = list(await archived_sessions(self.archive))
        only: list[str] = []
        for first in range(0, len(there), KNOWN):
            some = there[first : first + KNOWN]
            known = {row.id for row in await self._outbox.conversations(ids=some, limit=KNOWN)}
            only += [session_id for session_id in some if session_id not in known]
        await self._outbox.owe(only)
        self._rebuilding = False

    async def _tell(self, entries: Sequence[Entry]) -> None:
        conversations: dict[str, list[Entry]] = {}
        for entry in entries:
            conversations.setdefault(entry.conversation_id, []).append(entry)
        for waiting in conversations.values():
            for stretch in _stretches(waiting, self._pace.characters):
                if not await self._tell_stretch(stretch):
                    break

    async def _tell_stretch(self, stretch: Sequence[Entry]) -> bool:
        """Tell it as one, or one by one where it is refused. False: something of it has to wait."""
        try:
            await self._send(stretch)
        except ArchiveUnavailable:
            self._pace.shrink(len(stretch), _size(stretch))
            raise
        except RecordRefused as refused:
            if len(stretch) == 1:
                await self._postpone(stretch[0], refused)
                return False
            for entry in stretch:
                if not await self._tell_stretch([entry]):
                    return False
            return True
        await self._outbox.confirm(stretch)
        self._pace.grow()
        self._advanced = True
        return True

    async def _send(self, stretch: Sequence[Entry]) -> None:
        last = stretch[-1]
        if last.kind in _ERASING:
            await self.archive.erase(last.conversation_id, before=last.seq if last.kind == Kind.CUT else None)
            return
        if last.session is None or last.session.surface == UPKEEP:  # nobody's conversation
            return
        events = sorted((event for entry in stretch for event in entry.events), key=lambda event: event.seq)
        messages = [message_record(event, full=self.rules.full) for event in events]
        await self.archive.write(session_record(last.session), messages)

    async def _postpone(self, entry: Entry, refused: RecordRefused) -> None:
        tries = entry.tries + 1
        until = "" if tries >= MOST_TRIES else timestamp(self._clock.now() + timedelta(seconds=self._delay(tries)))
        await self._outbox.postpone(entry, until=until, reason=refused.message)
        told = log.warning if until else log.error
        text = "⚠️ The archive refused a record" if until else "❌ The archive refused a record ten times; it is parked"
        told(
            text,
            event="history_store_failed",
            conversation=entry.conversation_id,
            seq=entry.seq,
            reason=refused.message,
        )

    def _failed(self, error: Exception) -> float:
        """Note that the archive is away; returns after how many seconds it is tried again."""
        self._prepared = False
        self._fails = 1 if self._advanced else self._fails + 1
        self._advanced = False
        reason = getattr(error, "message", type(error).__name__)
        if reason != self._reason and not isinstance(error, TomError):
            log.error("❌ A defect in telling the archive", event="history_store_failed", exception=error)
        elif reason != self._reason:
            log.warning(
                "⚠️ The archive takes nothing now; it is tried again", event="history_store_failed", reason=reason
            )
        self._reason = reason
        return self._delay(self._fails)

    def _delay(self, tries: int) -> float:
        return min(LONGEST_WAIT, 2.0 ** min(tries - 1, 16)) * self._chance.uniform(0.8, 1.2)

    def _until_next(self) -> float | None:
        """Seconds until a refused record is due; None: nothing is."""
        if not self._lag.next_at:
            return None
        return max(0.0, (parse_timestamp(self._lag.next_at) - self._clock.now()).total_seconds())

    async def _wait(self, seconds: float | None, *, woken: bool = False) -> None:
        """Until the time has passed, somebody is in a hurry, or (``woken``) something was queued."""
        async with asyncio.TaskGroup() as group:
            waits: list[asyncio.Task[Any]] = [group.create_task(self._hurry.wait())]
            if seconds is not None:
                waits.append(group.create_task(self._sleep(seconds)))
            if woken:
                waits.append(group.create_task(self._queued()))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()

    async def _sleep(self, seconds: float) -> bool:
        await self._clock.sleep(seconds)
        return True

    async def _queued(self) -> bool:
        await self._outbox.queued()
        return True

    async def _look(self) -> None:
        self._lag = await self._outbox.lag()
        self._looked = self._clock.monotonic()


def _stretches(entries: Sequence[Entry], characters: int) -> Sequence[list[Entry]]:
    """What may be told as one: entries that write, next to each other and not too many; each erasure by itself."""
    stretches: list[list[Entry]] = []
    room = 0
    for entry in entries:
        size = _size([entry])
        apart = not stretches or entry.kind in _ERASING or stretches[-1][-1].kind in _ERASING
        if apart or size > room:
            stretches.append([])
            room = characters
        room -= size
        stretches[-1].append(entry)
    return stretches


def _size(entries: Sequence[Entry]) -> int:
    """The characters of their texts."""
    return sum(len(event.content or "") for entry in entries for event in entry.events)
