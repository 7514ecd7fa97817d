"""An agent alone under somebody else's ASGI server: opened and closed with the server's lifespan.

One process serves one history: a second worker finds it locked, and its start is refused in the words of the lock.
"""

import asyncio
import ipaddress
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tom import ids
from tom.agent.answering import chat_error
from tom.errors import OperatorError, WrongHost

type Message = MutableMapping[str, Any]
type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]


UNWRITTEN = "Write chat.auth to let others than this machine in"


@dataclass(slots=True)
class Outside:
    """What an agent and the server around it tell each other."""

    ready: asyncio.Future[App]
    """The agent's own application, when it serves."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """The server asks it to end."""


class UnderServer:
    """The ASGI application. ``live`` opens the agent, serves until told to stop, and closes it."""

    def __init__(self, live: Callable[[Outside], Awaitable[int]], *, loopback_only: bool, why: str = UNWRITTEN) -> None:
        """``loopback_only``: connections that came to any other address of this machine are refused, and told ``why``."""
        self._why = why
        self._live = live
        self._loopback_only = loopback_only
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._app is None:
            message = "an agent needs a server that runs the lifespan: leave out --lifespan off"
            raise RuntimeError(message)
        elif self._loopback_only and not _came_to_loopback(scope):
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        outside = Outside(asyncio.get_running_loop().create_future())
        async with asyncio.TaskGroup() as group:
            living = group.create_task(self._lived(outside))
            await asyncio.wait([living, outside.ready], return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                await send({"type": "lifespan.startup.failed", "message": living.result()})
                return
            self._app = outside.ready.result()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            outside.stopping.set()
        await send({"type": "lifespan.shutdown.complete"})

    async def _lived(self, outside: Outside) -> str:
        """Live to the end; why it could not begin."""
        try:
            await self._live(outside)
        except OperatorError as error:
            return error.message
        finally:
            self._app = None
        if not outside.stopping.is_set():  # an admin wants it started again: the server ends, and its supervisor does
            signal.raise_signal(signal.SIGTERM)
        return ""

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused, request_id = WrongHost(self._why), ids.ulid()
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refused.message})
            return
        answer = chat_error(refused, request_id)
        answer.headers["X-Request-ID"] = request_id
        await answer(scope, receive, send)


def _came_to_loopback(scope: Scope) -> bool:
    """Whether the address that was called is one of this machine alone."""
    server = scope.get("server")
    if server is None or server[1] is None:
        return True  # a Unix socket: its directory says who may
    try:
        return ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return server[0] == "localhost"
