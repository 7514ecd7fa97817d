"""From a path and a method to its endpoint; what there is not is answered in the words of the door it was sought at."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response
from starlette.routing import Match, Route, Router

from tom.agent.answering import dialect_at, problem, tom_error
from tom.agent.socketpath import SOCKET
from tom.clock import Clock, timestamp
from tom.errors import MethodNotAllowed, NotFoundHere, TomError
from tom.openapi.operations import OPERATIONS

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NAMES = frozenset(operation.name for operation in OPERATIONS) | {SOCKET}


class DoorRouter(Router):
    """Routes of several dialects. A path with another method is 405 with ``Allow``; every other path is 404.

    A path that a route has word for word is that route's, whatever else has parameters that would fit.
    """

    def __init__(self, routes: list[Route]) -> None:
        """The first route that fits is taken."""
        super().__init__(routes, redirect_slashes=False)
        self._table = tuple(routes)
        self._fixed: dict[str, list[Route]] = {}
        for route in routes:
            if "{" not in route.path:
                self._fixed.setdefault(route.path, []).append(route)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the endpoint, or refuse."""
        others: list[Route] = []
        for route in self._fixed.get(scope["path"], self._table):
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope["route"] = route
                scope.update(child)
                await route.handle(scope, receive, send)
                return
            if match is Match.PARTIAL:
                others.append(route)
        await _nowhere(scope, others)(scope, receive, send)


def _nowhere(scope: Scope, others: list[Route]) -> Response:
    dialect, request_id = dialect_at(scope["path"]), scope["tom.request_id"]
    if not others:
        return problem(NotFoundHere(), request_id, dialect)
    told_apart = any(route.name in _NAMES for route in others)
    error = MethodNotAllowed({method for route in others for method in route.methods or ()})
    if told_apart:
        return problem(error, request_id, dialect)
    answer = tom_error(error.message, error.http_status)
    answer.headers["Allow"] = ", ".join(error.allowed)
    return answer


def defect(scope: Scope, clock: Clock) -> Response:
    """The answer to a request that met a defect of ours; the log has more under the request's id."""
    message = f"Internal error: {scope['tom.request_id']}"
    if "tom.operation" not in scope:
        return tom_error(message, 500)
    error = TomError(message, timestamp=timestamp(clock.now()))
    return problem(error, scope["tom.request_id"], scope["tom.operation"].dialect)
