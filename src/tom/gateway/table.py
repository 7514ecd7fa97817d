"""The routes of the gateway: each with its access, its dialect and its endpoint. What is not here does not exist."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tom.errors import MethodNotAllowed, NotFoundHere
from tom.gateway.request import Reply, Request
from tom.openapi.operations import OPERATIONS, Dialect, Rate, first_of
from tom.policy.permissions import Scope

type Endpoint = Callable[[Request], Awaitable[Reply | None]]

_PRIVATE: Final = frozenset({"ws", *(first_of(row.path) for row in OPERATIONS if not row.house)})
_CHAT: Final = _PRIVATE | {"admin", "metrics", "docs", "openapi.json"}
_PARAMETER: Final = re.compile(r"\{(\w+)(:path)?\}")


class Access(Enum):
    """Who may use a route."""

    OPEN = "open"
    """everybody"""
    LOGIN = "login"
    """whoever has logged in; not a token"""
    CALLER = "caller"
    """a login or a token that has the route's scope"""
    ADMIN = "admin"
    """an admin, with the admin token or without; `tom.gateway.admin` lets them in"""


class Origin(Enum):
    """How a route that changes something is guarded against foreign pages."""

    COOKIE = "cookie"
    """whenever a login cookie is used"""
    ALWAYS = "always"
    """as a login form is, whether or not there is a cookie"""
    EITHER = "either"
    """with a login as `COOKIE`, without one as `ALWAYS`"""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. An endpoint that returns None has answered by itself.

    ``scope`` (or ``instead`` of it, and ``also`` besides) is asked of the caller before the endpoint, and with it an agent, is reached. ``rate``: in which bucket the
    caller's address counts; ``counts_caller``: and the caller too, since no agent does.
    """

    method: str
    path: str
    access: Access
    endpoint: Endpoint
    dialect: Dialect = Dialect.TOM
    origin: Origin = Origin.COOKIE
    counted: bool = False
    quiet: bool = False
    scope: Scope | None = None
    instead: Scope | None = None
    also: Scope | None = None
    rate: Rate = Rate.NONE
    counts_caller: bool = False


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re.Pattern[str]
    methods: dict[str, Route]


class Table:
    """Finds the route of a request by its path as the server decoded it, never by a rebuilt URL."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Exact paths are looked up first, then those with ``{parameters}`` in their order."""
        self.routes = list(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, _Pattern] = {}
        for route in self.routes:
            if "{" in route.path:
                pattern = self._patterns.setdefault(route.path, _Pattern(_compile(route.path), {}))
                methods = pattern.methods
            else:
                methods = self._exact.setdefault(route.path, {})
            methods[route.method] = route

    def find(self, request: Request) -> Route:
        """The route; its parameters are put into the request. Raises `NotFoundHere`, `MethodNotAllowed`."""
        methods: Mapping[str, Route] | None = self._exact.get(request.path)
        if methods is None:
            methods = self._match(request)
        method = "GET" if request.method == "HEAD" else request.method
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowed({*methods, *(["HEAD"] if "GET" in methods else [])})
        return route

    def _match(self, request: Request) -> Mapping[str, Route]:
        for pattern in self._patterns.values():
            match = pattern.regex.fullmatch(request.path)
            if match:
                request.params = match.groupdict()
                return pattern.methods
        raise NotFoundHere


def dialect_of(path: str) -> Dialect:
    """How errors are worded where no route was found."""
    first = first_of(path)
    if first == "v1":
        return Dialect.OPENAI
    return Dialect.CHAT if first in _CHAT else Dialect.TOM


def asks_who_first(path: str) -> bool:
    """Whether a caller must say who they are before they learn what there is: at the chat door, unlike at Tom's routes."""
    return first_of(path) in _PRIVATE


def _compile(path: str) -> re.Pattern[str]:
    parts: list[str] = []
    end = 0
    for match in _PARAMETER.finditer(path):
        parts.append(re.escape(path[end : match.start()]))
        parts.append(f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})")
        end = match.end()
    return re.compile("".join([*parts, re.escape(path[end:])]), re.DOTALL)
