"""The REST door's way in for a session that was exported as JSON."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from tom.agent import strictjson
from tom.agent.answering import JsonAnswer, read_body
from tom.agent.cell import Cell
from tom.agent.guarding import Endpoint, caller_of
from tom.agent.importfiles import checked_files, told_of_missing
from tom.agent.importing import Importer
from tom.agent.lasting import to_the_end
from tom.agent.options import choices_of
from tom.agent.rest_shapes import opened
from tom.clock import timestamp
from tom.conversation.event import Event
from tom.errors import InvalidJson, RateLimited, ShuttingDown
from tom.openapi.operations import Operation
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
        self._choices = choices_of(cell.settings)
        self._one = asyncio.Lock()

    def endpoints(self) -> dict[str, Endpoint]:
        """What answers which operation."""
        return {"importSession": self.import_session}

    async def import_session(self, request: Request) -> Response:
        """All of an exported session under a new id, or nothing; one at a time."""
        operation: Operation = request.scope["tom.operation"]
        body = await read_body(request, operation.limit)
        now = timestamp(self._cell.clock.now())
        new_id, prompt = self._cell.conversations.new_id, self._cell.settings.doors.initial_prompt
        importer = Importer(caller_of(request), self._choices, prompt, now, new_id)
        if self._one.locked():  # each is megabytes, and makes them many times as many in memory
            raise RateLimited(retry_after=1.0)
        async with self._one:
            row, events, files = await asyncio.to_thread(_read, importer, body)  # nobody else waits for it
            if self._cell.scheduler.draining:
                raise ShuttingDown
            await to_the_end(self._take_in(row, events, files))
        log.info("📥 Session imported", event="session_created", session_id=row.id, events=len(events))
        answer = opened(row, self._cell.settings.doors.memory_max)
        return JsonAnswer(answer, 201, {"Location": f"/sessions/{row.id}"})

    async def _take_in(self, row: ConversationRow, events: tuple[Event, ...], files: Mapping[str, bytes]) -> None:
        """Keep the files before the events that name them; what fails leaves neither."""
        try:
            for content in files.values():
                await self._cell.files.write(row.id, content)
            await self._cell.store.take_in(row, events)
        except BaseException:
            await self._cell.files.erase(row.id)
            raise


def _read(importer: Importer, body: bytes) -> tuple[ConversationRow, tuple[Event, ...], Mapping[str, bytes]]:
    try:
        value = strictjson.parse_json(body, most_keys=MOST_KEYS)
    except (ValueError, RecursionError):
        message = "Request body is not valid JSON"
        raise InvalidJson(message) from None
    if not isinstance(value, dict):
        message = "The request body must be a JSON object"
        raise InvalidJson(message)
    export = cast("Mapping[str, Any]", value)
    row, events = importer.read(export)
    files = checked_files(export.get("files"), events)
    return replace(row, metadata=told_of_missing(row.metadata, files, events)), events, files
