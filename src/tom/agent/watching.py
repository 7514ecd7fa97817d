"""What is counted and logged of each request over HTTP, whatever becomes of it."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tom.agent.cell import Cell
from tom.agent.tally import TOLD_FAILED_RUN
from tom.errors import RateLimited, TomError
from tom.openapi.operations import OPERATIONS
from tom.telemetry import logs
from tom.telemetry.refusals import tell_refusal

type Scope = MutableMapping[str, Any]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

access_log = logs.get("access")

_PROCESS: Final = "/process"
_QUIET: Final = frozenset({"/health", "/health/ready", "/metrics", "/internal/numbers"})
_PARAMETER: Final = re.compile(r"\\\{\w+\\\}")
_COUNTED: Final = tuple(
    (re.compile(_PARAMETER.sub("[^/]+", re.escape(path))), method, path)
    for method, path in (*((one.method, one.path) for one in OPERATIONS if one.counted), ("POST", _PROCESS))
)


class Watching:
    """Accompanies the requests of one agent."""

    def __init__(self, cell: Cell, *, alone: bool) -> None:
        """``alone``: this agent is the door, so each request has its line in the log; else the gateway writes it."""
        self._cell = cell
        self._alone = alone

    def refused(self, error: TomError, operation: str) -> None:
        """Take note that somebody was refused before there was an operation to guard."""
        tell_refusal(error, operation=operation)
        if self._cell.metrics is not None and isinstance(error, RateLimited):
            self._cell.metrics.rate_limited()

    async def serve(self, scope: Scope, send: Send, work: Callable[[Send], Awaitable[None]]) -> None:
        """Let ``work`` answer a request through the `Send` that it is given, and take note of how it went."""
        metrics, clock = self._cell.metrics, self._cell.clock
        route = counted_route(scope["method"], scope["path"]) if metrics is not None else None
        if metrics is not None and route is not None:
            metrics.request(scope["method"])
        started, status = clock.monotonic(), 0

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await work(noting)
        finally:
            seconds = clock.monotonic() - started
            if metrics is not None and route is not None and status:
                metrics.answer(scope["method"], route, status, seconds, failed_run=scope.get(TOLD_FAILED_RUN, ""))
            if self._alone:
                _tell(scope, status, seconds)


def counted_route(method: str, path: str) -> str | None:
    """The template of a request that counts as one, None for every other."""
    if method != "POST":
        return None
    return next((route for pattern, wanted, route in _COUNTED if wanted == method and pattern.fullmatch(path)), None)


def template_of(scope: Scope) -> str:
    """The route's path as declared: what the client sent may hold anything."""
    route = scope.get("route")
    return getattr(route, "path", "(no route)")


def _tell(scope: Scope, status: int, seconds: float) -> None:
    path = template_of(scope)
    milliseconds = round(seconds * 1000, 1)
    tell = access_log.debug if path in _QUIET else access_log.info
    client = scope.get("client")
    caller = scope.get("tom.caller")
    tell(
        f"📤 {scope['method']} {path} {status or '-'} {milliseconds} ms",
        event="request_completed",
        method=scope["method"],
        path=path,
        client_ip=(caller.address if caller else "") or (str(client[0]) if client else ""),
        status_code=status,
        duration_ms=milliseconds,
    )
