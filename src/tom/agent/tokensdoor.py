"""``/tokens`` at the control socket of an agent alone, and ``/ws/ticket`` at its doors."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.accounts.refusals import InvalidWish
from tom.accounts.tickets import SECONDS
from tom.accounts.tokens import DEFAULT_DAYS, read_wish
from tom.agent.answering import JsonAnswer, chat_error
from tom.agent.cell import Cell
from tom.agent.doorfile import DoorFile
from tom.agent.guarding import Endpoint, json_body, routes_of
from tom.agent.identify import Admitted
from tom.audit.chain import OPERATOR, Chain
from tom.errors import TomError
from tom.openapi.operations import Operation
from tom.policy.permissions import Scope
from tom.telemetry import logs

log = logs.get("login")

_CREATE: Final = Operation("POST", "/tokens", "createToken", Scope.ADMIN)
_FIELDS: Final = frozenset({"name", "scopes", "expires_in_days"})


class TicketDoor:
    """What a page without a header opens a socket with."""

    def __init__(self, cell: Cell, file: DoorFile) -> None:
        """Issue tickets for the socket of ``cell``."""
        self._cell = cell
        self._tickets = file.tickets

    def routes(self) -> list[Route]:
        """The route of this door."""
        return routes_of(self._cell, {"createTicket": self.create})

    async def create(self, request: Request) -> Response:
        """``POST /ws/ticket``."""
        await json_body(request)
        admitted: Admitted = request.scope["tom.admitted"]
        ticket = self._tickets.issue(admitted, self._cell.settings.chat.endpoint)
        return JsonAnswer({"ticket": ticket, "expires_in": SECONDS}, headers={"Cache-Control": "no-store"})


class TokensDoor:
    """The tokens of an agent alone, for its operator only: it stands at the control socket and nowhere else."""

    def __init__(self, file: DoorFile, user: str, chain: Chain | None = None) -> None:
        """``user``: whose tokens they are; ``chain`` is the record."""
        self._chain = chain
        self._tokens = file.tokens
        self._user = user

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/tokens", _told(self.list), methods=["GET"]),
            Route("/tokens", _told(self.create), methods=["POST"]),
            Route("/tokens/{id}", _told(self.revoke), methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """``GET /tokens``: never the secrets."""
        return JsonAnswer({"tokens": [token.as_json() for token in self._tokens.list(self._user)]})

    async def create(self, request: Request) -> Response:
        """``POST /tokens``: the token is told this once."""
        body = await json_body(request, _CREATE)
        unknown = sorted(body.keys() - _FIELDS)
        if unknown:
            raise InvalidWish(f"Unknown field '{unknown[0][:32]}'")
        days = body.get("expires_in_days", DEFAULT_DAYS)
        wish = read_wish(body.get("name"), body.get("scopes"), days, admin=True)
        token, text = await self._tokens.create(self._user, wish)
        log.info(f"🔑 Token '{token.id}' created", event="token_created", token=token.id)
        await self._note("token.created", token.id, token.as_json())
        return JsonAnswer({"id": token.id, "token": text}, 201)

    async def revoke(self, request: Request) -> Response:
        """``DELETE /tokens/{id}``: also what is open under it ends."""
        token = await self._tokens.revoke(self._user, request.path_params["id"])
        log.info(f"🔑 Token '{token.id}' revoked", event="token_revoked", token=token.id)
        await self._note("token.revoked", token.id)
        return Response(status_code=204)

    async def _note(self, kind: str, identifier: str, after: Any = None) -> None:
        if self._chain is not None:
            await self._chain.note(kind, who=OPERATOR, source="control", subject=identifier, after=after)


def _told(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TomError as error:
            return chat_error(error, request.scope["tom.request_id"])

    return answer
