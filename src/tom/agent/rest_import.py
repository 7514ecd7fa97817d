"""The REST door's way in for a session that was exported as JSON."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from tom.agent import strictjson
from tom.agent.answering import JsonAnswer, read_body
from tom.agent.cell import Cell
from tom.agent.guarding import Endpoint, caller_of
from tom.agent.importing import Importer
from tom.agent.rest_shapes import opened
from tom.clock import timestamp
from tom.conversation.event import Event
from tom.errors import InvalidJson, ShuttingDown
from tom.openapi.operations import Operation
from tom.policy.permissions import Scope
from tom.store.eventstore import ConversationRow
from tom.telemetry import logs

log = logs.get("rest")

MOST_KEYS = 2_000_000
"""An export names some thirty things an event; the size of the body bounds it all the same."""


class ImportDoor:
    """Takes sessions in."""

    def __init__(self, cell: Cell) -> None:
        """Into ``cell``."""
        self._cell = cell

    def endpoints(self) -> dict[str, Endpoint]:
        """What answers which operation."""
        return {"importSession": self.import_session}

    async def import_session(self, request: Request) -> Response:
        """All of an exported session under a new id, or nothing."""
        operation: Operation = request.scope["tom.operation"]
        body = await read_body(request, operation.limit)
        now = timestamp(self._cell.clock.now())
        importer = Importer(caller_of(request).may(Scope.ROLES), self._cell.settings.doors.initial_prompt, now)
        row, events = await asyncio.to_thread(_read, importer, body)  # megabytes: nobody else waits for it
        if self._cell.scheduler.draining:
            raise ShuttingDown
        await self._cell.store.take_in(row, events)
        log.info("📥 Session imported", event="session_created", session_id=row.id, events=len(events))
        answer = opened(row, self._cell.settings.doors.memory_max)
        return JsonAnswer(answer, 201, {"Location": f"/sessions/{row.id}"})


def _read(importer: Importer, body: bytes) -> tuple[ConversationRow, tuple[Event, ...]]:
    try:
        value = strictjson.parse_json(body, most_keys=MOST_KEYS)
    except (ValueError, RecursionError):
        message = "Request body is not valid JSON"
        raise InvalidJson(message) from None
    if not isinstance(value, dict):
        message = "The request body must be a JSON object"
        raise InvalidJson(message)
    return importer.read(cast("Mapping[str, Any]", value))
