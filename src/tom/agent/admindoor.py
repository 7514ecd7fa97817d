"""The admin routes of an agent alone, and those by which the gateway asks an agent on its admins' behalf."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.adminhouse import AgentHouse, apply_change, connected, session_list
from tom.agent.answering import JsonAnswer, chat_error
from tom.agent.cell import Cell
from tom.agent.guarding import caller_of, guarded, json_body
from tom.agent.metricsdoor import GATEWAY
from tom.audit.asked import Answer, Asked, Page, read_change, read_state
from tom.audit.chain import Chain
from tom.audit.desk import Desk
from tom.audit.gate import AdminGate
from tom.errors import NotFoundHere, TomError
from tom.limits.addresses import Peers
from tom.openapi.operations import HOUSE, Operation
from tom.policy.permissions import Scope
from tom.telemetry.refusals import tell_refusal

type Endpoint = Callable[[Request], Awaitable[Response]]

HEADER = "x-admin-token"
MOST_SESSIONS = 10_000
_WITH_BODY = frozenset({"POST", "PUT"})
_CHANGE = Operation("PUT", "/internal/settings", "changeSettings", None)


@dataclass(frozen=True, slots=True)
class Admin:
    """Who is let in as an admin, what is done for them and by whom, and what is recorded of it."""

    gate: AdminGate
    desk: Desk
    house: AgentHouse
    chain: Chain


class AdminDoor:
    """``/admin/…``: the desk over HTTP."""

    def __init__(self, cell: Cell, admin: Admin) -> None:
        """Serve admins of ``cell``."""
        self._cell = cell
        self._admin = admin
        self._peers = Peers(cell.settings.doors.trusted_proxies)

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route(row.path.replace("{ip}", "{ip:path}"), self._answering(row), methods=[row.method], name=row.name)
            for row in HOUSE
            if row.scope is Scope.ADMIN
        ]

    async def check(self, request: Request) -> str:
        """Who the admin is, in the record. Raises what `AdminGate.check` raises."""
        caller = caller_of(request)
        if caller.may(Scope.ADMIN):
            return caller.door if caller.door == "control" else caller.user
        return await self._admin.gate.check(request.headers.get(HEADER), address_of(request, self._peers))

    async def shows_token(self, request: Request) -> bool:
        """Whether an admin asks who may see more than others."""
        caller = caller_of(request)
        return caller.may(Scope.ADMIN) or await self._admin.gate.shows(
            request.headers.get(HEADER), address_of(request, self._peers)
        )

    def _answering(self, row: Operation) -> Endpoint:
        endpoint = self._admin.desk.endpoints[row.name]

        async def carry_out(request: Request) -> Response:
            caller = caller_of(request)
            asked = Asked(
                who=request.scope["tom.admin"],
                source=address_of(request, self._peers) or caller.door,
                query=dict(request.query_params),
                params=dict(request.path_params),
                body=await json_body(request, row) if row.method in _WITH_BODY else {},
            )
            return rendered(await endpoint(asked))

        inner = guarded(self._cell, row, carry_out)

        async def answer(request: Request) -> Response:
            try:
                request.scope["tom.admin"] = await self.check(request)
            except TomError as error:
                tell_refusal(error, operation=row.name)
                return chat_error(error, request.scope["tom.request_id"])
            caller = caller_of(request)
            request.scope["tom.caller"] = replace(caller, scopes=caller.scopes | {Scope.ADMIN})
            return await inner(request)

        return answer


class InternalDoor:
    """``/internal/…``: what an agent tells its gateway, and nobody else, for the admins of the house."""

    def __init__(self, cell: Cell) -> None:
        """Tell of ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/internal/sessions", self._only_gateway(self._sessions), methods=["GET"]),
            Route("/internal/state", self._only_gateway(self._state), methods=["GET"]),
            Route("/internal/settings", self._only_gateway(self._change), methods=["PUT"]),
        ]

    def _only_gateway(self, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            try:
                if caller_of(request).door != GATEWAY:
                    raise NotFoundHere
                return await endpoint(request)
            except TomError as error:
                return chat_error(error, request.scope["tom.request_id"])

        return answer

    async def _sessions(self, request: Request) -> Response:
        """The newest sessions, without a text; paging is the gateway's, over all of its agents."""
        first = request.query_params.get("first", "0")
        page = Page(min(int(first), MOST_SESSIONS) if first.isdecimal() else 0, 0)
        return JsonAnswer({"sessions": await session_list(self._cell, page, read_state(request.query_params))})

    async def _state(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        return JsonAnswer(state_of(self._cell))

    async def _change(self, request: Request) -> Response:
        field, value = read_change(await json_body(request, _CHANGE))
        return JsonAnswer({"value": apply_change(self._cell, field, value)})


def address_of(request: Request, peers: Peers) -> str:
    """Where a request comes from, as ``peers`` tell it where it has not been looked at; empty at a Unix socket."""
    if (known := caller_of(request).address) or request.client is None:
        return known
    headers = {b"x-forwarded-for": ",".join(request.headers.getlist("x-forwarded-for")).encode("latin-1")}
    return peers.address(request.client.host, headers)


def rendered(answer: Answer) -> Response:
    """An answer of the desk over HTTP."""
    headers = {"Cache-Control": "no-store"}
    if answer.status == 204:
        return Response(status_code=204, headers=headers)
    return JsonAnswer(answer.body, answer.status, headers)


def state_of(cell: Cell) -> dict[str, Any]:
    """How the parts of an agent are, without a name of anybody's conversation."""
    return {
        "services": {status.name: status.status for status in cell.toolbox.status()},
        "connected": connected(cell),
        "archive_lag_seconds": round(cell.archive_lag(), 3),
        "archive_behind": bool(cell.mirror and cell.mirror.state()["archive_behind"]),
        "limiter": cell.rates.limiter.backend,
    }
