"""What each route does. The proxied ones are one list: a further one costs a line."""

import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from tom.errors import PayloadTooLarge, UnsupportedMediaType, UpgradeRequired
from tom.gateway.app import TICKET_PATH
from tom.gateway.documents import document_routes
from tom.gateway.login import LoginDoor
from tom.gateway.pool import Pool
from tom.gateway.proxy import Door, Proxy
from tom.gateway.request import Reply, Request, json_reply, page_reply
from tom.gateway.table import Access, Origin, Route
from tom.gateway.tokens import TokenDoor
from tom.openapi import operations
from tom.openapi.operations import Dialect, Rate
from tom.policy.permissions import Scope
from tom.telemetry.health import Uptime, health_body
from tom.telemetry.numbers import Numbers

_MIB: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Passed:
    """A route that is passed on, with what its caller's credential must reach."""

    method: str
    path: str
    door: Door
    scope: Scope | None
    counted: bool = False
    rate: Rate = Rate.NONE
    instead: Scope | None = None
    also: Scope | None = None


_TOM: Final = Door(Dialect.TOM)
_PROCESS: Final = Door(Dialect.TOM, limit=_MIB, process=True)

_OF_TOM: Final = (
    Passed("POST", "/process", _PROCESS, Scope.CHAT, counted=True),
    Passed("GET", "/process/{request_id}", _TOM, Scope.CHAT),
    Passed("POST", "/reset", _TOM, Scope.CHAT),
    Passed("GET", "/tasks", _TOM, Scope.READ),
    Passed("GET", "/status", _TOM, Scope.READ),
    Passed("GET", "/notifications", _TOM, Scope.NOTIFICATIONS),
    Passed("POST", "/notifications", _TOM, Scope.NOTIFICATIONS),
)
PROXIED: Final = (
    *_OF_TOM,
    *(
        Passed(
            row.method,
            row.path,
            Door(row.dialect, row.limit),
            row.scope,
            row.counted,
            row.rate,
            row.instead,
            row.also,
        )
        for row in operations.OPERATIONS
        if not row.house
    ),
)
"""What the caller's own agent answers: the routes of Tom, and the chat door's as its table has them."""


class Health:
    """``/health`` and ``/health/ready``."""

    def __init__(
        self,
        uptime: Uptime,
        pool: Pool,
        tls_state: Callable[[], str],
        numbers: Callable[[], Numbers | None],
        details: Callable[[Request], Awaitable[Mapping[str, Any] | None]],
    ) -> None:
        """``tls_state``: a word for the certificate's condition; ``numbers``: what was counted, None where nothing is.

        ``details``: how each part is, for an admin; None for everybody else.
        """
        self._uptime = uptime
        self._details = details
        self._numbers = numbers
        self._pool = pool
        self._tls_state = tls_state
        self.ready = False

    async def live(self, request: Request) -> Reply:
        """``GET /health``: no user names, no versions; for an admin how each part is."""
        body: dict[str, Any] = {**health_body(self._uptime, self._numbers()), **self._parts()}
        details = await self._details(request)
        return json_reply(body if details is None else body | {"details": {**details, **self._parts()}})

    async def readiness(self, _request: Request) -> Reply:
        """``GET /health/ready``."""
        return json_reply({"ready": self.ready, **self._parts()}, 200 if self.ready else 503)

    def _parts(self) -> dict[str, Any]:
        return {"tls": self._tls_state(), "agents": self._pool.counts()}


def token_routes(door: TokenDoor) -> list[Route]:
    """A person's tokens, and tickets for sockets."""
    ticket = operations.operation("POST", TICKET_PATH)
    return [
        Route("GET", "/tokens", Access.LOGIN, door.list),
        Route("POST", "/tokens", Access.LOGIN, door.create),
        Route("DELETE", "/tokens/{id}", Access.LOGIN, door.revoke),
        Route(
            ticket.method,
            ticket.path,
            Access.CALLER,
            door.ticket,
            dialect=Dialect.CHAT,
            scope=ticket.scope,
            rate=ticket.rate,
            counts_caller=True,
        ),
    ]


def own_routes(door: LoginDoor, health: Health, endpoint: str) -> list[Route]:
    """The routes that the gateway answers itself; ``endpoint`` is the socket's path."""
    return [
        Route("GET", "/", Access.LOGIN, _index),
        Route("GET", "/index", Access.LOGIN, _index),
        Route("GET", "/auth", Access.OPEN, door.show),
        Route("POST", "/auth", Access.OPEN, door.log_in, origin=Origin.ALWAYS),
        Route("GET", "/login", Access.OPEN, door.go_to_form),
        Route("POST", "/login", Access.OPEN, door.log_in, origin=Origin.ALWAYS),
        Route("GET", "/logout", Access.OPEN, door.log_out_by_link),
        Route("POST", "/logout", Access.OPEN, door.log_out, origin=Origin.EITHER),
        Route("GET", "/health", Access.OPEN, health.live, quiet=True),
        Route("GET", "/health/ready", Access.OPEN, health.readiness, quiet=True),
        Route("GET", "/static/{path:path}", Access.OPEN, _page_route, quiet=True),
        Route("POST", "/page/render", Access.LOGIN, _page_route, quiet=True),
        *document_routes(),
        Route("GET", endpoint, Access.CALLER, _not_a_socket, dialect=Dialect.CHAT, scope=Scope.CHAT),
    ]


def proxied_routes(proxy: Proxy) -> Iterable[Route]:
    """The routes that the caller's own agent answers."""
    for row in PROXIED:
        passing_on = _passing_on(proxy, row.door)
        yield Route(
            row.method,
            row.path.replace("{model}", "{model:path}"),  # a model's name may have slashes
            Access.CALLER,
            passing_on,
            dialect=row.door.dialect,
            scope=row.scope,
            instead=row.instead,
            also=row.also,
            counted=row.counted,
            rate=row.rate,
        )


def login_page(*, next_path: str, error: str | None = None, retry_after: float | None = None) -> str:
    """The login form, from the page's own package, which is imported when it is first needed."""
    return page().login_page(next_path=next_path, error=error, retry_after=retry_after)


@cache
def page() -> Any:
    """`tom.gateway.page`: it costs more to import than the rest of the gateway."""
    return importlib.import_module("tom.gateway.page")


@cache
def _page_endpoints() -> dict[str, Any]:
    return {route.path: route for route in page().page_routes()}


async def _index(request: Request) -> Reply:
    principal = request.identity.principal
    return page_reply(page().index_page(user=principal.user if principal else ""))


async def _page_route(request: Request) -> None:
    """Let one of the page's own endpoints answer."""
    path = "/page/render" if request.path == "/page/render" else "/static/{path:path}"
    headers = [header for header in request.scope["headers"] if header[0] != b"x-request-id"]
    headers.append((b"x-request-id", request.request_id.encode()))
    scope = {**request.scope, "headers": headers, "path_params": dict(request.params)}
    await _page_endpoints()[path].app(scope, request.receive, request.send)


async def _not_a_socket(_request: Request) -> Reply:
    raise UpgradeRequired


def _passing_on(proxy: Proxy, door: Door) -> Callable[[Request], Any]:
    async def pass_on(request: Request) -> None:
        if request.method in {"POST", "PUT", "PATCH"} and _has_body(request):
            if int(request.headers.get(b"content-length", b"0")) > door.limit:
                raise PayloadTooLarge(limit=door.limit)
            if not request.is_json:
                raise UnsupportedMediaType
        await proxy.serve(request, door)

    return pass_on


def _has_body(request: Request) -> bool:
    return request.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in request.headers
