"""The REST door, as far as reading goes: the list of conversations, their events, and erasing one.

The REST door calls a conversation a *session*, because its contract does.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer, chat_error
from tom.agent.cell import Cell
from tom.agent.learning import UPKEEP
from tom.conversation import codec
from tom.errors import CallerError, ConversationNotFound, TomError
from tom.store.eventstore import ConversationRow

type Endpoint = Callable[[Request], Awaitable[Response]]


class SessionNotFound(CallerError):
    """There is no such session."""

    code = "session_not_found"
    http_status = 404


class InvalidCursor(CallerError):
    """'before' is not a cursor of an earlier page."""

    code = "invalid_cursor"
    http_status = 400


class InvalidQuery(CallerError):
    """A query parameter is not valid."""

    code = "validation_error"


class RestDoor:
    """Reads conversations of one person."""

    def __init__(self, cell: Cell) -> None:
        """Read from ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/sessions", _answered(self.list_sessions), methods=["GET"]),
            Route("/sessions/{session_id}", _answered(self.get_session), methods=["GET"]),
            Route("/sessions/{session_id}", _answered(self.delete_session), methods=["DELETE"]),
            Route("/sessions/{session_id}/events", _answered(self.list_events), methods=["GET"]),
        ]

    async def list_sessions(self, request: Request) -> Response:
        """Conversations, newest use first."""
        limit = _integer(request, "limit", 50, 1, 200)
        rows = await self._cell.store.conversations(limit=limit + 1, before=_cursor_of(request))
        page = rows[:limit]
        following = _encode_cursor(page[-1]) if len(rows) > limit else None
        opened = [row for row in page if row.surface != UPKEEP]
        return JsonAnswer({"sessions": [_session(row) for row in opened], "next": following})

    async def get_session(self, request: Request) -> Response:
        """One conversation and its newest messages; no instructions."""
        row = await self._get(request)
        events = await self._cell.store.read(row.id, after=max(0, row.last_seq - 1000), limit=1000)
        history = [
            {
                "role": event.role,
                "content": event.content,
                "created_at": event.timestamp,
                "metadata": {"seq": event.seq, "run_id": event.run_id},
            }
            for event in events
            if event.role in {"user", "assistant"} and event.content
        ]
        return JsonAnswer(_session(row) | {"usage": row.usage.as_json(), "history": history[-200:]})

    async def delete_session(self, request: Request) -> Response:
        """Erase a conversation; its run is cancelled first."""
        row = await self._get(request)
        await self._cell.conversations.erase(row.id)
        return Response(status_code=204)

    async def list_events(self, request: Request) -> Response:
        """The events after ``after``; with ``wait`` the answer comes as soon as there is one."""
        after = _integer(request, "after", 0, 0, 2**53)
        limit = _integer(request, "limit", 500, 1, 2000)
        wait = _integer(request, "wait", 0, 0, 60)
        row = await self._get(request)
        if after > row.last_seq:
            message = f"'after' is beyond the last event ({row.last_seq})"
            raise InvalidQuery(message, last_seq=row.last_seq)
        events = await self._cell.store.read(row.id, after=after, limit=limit)
        if not events and wait:
            await self._something_new(row.id, after, wait)
            events = await self._cell.store.read(row.id, after=after, limit=limit)
        body = {
            "session_id": row.id,
            "events": [codec.to_json(event) for event in events],
            "first_seq": row.first_seq,
            "last_seq": max(row.last_seq, events[-1].seq if events else 0),
            "next_after": events[-1].seq if events else after,
            "epoch": self._cell.store.epoch,
        }
        return JsonAnswer(body)

    async def _something_new(self, conversation_id: str, after: int, wait: int) -> None:
        happened = asyncio.Event()
        leave = self._cell.feed.listen(conversation_id, lambda _: happened.set())
        try:
            if await self._cell.store.read(conversation_id, after=after, limit=1):
                return
            async with asyncio.timeout(wait):
                await happened.wait()
        except TimeoutError:
            pass
        finally:
            leave()

    async def _get(self, request: Request) -> ConversationRow:
        try:
            return await self._cell.conversations.get(request.path_params["session_id"])
        except ConversationNotFound:
            raise SessionNotFound from None


def _answered(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TomError as error:
            return chat_error(error, request.scope["tom.request_id"])

    return answer


def _session(row: ConversationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "title": row.title,
        "memory_limit": row.memory_limit,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_seq": row.last_seq,
        "state": row.state,
        "metadata": dict(row.metadata),
    }


def _integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 18 or not low <= int(given) <= high:
        message = f"'{name}' must be a whole number from {low} to {high}"
        raise InvalidQuery(message)
    return int(given)


def _encode_cursor(row: ConversationRow) -> str:
    return base64.urlsafe_b64encode(f"{row.updated_at}/{row.id}".encode()).decode()


def _cursor_of(request: Request) -> str | None:
    given = request.query_params.get("before")
    if given is None:
        return None
    try:
        cursor = base64.b64decode(given.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    if "/" not in cursor:
        raise InvalidCursor
    return cursor
