"""The REST door's sessions: opening, listing, looking at, changing, stopping and erasing them.

The REST door calls a conversation a *session*, because its contract does.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer
from tom.agent.cell import Cell
from tom.agent.decisions import Unfit
from tom.agent.guarding import json_body, routes_of
from tom.agent.rest_events import EventsDoor
from tom.agent.rest_faults import (
    InvalidCursor,
    InvalidQuery,
    check_fields,
    check_maximum,
    fitting,
    integer,
    read_memory_limit,
    read_metadata,
)
from tom.agent.rest_import import ImportDoor
from tom.agent.rest_messages import MessagesDoor
from tom.agent.rest_shapes import opened, session, with_history
from tom.agent.visiting import session_of
from tom.errors import RunNotFound
from tom.store.eventstore import ConversationRow
from tom.telemetry import logs

log = logs.get("rest")

LONGEST_QUERY = 200
LONGEST_TITLE = 200
KIND = "chat"
"""What `GET /sessions` lists; calls of `/v1` without a conversation are kept as another kind."""


class RestDoor:
    """The sessions of one person."""

    def __init__(self, cell: Cell) -> None:
        """Those of ``cell``."""
        self._cell = cell
        self._maximum = cell.settings.doors.memory_max

    def routes(self) -> list[Route]:
        """The routes of this door."""
        endpoints = {
            "createSession": self.create_session,
            "listSessions": self.list_sessions,
            "getSession": self.get_session,
            "changeSession": self.change_session,
            "deleteSession": self.delete_session,
            "stopRun": self.stop_run,
            **MessagesDoor(self._cell).endpoints(),
            **EventsDoor(self._cell).endpoints(),
            **ImportDoor(self._cell).endpoints(),
        }
        return routes_of(self._cell, endpoints)

    # --- one and all ---------------------------------------------------------------------------------------------

    async def create_session(self, request: Request) -> Response:
        """Open a session; the body may be empty."""
        given = await json_body(request)
        check_fields(given, ("memory_limit", "metadata"))
        asked = fitting(lambda: read_memory_limit(given)) or self._cell.settings.doors.memory_default
        metadata = fitting(lambda: read_metadata(given)) or {}
        limit = check_maximum(asked, self._maximum)
        session_id = await self._cell.conversations.open("rest", dict(metadata), memory_limit=limit)
        return _created(await self._cell.conversations.get(session_id), self._maximum)

    async def list_sessions(self, request: Request) -> Response:
        """Sessions, newest use first; ``q`` is searched for in titles and messages."""
        limit = integer(request, "limit", 50, 1, 200)
        sought = request.query_params.get("q", "").strip()
        if len(sought) > LONGEST_QUERY:
            message = f"'q' must be at most {LONGEST_QUERY} characters"
            raise InvalidQuery(message, "q")
        rows = await self._cell.store.conversations(
            limit=limit + 1, before=_cursor_of(request), kind=KIND, matching=sought
        )
        page = rows[:limit]
        following = _encode_cursor(page[-1]) if len(rows) > limit else None
        return JsonAnswer({"sessions": [session(row, self._maximum) for row in page], "next": following})

    async def get_session(self, request: Request) -> Response:
        """One session and its newest messages; no instructions."""
        row = await self._get(request)
        return JsonAnswer(await with_history(self._cell.store, row, self._maximum))

    async def change_session(self, request: Request) -> Response:
        """Change what is named; the rest stays."""
        given = await json_body(request)
        check_fields(given, ("title", "memory_limit", "pinned", "metadata"))
        change = fitting(lambda: _read_change(given))
        row = await self._get(request)
        if "memory_limit" in change:
            check_maximum(change["memory_limit"], self._maximum)
        if change:
            await self._cell.conversations.change(row.id, change)
            row = await self._get(request)
        return JsonAnswer(await with_history(self._cell.store, row, self._maximum))

    async def delete_session(self, request: Request) -> Response:
        """Erase a session; its run is cancelled first."""
        row = await self._get(request)
        await self._cell.conversations.erase(row.id)
        log.info("🗑️ Session deleted", event="session_deleted", session_id=row.id)
        return Response(status_code=204)

    async def stop_run(self, request: Request) -> Response:
        """Stop what runs; to stop what does not is no error."""
        given = await json_body(request)
        check_fields(given, ("run_id", "queued"))
        run_id, queued = fitting(lambda: _read_stop(given))
        row = await self._get(request)
        if run_id is not None and (await self._cell.conversations.run(run_id)).conversation_id != row.id:
            raise RunNotFound
        stopped = await self._cell.conversations.stop(row.id, run_id, queued=queued)
        return JsonAnswer({"stopped": stopped is not None, "run_id": stopped})

    async def _get(self, request: Request) -> ConversationRow:
        return await session_of(self._cell, request)


def _created(row: ConversationRow, maximum: int) -> Response:
    return JsonAnswer(opened(row, maximum), 201, {"Location": f"/sessions/{row.id}"})


# --- reading bodies --------------------------------------------------------------------------------------------------


def _read_change(given: Mapping[str, Any]) -> dict[str, Any]:
    change: dict[str, Any] = {}
    if "title" in given:
        change |= {"title": _title(given["title"]), "title_by": "person"}
    if (limit := read_memory_limit(given)) is not None:
        change["memory_limit"] = limit
    if "pinned" in given:
        if not isinstance(given["pinned"], bool):
            raise Unfit("pinned", "true or false is required", "type_error")
        change["pinned"] = given["pinned"]
    if (metadata := read_metadata(given)) is not None:
        change["metadata"] = dict(metadata)
    return change


def _title(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit("title", "a text is required", "type_error")
    if len(value) > LONGEST_TITLE:
        raise Unfit("title", f"longer than {LONGEST_TITLE} characters")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unfit("title", "NUL and lone surrogates are not text")
    return " ".join(value.split())


def _read_stop(given: Mapping[str, Any]) -> tuple[str | None, bool]:
    run_id, queued = given.get("run_id"), given.get("queued", False)
    if "run_id" in given and not isinstance(run_id, str):
        raise Unfit("run_id", "the id of a run is required", "type_error")
    if not isinstance(queued, bool):
        raise Unfit("queued", "true or false is required", "type_error")
    return cast("str | None", run_id), queued


# --- cursors ---------------------------------------------------------------------------------------------------------


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
