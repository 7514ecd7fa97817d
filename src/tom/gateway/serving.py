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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tom.gateway.refusals import StartRefused
from tom.gateway.request import Header, Reply, render_reply
from tom.ids import ulid

MOST_HEADERS: Final = 100
LARGEST_HEAD: Final = 65_536
HEAD_SECONDS: Final = 30.0
KEEP_ALIVE_SECONDS: Final = 75
MOST_CONNECTIONS: Final = 4096
MOST_PER_ADDRESS: Final = 256
LINGER_SECONDS: Final = 1.0
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
    ) -> None:
        """``sockets`` makes the protocol for upgrade requests; None: there are none."""
        http: Any = type("Http", (BoundedHttp,), {"standard_headers": staticmethod(standard_headers)})
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


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with bounds: on connections, and on the head of a request in bytes, in headers and in time."""

    standard_headers: Callable[[str], list[Header]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As the superclass."""
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_open = True
        self._refusal = (400, "The request cannot be read")
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; its first request must come soon."""
        super().connection_made(transport)
        if self._too_many():
            self._ending = True
            transport.abort()
            return
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that has not ended."""
        if self._ending:
            return
        super().data_received(data)
        if self._head_open and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refusal = (431, "The request headers are too large")
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_open, self._head_bytes = True, 0
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_url(self, url: bytes) -> None:
        """A piece of the target; one without end is cut off here."""
        super().on_url(url)
        if len(self.url) > LARGEST_HEAD // 2:
            self._refusal = (414, "The request target is too long")
            raise ValueError("target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; too many end the connection."""
        if len(self.headers) >= MOST_HEADERS or len(name) + len(value) > LARGEST_HEAD:
            self._refusal = (431, "The request headers are too large")
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_open = False
        self._stop_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer is whole. When its request is not, nothing can follow on this connection."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._ending = True
            # Not at once: closing with bytes unread is a reset, which can overtake the answer.
            self._timer = self.loop.call_later(LINGER_SECONDS, self._too_slow)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, in the gateway's own form."""
        del msg
        self._stop_timer()
        status, message = self._refusal
        request_id = ulid()
        body = msgspec.json.encode({"status": "ERROR", "message": message, "request_id": request_id})
        headers = [(b"content-type", b"application/json"), *type(self).standard_headers(request_id)]
        self.transport.write(render_reply(Reply(status, body, headers)))
        self.transport.close()

    def _too_many(self) -> bool:
        """Opened sockets do not count: their callers are known, and they have bounds of their own.

        ``client`` is None on a Unix socket.
        """
        mine = self.client and self.client[0]
        others: Any = [other for other in self.connections if isinstance(other, BoundedHttp)]
        same = sum(1 for other in others if other.client and other.client[0] == mine)
        return len(others) > MOST_CONNECTIONS or same > MOST_PER_ADDRESS

    def _too_slow(self) -> None:
        self._timer = None
        self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
