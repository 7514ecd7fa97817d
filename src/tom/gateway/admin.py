"""``/admin/…`` of the gateway: the desk over HTTP, for whoever shows the admin token or is an admin of the house.

A login of role ``admin`` or an API token of scope ``admin`` needs no admin token, and works where none is set.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

from tom.audit.asked import Asked
from tom.audit.desk import Desk
from tom.audit.gate import AdminGate
from tom.gateway.jsonbody import json_object
from tom.gateway.refusals import BadRequest
from tom.gateway.request import Reply, Request, json_reply
from tom.gateway.table import Access, Route
from tom.openapi.operations import HOUSE, Dialect, Operation
from tom.policy.permissions import Scope, require

HEADER: Final = b"x-admin-token"
_WITH_BODY: Final = frozenset({"POST", "PUT"})
_MOST_FIELDS: Final = 100


class AdminDoor:
    """Serves admins."""

    def __init__(self, gate: AdminGate, desk: Desk) -> None:
        """``gate`` knows the admin token, ``desk`` does what is asked."""
        self._gate = gate
        self._desk = desk

    def routes(self) -> list[Route]:
        """The routes of this door; its gate checks in the contract's order."""
        return [
            Route(
                row.method,
                row.path.replace("{ip}", "{ip:path}"),
                Access.ADMIN,
                self._answering(row),
                dialect=Dialect.CHAT,
            )
            for row in HOUSE
            if row.scope is Scope.ADMIN
        ]

    async def check(self, request: Request) -> str:
        """Who the admin is, in the record.

        Raises what `AdminGate.check` raises, and `ScopeMissing` for a person who is none and shows no admin token.
        """
        principal, given = request.identity.principal, _shown(request)
        if given is None and principal is not None and Scope.ADMIN in principal.scopes:
            return principal.user
        if given is None and self._gate.enabled:
            if request.identity.refused is not None:
                raise request.identity.refused
            if principal is not None:
                require(principal.caller(request.address), Scope.ADMIN)
        return await self._gate.check(given, request.address)

    async def shows_token(self, request: Request) -> bool:
        """Whether an admin asks who may see more than others."""
        principal = request.identity.principal
        if principal is not None and Scope.ADMIN in principal.scopes:
            return True
        return await self._gate.shows(_shown(request), request.address)

    def _answering(self, row: Operation) -> Callable[[Request], Awaitable[Reply]]:
        endpoint = self._desk.endpoints[row.name]

        async def answer(request: Request) -> Reply:
            who = await self.check(request)
            body = await json_object(request, row.limit) if row.method in _WITH_BODY else {}
            asked = Asked(who, request.address, _query(request), dict(request.params), body)
            told = await endpoint(asked)
            return Reply(204, b"", _UNCACHED) if told.status == 204 else json_reply(told.body, told.status)

        return answer


_UNCACHED: Final = [(b"cache-control", b"no-store")]


def _shown(request: Request) -> str | None:
    given = request.headers.get(HEADER)
    return None if given is None else given.decode("latin-1")


def _query(request: Request) -> dict[str, str]:
    try:
        text = request.scope["query_string"].decode("latin-1")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise BadRequest("The query has too many fields") from None
