"""The agent's ASGI application: identify first, then the door that the path names."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from tom import ids
from tom.accounts.tickets import agreed_protocol
from tom.agent.admindoor import AdminDoor, InternalDoor
from tom.agent.answering import JsonAnswer, chat_error, dialect_at, openai_error, tom_error
from tom.agent.archivedoor import ArchiveDoor
from tom.agent.cell import Cell
from tom.agent.compat import TomDoor
from tom.agent.device import device_of
from tom.agent.documentdoor import DocumentDoor
from tom.agent.entering import enter
from tom.agent.examplesdoor import ExamplesDoor
from tom.agent.exportdoor import ExportDoor, UsageDoor
from tom.agent.healthdoor import HealthDoor
from tom.agent.identify import Admitted, AtControlSocket, Door
from tom.agent.metricsdoor import MetricsDoor
from tom.agent.openaidoor import OpenAIDoor
from tom.agent.policydoor import PolicyDoor
from tom.agent.replay import ReplayDoor
from tom.agent.rest import RestDoor
from tom.agent.rest_asks import AsksDoor
from tom.agent.rest_files import FilesDoor
from tom.agent.revoking import serve_while_held
from tom.agent.routing import DoorRouter, defect
from tom.agent.servicesdoor import ServicesDoor
from tom.agent.socketpath import socket_route
from tom.agent.tokensdoor import TicketDoor, TokensDoor
from tom.agent.watching import Watching, template_of
from tom.agent.websocket import Entry, serve_websocket
from tom.errors import InvalidToken, NotFoundHere, OperatorError, TomError
from tom.openapi.operations import Dialect
from tom.policy.crossorigin import CrossOrigin
from tom.policy.permissions import Scope as Reach
from tom.policy.permissions import require
from tom.telemetry import logs

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logs.get("agent")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CROSS_ORIGIN = b"access-control-"
_SHARED = b"access-control-allow-origin"


def standalone() -> Any:
    """An agent alone for an ASGI server of one's own: ``uvicorn --factory tom.agent.app:standalone``, one worker.

    Settings are found as by `tom agent --standalone`; the data directory is ``TOM_DATA``, else ``./data``. Where they are
    wrong the process ends with status 1 and their lines on stderr.
    """
    from tom.agent.bootstrap import app_alone  # noqa: PLC0415 - the bootstrap imports this module

    try:
        return app_alone()
    except OperatorError as error:
        raise SystemExit(error.message) from None


class AgentApp:
    """Serves one cell through one way of identifying the caller."""

    def __init__(self, cell: Cell, door: Door) -> None:
        """Serve ``cell`` to whom ``door`` lets in."""
        self._cell = cell
        self._door = door
        self.alone = door.alone
        listed = frozenset(cell.settings.chat.allow_origins if door.alone else ())
        self._cross_origin = CrossOrigin(listed, credentials=cell.settings.doors.allow_credentials)
        file = cell.door_file
        self._watching = Watching(cell, alone=door.alone)
        admin = AdminDoor(cell, cell.admin) if cell.admin and door.alone else None
        self._router = DoorRouter(
            [
                *HealthDoor(cell, alone=door.alone, admin=admin).routes(),
                *MetricsDoor(cell, alone=door.alone, admin=admin).routes(),
                *(admin.routes() if admin else ()),
                *(() if door.alone else InternalDoor(cell).routes()),
                *RestDoor(cell).routes(),
                *AsksDoor(cell, alone=door.alone).routes(),
                *FilesDoor(cell).routes(),
                *OpenAIDoor(cell).routes(),
                *TomDoor(cell).routes(),
                *ReplayDoor(cell).routes(),
                *ArchiveDoor(cell).routes(),
                *ServicesDoor(cell).routes(),
                *PolicyDoor(cell).routes(),
                *ExportDoor(cell).routes(),
                *UsageDoor(cell).routes(),
                *DocumentDoor(cell).routes(),
                socket_route(cell.settings.chat.endpoint),
                *(ExamplesDoor().routes() if door.alone else ()),
                *(TicketDoor(cell, file).routes() if file and door.alone else ()),
                *(
                    TokensDoor(file, cell.settings.user, cell.admin.chain if cell.admin else None).routes()
                    if file and isinstance(door, AtControlSocket)
                    else ()
                ),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        headers: dict[bytes, bytes] = dict(scope.get("headers", ()))
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else ids.ulid()
        scope["tom.request_id"] = request_id
        with logs.bind(request_id=request_id):
            if scope["type"] == "websocket":
                await self._websocket(scope, headers, receive, send)
            elif scope["type"] == "http":
                beside = [(b"x-request-id", request_id.encode()), *self._cross_origin.headers(headers)]
                sending = _with_headers(send, beside)
                preflight = self._cross_origin.preflight(scope["method"], headers)
                if preflight is not None:
                    await _Empty(preflight)(scope, receive, sending)
                else:
                    await self._http(scope, receive, sending)

    async def _websocket(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        refused = await self._enter(scope)
        if refused is None and scope["path"] != self._cell.settings.chat.endpoint:
            refused = NotFoundHere()
        if refused is None:
            refused = await self._count_upgrade(scope)
        if refused is not None:
            self._watching.refused(refused, "socket")
            await _refuse_upgrade(scope, receive, send, refused)
            return
        device = device_of(headers.get(b"user-agent", b"").decode("latin-1"))
        plain = wants_plain(scope.get("query_string", b""))
        admitted: Admitted = scope["tom.admitted"]
        entry = Entry(admitted, lambda: self._door.holds(admitted), _protocol(scope), device, plain=plain)
        opening = _with_headers(send, [(b"x-request-id", scope["tom.request_id"].encode())], "websocket.accept")
        await serve_websocket(self._cell, receive, opening, entry)

    async def _enter(self, scope: Scope) -> TomError | None:
        """See `enter`. A defect of ours in it is told like any other, and lets nobody in."""
        try:
            return await enter(self._door, scope)
        except Exception as error:  # noqa: BLE001 - a defect costs one clear answer
            log.error("❌ A defect at the door", event="request_failed", code="internal_error", exception=error)
            return TomError(f"Internal error: {scope['tom.request_id']}")

    async def _count_upgrade(self, scope: Scope) -> TomError | None:
        """Count the opening of a socket, or return the reason to refuse it."""
        try:
            require(scope["tom.caller"], Reach.CHAT)
            await self._cell.rates.admit_upgrade(scope["tom.caller"])
        except TomError as refused:
            return refused
        return None

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(noted: Send) -> None:
            await self._answer(scope, receive, noted)

        await self._watching.serve(scope, send, answer)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = await self._enter(scope)
        if refused is not None:
            self._watching.refused(refused, "door")
            await self._refuse(scope, refused)(scope, receive, send)
            return
        admitted: Admitted = scope["tom.admitted"]
        if admitted.token is None:
            await self._route(scope, receive, send)
        else:
            refuse = self._refuse(scope, InvalidToken())
            await serve_while_held(admitted.token, self._route, scope, receive, send, refuse)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._router(scope, receive, send)
        except ClientDisconnect:
            log.debug("A client left before its request was read", event="client_left", path=template_of(scope))
        except Exception as error:  # noqa: BLE001 - a defect costs one clear answer
            failure = {"code": "internal_error", "path": template_of(scope)}
            log.error("❌ A defect in a request", event="request_failed", **failure, exception=error)
            await defect(scope, self._cell.clock)(scope, receive, send)

    def _refuse(self, scope: Scope, refused: TomError) -> Response:
        if scope["path"] == "/health" and refused.http_status == 401:
            return JsonAnswer({"status": "ok"})
        if dialect_at(scope["path"]) is Dialect.OPENAI:
            return openai_error(refused, scope["tom.request_id"])
        if self._door.alone:
            return chat_error(refused, scope["tom.request_id"])
        return tom_error(refused.message, refused.http_status)


async def _refuse_upgrade(scope: Scope, receive: Receive, send: Send, refused: TomError) -> None:
    """Answer an upgrade by HTTP: nothing was switched."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    answer = chat_error(refused, scope["tom.request_id"])
    headers = [*answer.raw_headers, (b"x-request-id", scope["tom.request_id"].encode())]
    await send({"type": "websocket.http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": bytes(answer.body)})


def _protocol(scope: Scope) -> str | None:
    return agreed_protocol(",".join(scope.get("subprotocols", ())))


def wants_plain(query: bytes) -> bool:
    """Whether a socket asks for documented frames only."""
    return (b"frames", b"plain") in parse_qsl(query)


class _Empty(Response):
    """204 with these headers."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(status_code=204)
        self.raw_headers = headers


def _with_headers(send: Send, beside: list[tuple[bytes, bytes]], begins: str = "http.response.start") -> Send:
    """Have the answer, which ``begins`` so, carry ``beside``; what it says to other origins itself stands."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == begins:
            own = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
            told = any(name == _SHARED for name, _ in own)
            more = [pair for pair in beside if not (told and pair[0].startswith(_CROSS_ORIGIN))]
            message = {**message, "headers": [*own, *more]}
        await send(message)

    return sending
