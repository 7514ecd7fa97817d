"""The gateway as an ASGI application: Host, route, who is calling, from which page, then the endpoint.

Authorisation reads the matched route. Every answer, also a refusal, carries the request's id and the security headers.
"""

import time
from collections.abc import Callable
from typing import Final

from tom.errors import AuthenticationRequired, ShuttingDown, TomError
from tom.gateway.csrf import UNSAFE_METHODS
from tom.gateway.gate import Gate
from tom.gateway.headers import with_standard
from tom.gateway.identify import cleared_cookie
from tom.gateway.problems import Dialect, InternalError, problem
from tom.gateway.request import ClientGone, Header, Receive, Reply, Request, Scope, Send, join_headers
from tom.gateway.table import Access, Origin, Route, Table, dialect_of
from tom.telemetry import logs
from tom.telemetry.health import Counters

log = logs.get("gateway")
access_log = logs.get("access")

_COOKIE: Final = b"set-cookie"


class GatewayApp:
    """Answers HTTP requests; sockets have a door of their own (`tom.gateway.websocket`)."""

    def __init__(
        self, gate: Gate, table: Table, counters: Counters, standard_headers: Callable[[str], list[Header]]
    ) -> None:
        """``standard_headers`` (by request id) are on every answer."""
        self._gate = gate
        self._table = table
        self._counters = counters
        self._standard_headers = standard_headers
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = Request(scope, receive, send, join_headers(scope["headers"]))
        request.send = self._finishing(request, send)
        route: Route | None = None
        with logs.bind(request_id=request.request_id):
            try:
                self._gate.receive(request)
                route = self._table.find(request)
                await self._serve(request, route)
            except ClientGone:
                pass
            except TomError as error:
                await self._refuse(request, route, error)
            except Exception as error:  # noqa: BLE001 - the last resort: the caller learns the id, the log the rest
                log.error("❌ A request failed", event="request_failed", path=_template(route), error=error)
                await self._refuse(request, route, InternalError())
            self._account(request, route, started)

    async def _serve(self, request: Request, route: Route) -> None:
        identity = self._gate.identify(request)
        if request.method in UNSAFE_METHODS and (identity.principal or route.origin is not Origin.COOKIE):
            lenient = route.origin is Origin.ALWAYS or identity.principal is None
            self._gate.check_origin(request, logging_in=lenient)
        if route.access is Access.LOGIN and identity.principal is None:
            raise AuthenticationRequired
        if self.stopping and not route.quiet:
            raise ShuttingDown
        if identity.principal is None:
            reply = await route.endpoint(request)
        else:
            with logs.bind(user=identity.principal.user):
                reply = await route.endpoint(request)
        if isinstance(reply, Reply):
            await request.answer(reply)

    async def _refuse(self, request: Request, route: Route | None, error: TomError) -> None:
        if request.status:
            return  # half an answer cannot be taken back; the server closes the connection
        dialect: Dialect = route.dialect if route else dialect_of(request.path)
        await request.answer(problem(request, error, dialect))

    def _finishing(self, request: Request, send: Send) -> Send:
        """Put on every answer what belongs on every answer."""

        async def finish(message: Scope) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = with_standard(message["headers"], self._standard_headers(request.request_id))
                if request.identity.stale and not any(name == _COOKIE for name, _ in headers):
                    headers.append((_COOKIE, cleared_cookie(secure=request.secure)))
                message["headers"] = headers
            await send(message)

        return finish

    def _account(self, request: Request, route: Route | None, started: float) -> None:
        if route and route.counted:
            self._counters.request()
            self._counters.response(failed=request.status >= 500)
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        tell = access_log.debug if route and route.quiet else access_log.info
        tell(
            f"📤 {request.method} {_template(route)} {request.status or '-'} {milliseconds} ms",
            event="request_completed",
            method=request.method,
            path=_template(route),
            client_ip=request.address,
            status_code=request.status,
            duration_ms=milliseconds,
        )


def _template(route: Route | None) -> str:
    """The route's path as declared: what the client sent may hold anything."""
    return route.path if route else "(no route)"
