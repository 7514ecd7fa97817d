"""The REST door's events: read page by page, waited for, or followed as a stream that stays open."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator

from starlette.requests import Request
from starlette.responses import Response

from tom.agent import frames
from tom.agent.answering import JsonAnswer
from tom.agent.backlog import Backlog, ReaderTooSlow
from tom.agent.cell import Cell
from tom.agent.decisions import Unfit
from tom.agent.feed import Delta, Item, Restarted, Stored
from tom.agent.guarding import Endpoint, caller_of
from tom.agent.rest_faults import InvalidQuery, SessionNotFound, integer, invalid
from tom.agent.shown import event_json
from tom.agent.sse import PING, PING_SECONDS, EventStream, wants_events
from tom.agent.telling import Frame, Telling
from tom.agent.visiting import session_of
from tom.agent.waiting import open_asks
from tom.errors import ConversationNotFound, RateLimited, ShuttingDown, TomError
from tom.policy.permissions import Caller
from tom.store.eventstore import ConversationRow

PAGE = 500
AGAIN_SECONDS = 5.0
LONGEST_SEQ = 2**53


class EventsDoor:
    """Reads what happened in one person's sessions, and what happens."""

    def __init__(self, cell: Cell) -> None:
        """Read from ``cell``."""
        self._cell = cell

    def endpoints(self) -> dict[str, Endpoint]:
        """What answers which operation."""
        return {"listEvents": self.list_events}

    async def list_events(self, request: Request) -> Response:
        """The events after ``after``; with ``wait`` the answer comes as soon as there is one."""
        after = integer(request, "after", 0, 0, LONGEST_SEQ)
        limit = integer(request, "limit", PAGE, 1, 2000)
        wait = integer(request, "wait", 0, 0, 60)
        stream = wants_events(request)
        after = _last_event_id(request, after) if stream else after
        row = await session_of(self._cell, request)
        if after > row.last_seq:
            message = f"'after' is beyond the last event ({row.last_seq})"
            raise InvalidQuery(message, "after", last_seq=row.last_seq)
        caller = caller_of(request)
        visitor = caller.visitor
        if stream:
            with self._place(caller):  # refused while there is a status to refuse with
                pass
            return EventStream(self._in_place(caller, self._follow(row, after, visitor=visitor)))
        events = await self._cell.store.read(row.id, after=after, limit=limit)
        if not events and wait:
            with self._place(caller):
                await self._something_new(row.id, after, wait)
            row = await session_of(self._cell, request)  # it may have been erased
            events = await self._cell.store.read(row.id, after=after, limit=limit)
        body = {
            "session_id": row.id,
            "events": [event_json(event, visitor=visitor) for event in events],
            "first_seq": row.first_seq,
            "last_seq": max(row.last_seq, events[-1].seq if events else 0),
            "next_after": events[-1].seq if events else after,
            "epoch": self._cell.store.epoch,
        }
        return JsonAnswer(body)

    @contextlib.contextmanager
    def _place(self, caller: Caller) -> Generator[None]:
        """One of the places there are for who stays. Raises `RateLimited` when none is free."""
        streams, chat = self._cell.streams, self._cell.settings.chat
        if streams.join(caller, most=chat.max_connections, most_each=chat.max_connections_per_user):
            raise RateLimited(retry_after=AGAIN_SECONDS)
        try:
            yield
        finally:
            streams.leave(caller)

    async def _in_place(self, caller: Caller, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The pieces, while there is a place; counted from when they are asked for, so that nothing stays counted."""
        async with contextlib.aclosing(pieces):
            try:
                with self._place(caller):
                    async for piece in pieces:
                        yield piece
            except RateLimited as refused:  # others were faster
                yield _refused(refused)

    async def _something_new(self, conversation_id: str, after: int, wait: int) -> None:
        happened = asyncio.Event()

        def hear(item: Item) -> None:
            if isinstance(item, Stored):
                happened.set()

        leaving = [
            self._cell.feed.listen(conversation_id, hear),
            self._cell.feed.on_close(happened.set),
            self._cell.feed.on_erasure(conversation_id, happened.set),
        ]
        try:
            if await self._cell.store.read(conversation_id, after=after, limit=1) or self._cell.feed.closed:
                return
            async with asyncio.timeout(wait):
                await happened.wait()
        except TimeoutError:
            pass
        finally:
            for leave in leaving:
                leave()

    # --- following -----------------------------------------------------------------------------------------------

    async def _follow(self, row: ConversationRow, after: int, *, visitor: bool) -> AsyncGenerator[bytes]:
        """What is stored, then what happens, for as long as there are a reader, an agent and the conversation."""
        telling = Telling(self._cell.settings.chat, self._cell.clock)
        last = after
        while events := await self._cell.store.read(row.id, after=last, limit=PAGE):
            for event in events:
                if event.seq != last + 1:  # what came before is not kept, or no longer
                    yield Frame(frames.retired(row.id, event.seq)).render()
                last = event.seq
                yield telling.stored(event, event.request_id, visitor=visitor).render()
        backlog = Backlog(self._cell.feed, row.id)
        try:
            for item in await self._missed(row.id, last, backlog):
                for frame in telling.events(item, visitor=visitor):
                    yield frame.render()
            for asked in await open_asks(self._cell.approvals, self._cell.conversations, row.id):
                yield Frame(asked).render()
            async for frame in self._live(row.id, telling, backlog, visitor=visitor):
                yield frame
        finally:
            backlog.close()

    async def _missed(self, conversation_id: str, last: int, backlog: Backlog) -> list[Item]:
        """What happened between the last reading and the first hearing, and the text of the reply being spoken."""
        items: list[Item] = []
        while events := await self._cell.store.read(conversation_id, after=last, limit=PAGE):
            items += [Stored(event, event.request_id) for event in events]
            last = events[-1].seq
        # From here on nothing is awaited, so nothing is missed between what was heard meanwhile and what follows.
        for item in backlog.take_all():
            if not isinstance(item, Delta | Restarted) and (not isinstance(item, Stored) or item.event.seq > last):
                items.append(item)
        active = self._cell.scheduler.active_run(conversation_id)
        live = self._cell.feed.live(active) if active else None
        if live is not None and live.text:
            items.append(live.as_delta())
        return items

    async def _live(
        self, conversation_id: str, telling: Telling, backlog: Backlog, *, visitor: bool
    ) -> AsyncGenerator[bytes]:
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    item = await backlog.next()
            except TimeoutError:
                try:
                    await self._cell.conversations.get(conversation_id)
                except ConversationNotFound:
                    yield _refused(SessionNotFound())
                    return
                yield PING
            except ConversationNotFound:
                yield _refused(SessionNotFound())
                return
            except (ShuttingDown, ReaderTooSlow) as ended:
                if isinstance(ended, ShuttingDown):
                    yield _refused(ended)
                return
            else:
                for frame in telling.events(item, visitor=visitor):
                    yield frame.render()


def _refused(error: TomError) -> bytes:
    return Frame(frames.refused(None, error)).render()


def _last_event_id(request: Request, after: int) -> int:
    """Where a stream goes on; what the browser says wins over the address, which it cannot change."""
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return after
    if not given.isascii() or not given.isdigit() or len(given) > 15:
        raise invalid(Unfit("Last-Event-ID", "the id of an event is required"), "header")
    return int(given)
