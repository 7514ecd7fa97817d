"""Retention: what of each conversation is kept on disk. Runs after each run, at start and hourly; see `upkeep.py`."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from tom.agent.steadiness import Steadiness
from tom.clock import timestamp
from tom.config.agent import PersistenceSettings
from tom.conversation import retention
from tom.conversation.event import Event
from tom.errors import StorageUnavailable
from tom.store.eventstore import ConversationRow, EventStore, Publish, RunFilter, RunRow
from tom.store.projection import UNFINISHED
from tom.telemetry import logs

log = logs.get("history")

PAGE = 500
EVERYTHING = 2**62


@dataclass(frozen=True, slots=True)
class Cut:
    """What goes of one conversation: its events before ``first_seq``, ``events`` of them."""

    conversation_id: str
    first_seq: int
    events: int


class Retention:
    """Applies the policy of ``settings`` to the conversations in ``store``."""

    def __init__(
        self,
        store: EventStore,
        settings: PersistenceSettings,
        steadiness: Steadiness,
        *,
        drop_files: Callable[[str], Awaitable[None]] | None = None,
        publish: Publish | None = None,
    ) -> None:
        """``steadiness`` says when the clock may be believed; ``drop_files`` removes what no event names any more.

        ``publish`` is told of each cut.
        """
        self._publish = publish
        self._store = store
        self._settings = settings
        self._steadiness = steadiness
        self._drop_files = drop_files

    async def apply(self, conversation_id: str) -> None:
        """Cut one conversation."""
        if self._settings.retention != "unlimited":
            for row in await self._store.conversations(ids=[conversation_id]):
                await self._keep_to_policy(row)

    async def apply_all(self) -> None:
        """Cut every conversation."""
        if self._settings.retention != "unlimited":
            async for row in self._rows():
                await self._keep_to_policy(row)

    async def plan(self) -> tuple[Cut, ...]:
        """What `apply_all` would do now, were the clock believed."""
        moment = timestamp(self._steadiness.wall() - timedelta(days=self._settings.retention_days))
        return tuple([cut async for row in self._rows() if (cut := await self._cut_of(row, moment)) is not None])

    async def _rows(self) -> AsyncGenerator[ConversationRow]:
        before: str | None = None
        while rows := await self._store.conversations(limit=PAGE, before=before):
            before = f"{rows[-1].updated_at}/{rows[-1].id}"
            for row in rows:
                yield row

    async def _keep_to_policy(self, row: ConversationRow) -> None:
        await self._cut(row)
        if self._drop_files is not None:
            await self._drop_files(row.id)

    async def _cut(self, row: ConversationRow) -> None:
        moment = ""
        if self._settings.retention == "time_based":
            now = self._steadiness.now()
            if now is None:
                return
            moment = timestamp(now - timedelta(days=self._settings.retention_days))
        cut = await self._cut_of(row, moment)
        if cut is None:
            return
        try:
            if not await self._store.erase(row.id, before=cut.first_seq, publish=self._publish):
                return  # a message was asked again meanwhile: the next time
        except StorageUnavailable:
            log.warning("⚠️ Erased, but the log could not be emptied yet", event="retention_log", events=cut.events)
        log.info("🧹 Erased what is not to be kept", event="history_retired", conversation=row.id, events=cut.events)

    # --- where to cut ------------------------------------------------------------------------------------------

    async def _cut_of(self, row: ConversationRow, moment: str) -> Cut | None:
        if row.pinned:
            return None
        floor = await self._unfinished(row)
        match self._settings.retention:
            case "token_limit":
                at = await self._by_tokens(row, floor)
            case "message_count":
                at = await self._by_messages(row, floor)
            case "time_based":
                at = await self._by_age(row, floor, moment)
            case _:
                at = None
        if at is None or at <= row.first_seq:
            return None
        return Cut(row.id, at, at - row.first_seq)

    async def _unfinished(self, row: ConversationRow) -> int | None:
        """The seq of the oldest event that an unfinished run needs: its own first, or that of the one it repeats."""
        needed: list[int] = []
        for unfinished in await self._store.runs(RunFilter(conversation_id=row.id, states=UNFINISHED)):
            run: RunRow | None = unfinished
            while run is not None:
                needed.append(run.first_seq)
                beginning = await self._store.read(row.id, after=run.first_seq - 1, limit=1)
                origin: str = beginning[0].extra.get("retry_of", "") if beginning else ""
                run = next(iter(await self._store.runs(RunFilter(run_id=origin))), None) if origin else None
        return min(needed, default=None)

    async def _by_tokens(self, row: ConversationRow, floor: int | None) -> int | None:
        limit = self._settings.retention_tokens
        if row.tokens <= limit:
            return None
        read = limit
        while True:
            events = _stretch(await self._store.tail(row.id, tokens=read, limit=EVERYTHING))
            wanted = retention.within_tokens(events, limit)
            at = retention.cut_at(events, wanted, whole=False, floor=floor)
            if at is not None or events[0].seq <= row.first_seq:
                return at
            read *= 2

    async def _by_messages(self, row: ConversationRow, floor: int | None) -> int | None:
        limit = self._settings.retention_messages
        if row.last_seq - row.first_seq < limit:
            return None
        read = 4 * limit
        while True:
            events = _stretch(await self._store.tail(row.id, tokens=EVERYTHING, limit=read))
            wanted = retention.within_messages(events, limit)
            at = None if wanted is None else retention.cut_at(events, wanted, whole=True, floor=floor)
            if at is not None or events[0].seq <= row.first_seq:
                return at
            read *= 2

    async def _by_age(self, row: ConversationRow, floor: int | None, moment: str) -> int | None:
        events: list[Event] = []
        while True:
            after = events[-1].seq if events else row.first_seq - 1
            page = await self._store.read(row.id, after=after, limit=PAGE)
            events += page
            wanted = retention.younger_than(page, moment)
            if wanted is not None and wanted <= row.first_seq:
                return None
            if wanted is not None or len(page) < PAGE:
                break
        if not events:
            return None
        return retention.cut_at(events, wanted or events[-1].seq, whole=True, floor=floor)


def _stretch(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Without the instructions and the summary that may stand in front of the newest events, apart from them."""
    place = len(events) - 1
    while place > 0 and events[place - 1].seq == events[place].seq - 1:
        place -= 1
    return events[max(place, 0) :]
