"""The path of the WebSocket, asked for by a request that does not want to become one."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import chat_error
from tom.agent.guarding import caller_of
from tom.errors import TomError, UpgradeRequired
from tom.policy.permissions import Scope, require

SOCKET = "openSocket"


def socket_route(endpoint: str) -> Route:
    """``GET`` of the socket's path without an upgrade: 426 for whom the socket is open to."""
    return Route(endpoint, _answer, methods=["GET"], name=SOCKET)


async def _answer(request: Request) -> Response:
    try:
        require(caller_of(request), Scope.CHAT)
        raise UpgradeRequired
    except TomError as error:
        return chat_error(error, request.scope["tom.request_id"])
