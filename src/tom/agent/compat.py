"""The Tom routes: `/process`, `/reset`, `/tasks`, `/status`, `/notifications`.

Their answers are HTTP 200 with ``status`` OK or ERROR once the caller is identified.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.afresh import TEMPORARY, is_temporary
from tom.agent.answering import JsonAnswer, parse_body, read_body, tom_error
from tom.agent.asked import Asked, InvalidRequest, read_client_type, read_process
from tom.agent.background import Background
from tom.agent.cell import Cell
from tom.agent.conversations import Accepted
from tom.agent.feed import Item, Stored
from tom.agent.guarding import caller_of
from tom.agent.outcome import process_body
from tom.agent.permitted import check_reading
from tom.agent.submission import Submission
from tom.conversation.event import EventType
from tom.conversation.run import RunState
from tom.errors import ConversationNotFound, InvalidJson, QueueFull, RequestIdReused, RunNotFound, TomError
from tom.policy.permissions import Caller
from tom.store.eventstore import RunFilter, RunRow

MAX_BODY = 1_048_576
MAX_SMALL_BODY = 65_536

OWN_STATUS = frozenset({413, 503, 507})
"""Refusals that keep their HTTP status here; all others are 200 with ``status: ERROR``."""

_TEXTS = {
    RequestIdReused.code: "request_id was used for a different request",
    QueueFull.code: "Too many requests are waiting in this conversation",
}
_STOPS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED, EventType.RUN_WAITING})
_LOOKED_THROUGH = 20
"""Conversations of a client type among which its current one is looked for; temporary ones stand beside it."""


class TomDoor:
    """Serves the Tom routes of one person."""

    def __init__(self, cell: Cell) -> None:
        """Serve from ``cell``."""
        self._cell = cell
        self._background = Background(cell.settings.services, cell.library, cell.scheduler, cell.clock)

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/process", self.process, methods=["POST"]),
            Route("/process/{request_id}", self.get_process, methods=["GET"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/tasks", self.tasks, methods=["GET"]),
            Route("/status", self.status, methods=["GET"]),
            Route("/notifications", self.notifications, methods=["GET"]),
            Route("/notifications", self.change_notifications, methods=["POST"]),
        ]

    # --- asking ------------------------------------------------------------------------------------------------

    async def process(self, request: Request) -> Response:
        """Answer one request, waiting for its run to end or to ask; a client that goes away stops nothing."""
        try:
            asked = read_process(await _body_of(request, MAX_BODY))
            accepted = await self._accept(asked, caller_of(request))
        except TomError as error:
            message = _TEXTS.get(error.code, error.message)
            return tom_error(message, error.http_status if error.http_status in OWN_STATUS else 200)
        try:
            run = await self._stopped(accepted)
        except RunNotFound:  # its conversation was erased meanwhile
            return tom_error("The request was cancelled")
        body = await process_body(self._cell, run, sound=asked.sound_enabled)
        if accepted.repeated:
            body["replayed"] = True
        if asked.ignored:
            body["ignored_fields"] = list(asked.ignored)
        return JsonAnswer(body)

    async def _accept(self, asked: Asked, caller: Caller) -> Accepted:
        conversation_id = asked.conversation_id
        if conversation_id is not None:
            try:
                await self._cell.conversations.get(conversation_id)
            except ConversationNotFound:
                message = "Conversation not found"
                raise InvalidRequest(message) from None
        else:
            conversation_id = await self._where(asked)
        message = Submission(
            text=asked.text,
            request_id=asked.request_id,
            surface=asked.client_type,
            conversation_id=conversation_id,
            options=asked.options,
            around=asked.around,
        )
        check_reading(message, caller, self._cell.services)
        return await self._cell.conversations.accept(message)

    async def _where(self, asked: Asked) -> str | None:
        """Where this id was used before, else the client type's current conversation."""
        earlier = await self._cell.store.runs(RunFilter(request_id=asked.request_id), limit=1)
        if earlier:
            return earlier[0].conversation_id
        rows = await self._cell.store.conversations(surface=asked.client_type, limit=_LOOKED_THROUGH)
        current = next((row.id for row in rows if is_temporary(row) == asked.temporary), None)
        if current is None and asked.temporary:
            return await self._cell.conversations.open(asked.client_type, {TEMPORARY: True})
        return current

    async def _stopped(self, accepted: Accepted) -> RunRow:
        """Wait until the run has ended or asks its person something."""
        news = asyncio.Event()

        def hear(item: Item) -> None:
            if isinstance(item, Stored) and item.event.type in _STOPS:
                news.set()  # also by the end that comes before its conversation is erased

        leave = self._cell.feed.listen(accepted.run.id, hear)
        try:
            while True:
                news.clear()
                run = await self._cell.conversations.run(accepted.run.id)
                if run.state.ended or run.state is RunState.WAITING:
                    return run
                await news.wait()
        finally:
            leave()

    async def get_process(self, request: Request) -> Response:
        """The answer to an earlier request, or how it stands."""
        which = RunFilter(request_id=request.path_params["request_id"])
        runs = await self._cell.store.runs(which)
        if not runs:
            return tom_error("Request not found", 404)
        if not runs[-1].state.ended and runs[-1].state is not RunState.WAITING:
            return JsonAnswer({"status": "OK", "state": "running"})
        return JsonAnswer(await process_body(self._cell, runs[-1]))

    async def reset(self, request: Request) -> Response:
        """End the current conversation of one client type and begin a new one; nothing is deleted."""
        try:
            client_type = read_client_type(await _body_of(request, MAX_SMALL_BODY, optional=True))
            begun = await self._cell.afresh.begin(client_type)
        except (InvalidRequest, InvalidJson) as error:
            return tom_error(error.message)
        except TomError as error:
            return tom_error(error.message, error.http_status)
        return JsonAnswer(
            {
                "status": "OK",
                "message": f"Conversation history reset for {client_type} client",
                "client_type": client_type,
                "conversation_id": begun.new,
                "previous_conversation_id": begun.old,
            }
        )

    # --- looking -----------------------------------------------------------------------------------------------

    async def tasks(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """What is going on in the background; ``id`` changes only when the list does."""
        tasks = await self._background.tasks()
        return JsonAnswer({"background_tasks": tasks, "id": self._background.number})

    async def status(self, request: Request) -> Response:  # noqa: ARG002
        """The services and how they are."""
        modules = [_module(status) for status in self._cell.toolbox.status()]
        body = {"status": "OK", "message": "MCP modules status", "modules_count": len(modules), "modules": modules}
        return JsonAnswer(body)

    async def notifications(self, request: Request) -> Response:
        """The list of notifications."""
        query = request.query_params
        if query.get("status", "unread") not in {"unread", "all"}:
            return tom_error("status must be unread or all")
        limit = query.get("limit", "50")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= 200:
            return tom_error("limit must be a whole number from 1 to 200")
        return JsonAnswer({"status": "OK", "message": "Notifications", "notifications": [], "unread": 0, "next": None})

    async def change_notifications(self, request: Request) -> Response:
        """Mark as read or delete."""
        try:
            value = await _body_of(request, MAX_SMALL_BODY)
        except InvalidJson as error:
            return tom_error(error.message)
        except TomError as error:
            return tom_error(error.message, error.http_status)
        if not isinstance(value, dict) or set(cast("dict[str, Any]", value)) not in ({"read"}, {"delete"}):
            return tom_error("Use one of: read, delete")
        return JsonAnswer({"status": "OK", "changed": 0, "unread": 0})


async def _body_of(request: Request, limit: int, *, optional: bool = False) -> Any:
    """The JSON body; None for none. Raises `InvalidJson`, `InvalidRequest`, `PayloadTooLarge`."""
    body = await read_body(request, limit)
    if not body.strip():
        if optional:
            return None
        message = "No request data provided"
        raise InvalidRequest(message)
    return parse_body(body)


def _module(status: Any) -> Mapping[str, Any]:
    module: dict[str, Any] = {
        "name": status.name,
        "status": status.status,
        "description": status.description,
        "complexity": status.complexity,
        "tools_count": status.tools_count,
        "enabled": status.enabled,
        "url": status.url,
        "llm": status.llm,
    }
    if status.error:
        module["error"] = status.error
    if status.pin_changed:
        module["pin_changed"] = True
    return module
