"""Listeners and the HTTP server on them: uvicorn's protocol on sockets of our own, with limits before any routing."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import uvicorn
from uvicorn.server import ServerState

from tom.errors import TomError
from tom.gateway.problems import error_body
from tom.gateway.refusals import StartRefused
from tom.gateway.request import Header
from tom.gateway.table import dialect_of
from tom.ids import ulid
from tom.limits.boundedhttp import BoundedHttp
from tom.openapi.wording import answer_bytes

KEEP_ALIVE_SECONDS: Final = 75
MOST_CONNECTIONS: Final = 4096
MOST_PER_ADDRESS: Final = 256
_HANDSHAKE_SECONDS: Final = 10.0
_BACKLOG: Final = 1024
_HTTPS: Final = 443
_ALTERNATIVE: Final = 8443


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket; ``context`` None: plain HTTP."""

    socket: socket.socket
    context: ssl.SSLContext | None = None


def bind_https(host: str, port: int | None) -> tuple[socket.socket, str | None]:
    """Bind the public listener; returns it and a warning. Without a ``port``: 443, or 8443 where that is forbidden.

    Raises `StartRefused`.
    """
    try:
        return _bind(host, _HTTPS if port is None else port), None
    except PermissionError:
        if port is not None:
            raise StartRefused([f"❌ Port {port} needs privileges; set global.listen.port"]) from None
    warning = f"⚠️ Port {_HTTPS} needs privileges, using {_ALTERNATIVE}; set global.listen.port to choose another"
    try:
        return _bind(host, _ALTERNATIVE), warning
    except PermissionError:
        raise StartRefused([f"❌ Port {_ALTERNATIVE} needs privileges; set global.listen.port"]) from None


def bind_loopback(host: str, port: int) -> socket.socket:
    """Bind the plain listener. Raises `StartRefused`."""
    try:
        return _bind(host, port)
    except PermissionError:
        raise StartRefused([f"❌ Port {port} needs privileges; set global.listen.loopback_http"]) from None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's algorithm off for what is accepted; without, an answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartRefused([f"❌ Port {port} is already in use"]) from None
        if isinstance(error, PermissionError):
            raise
        raise StartRefused([f"❌ Cannot listen on {host} port {port}: {error.strerror or error}"]) from None
    return listener


class Server:
    """Serves one ASGI application on any number of listeners."""

    def __init__(
        self,
        app: Any,
        *,
        sockets: Callable[..., asyncio.Protocol] | None,
        standard_headers: Callable[[str], list[Header]],
        is_proxy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """``sockets`` makes the protocol for upgrade requests; None: there are none.

        ``is_proxy``: whether many clients may come from an address.
        """
        own = {"standard_headers": staticmethod(standard_headers), "is_proxy": staticmethod(is_proxy)}
        http: Any = type("Http", (GatewayHttp,), own)
        ws: Any = sockets or "none"
        self._config = uvicorn.Config(
            app,
            http=http,
            ws=ws,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []

    async def listen(self, listener: Listener) -> None:
        """Accept connections from now."""
        seconds = _HANDSHAKE_SECONDS if listener.context else None
        server = await asyncio.get_running_loop().create_server(
            self._protocol,
            sock=listener.socket,
            ssl=listener.context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=seconds,
        )
        self._servers.append(server)

    async def listen_unix(self, listener: socket.socket) -> None:
        """Accept connections on a Unix socket."""
        server = await asyncio.get_running_loop().create_unix_server(self._protocol, sock=listener)
        self._servers.append(server)

    async def stop(self, grace: float) -> None:
        """Accept no more, let answers be finished, close sockets with 1012; cut off after ``grace`` seconds."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        # The library tells nobody when its two sets are empty.
        while (self._state.connections or self._state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            transport: Any = connection.transport
            transport.abort()
        await asyncio.sleep(0)

    def _protocol(self) -> asyncio.Protocol:
        factory: Any = self._config.http_protocol_class
        return factory(config=self._config, server_state=self._state, app_state={})


class GatewayHttp(BoundedHttp):
    """One connection of the gateway: how many there are is bounded, in all and from one address."""

    standard_headers: Callable[[str], list[Header]]
    is_proxy: Callable[[str], bool]

    def refusal(self, error: TomError, path: str) -> bytes:
        """In the words of the door that the path leads to."""
        request_id = ulid()
        body = msgspec.json.encode(error_body(error, dialect_of(path), request_id))
        headers = [(b"content-type", b"application/json"), *type(self).standard_headers(request_id)]
        return answer_bytes(error.http_status, headers, body)

    def refuses(self) -> bool:
        """Opened sockets do not count: their callers are known, and they have bounds of their own.

        ``client`` is None on a Unix socket. Behind a trusted proxy there are many: what comes from there is bounded in all.
        """
        mine = self.client and self.client[0]
        others: Any = [other for other in self.connections if isinstance(other, GatewayHttp)]
        if len(others) > MOST_CONNECTIONS:
            return True
        if mine and type(self).is_proxy(mine):
            return False
        return sum(1 for other in others if other.client and other.client[0] == mine) > MOST_PER_ADDRESS
