"""The gateway as an ASGI application: Host, route, who is calling, from which page, then the endpoint.

Authorisation reads the matched route. Every answer, also a refusal, carries the request's id and the security headers.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from tom.errors import AuthenticationRequired, MethodNotAllowed, NotFoundHere, RateLimited, ShuttingDown, TomError
from tom.gateway.csrf import UNSAFE_METHODS
from tom.gateway.gate import Gate
from tom.gateway.headers import with_standard
from tom.gateway.identify import Identity, cleared_cookie
from tom.gateway.problems import InternalError, problem
from tom.gateway.rates import AddressRates
from tom.gateway.refusals import LoginRequired
from tom.gateway.request import ClientGone, Header, Receive, Reply, Request, Scope, Send, join_headers
from tom.gateway.table import Access, Origin, Route, Table, asks_who_first, dialect_of
from tom.openapi.operations import Dialect
from tom.policy.crossorigin import CrossOrigin
from tom.policy.permissions import require_way
from tom.telemetry import logs
from tom.telemetry.metrics import Metrics
from tom.telemetry.refusals import tell_refusal

log = logs.get("gateway")
access_log = logs.get("access")

_COOKIE: Final = b"set-cookie"
TICKET_PATH: Final = "/ws/ticket"


class GatewayApp:
    """Answers HTTP requests; sockets have a door of their own (`tom.gateway.websocket`)."""

    def __init__(
        self,
        gate: Gate,
        table: Table,
        metrics: Metrics | None,
        standard_headers: Callable[[str], list[Header]],
        *,
        cors_origins: Iterable[str] = (),
        socket_origins: Iterable[str] = (),
        rates: AddressRates | None = None,
    ) -> None:
        """``standard_headers`` (by request id) are on every answer; ``rates`` None: nothing is counted.

        ``cors_origins``: foreign pages that may use every route, with a token; ``socket_origins``: those that may open a
        socket, and so ask for a ticket.
        """
        listed = frozenset(cors_origins)
        self._for_pages = CrossOrigin(listed)
        self._for_tickets = CrossOrigin(listed | frozenset(socket_origins))
        self._gate = gate
        self._table = table
        self._metrics = metrics
        self._standard_headers = standard_headers
        self._rates = rates
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = Request(scope, receive, send, join_headers(scope["headers"]))
        request.send = self._finishing(request, send)
        route: Route | None = None
        counted: Route | None = None
        with logs.bind(request_id=request.request_id):
            try:
                counted = self._count(request)
                self._gate.receive(request)
                await self._gate.check_url(request)
                preflight = self._cross_origin(request).preflight(request.method, request.headers)
                if preflight is not None:
                    await request.answer(Reply(204, b"", preflight))
                    return
                route = self._find(request)
                await self._serve(request, route)
            except ClientGone:
                pass
            except TomError as error:
                await self._refuse(request, route, error)
            except Exception as error:  # noqa: BLE001 - the last resort: the caller learns the id, the log the rest
                log.error("❌ A request failed", event="request_failed", path=_template(route), error=error)
                await self._refuse(request, route, InternalError())
            if counted and self._metrics and request.status:
                self._metrics.answer(request.method, counted.path, request.status, time.perf_counter() - started)
            self._account(request, route, started)

    def _count(self, request: Request) -> Route | None:
        """Count a request whose route is counted, whatever it is refused for afterwards; returns that route."""
        if self._metrics is None:
            return None
        try:
            route = self._table.find(request)
        except (NotFoundHere, MethodNotAllowed):
            return None
        if not route.counted:
            return None
        self._metrics.request(request.method)
        return route

    def _find(self, request: Request) -> Route:
        """The route. At the chat door nobody learns what there is before they have said who they are."""
        try:
            return self._table.find(request)
        except (NotFoundHere, MethodNotAllowed):
            if asks_who_first(request.path):
                identity = self._gate.identify(request)
                self._check_page(request, identity, Origin.COOKIE, at_chat=True)
                if identity.principal is None:
                    raise identity.refused or AuthenticationRequired from None
            raise

    def _check_page(self, request: Request, identity: Identity, origin: Origin, *, at_chat: bool) -> None:
        """`OriginNotAllowed` for what a foreign page may be behind; a token is nothing that a page has by itself."""
        if request.method not in UNSAFE_METHODS:
            return
        who = identity.principal
        if (who is not None and who.login is not None) or origin is not Origin.COOKIE:
            self._gate.check_origin(request, logging_in=origin is Origin.ALWAYS or who is None)
        elif at_chat and identity.shows_nothing and not self._cross_origin(request).allows(request.headers):
            self._gate.check_origin(request, logging_in=True)

    async def _serve(self, request: Request, route: Route) -> None:
        identity = self._gate.identify(request)
        self._check_page(request, identity, route.origin, at_chat=route.dialect is not Dialect.TOM)
        _admit(route, identity, request)
        if self._rates is not None:
            named = identity.principal.key if identity.principal and route.counts_caller else ""
            await self._rates.admit(request.address, route.rate, named)
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
        tell_refusal(error, operation=f"{request.method} {_template(route)}")
        if self._metrics and isinstance(error, RateLimited):
            self._metrics.rate_limited()
        if request.status:
            return  # half an answer cannot be taken back; the server closes the connection
        dialect: Dialect = route.dialect if route else dialect_of(request.path)
        await request.answer(problem(request, error, dialect))

    def _cross_origin(self, request: Request) -> CrossOrigin:
        return self._for_tickets if request.path == TICKET_PATH else self._for_pages

    def _finishing(self, request: Request, send: Send) -> Send:
        """Put on every answer what belongs on every answer."""

        async def finish(message: Scope) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                headers = with_standard(message["headers"], self._standard_headers(request.request_id))
                headers += self._cross_origin(request).headers(request.headers)
                if request.identity.stale and not any(name == _COOKIE for name, _ in headers):
                    headers.append((_COOKIE, cleared_cookie(secure=request.secure)))
                message["headers"] = headers
            await send(message)

        return finish

    def _account(self, request: Request, route: Route | None, started: float) -> None:
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


def _admit(route: Route, identity: Identity, request: Request) -> None:
    """Whether this caller may use the route. `AuthenticationRequired`, `InvalidToken`, `ScopeMissing` and their like."""
    if route.access in {Access.OPEN, Access.ADMIN}:
        return
    if identity.principal is None:
        raise identity.refused or AuthenticationRequired
    if route.access is Access.LOGIN and identity.principal.login is None:
        raise LoginRequired
    require_way(identity.principal.caller(request.address), route.scope, route.instead, route.also)


def _template(route: Route | None) -> str:
    """The route's path as declared: what the client sent may hold anything."""
    return route.path if route else "(no route)"
