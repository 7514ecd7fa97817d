"""Two connections and the bytes between them: a WebSocket's client, and its agent.

The bytes are passed on as they are: the agent answers the handshake, pings, limits and closes. Known here is only where
frames end, to say goodbye between two of them when the agent is gone (1012) or the login has ended (4401).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from uvicorn.protocols.utils import get_remote_addr

from tom.accounts.holding import Holding
from tom.gateway.agentlink import Broken, Exchange
from tom.gateway.frames import FrameTrack, close_frame
from tom.gateway.headers import may_pass, outwards, with_standard
from tom.gateway.pool import Lease
from tom.gateway.request import Header, Reply, Request, join_headers, render_reply

RESTART: Final = 1012
TOO_LARGE: Final = 1009
LARGEST_HEAD: Final = 14
LOGGED_OUT: Final = 4401
_REFUSAL_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 2.0
_ABORT_SECONDS: Final = 5.0
_LONGEST_HEAD: Final = 65_536
_SWITCHED: Final = b"HTTP/1.1 101"


class AgentSide(asyncio.Protocol):
    """The connection to the agent: the handshake's answer, then frames for the client."""

    def __init__(self) -> None:
        """Waits for the answer to the handshake; made inside the running loop."""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.track = FrameTrack()
        self.head = b""
        self._early = b""
        self._client: ClientSide | None = None

    @property
    def switched(self) -> bool:
        """The agent has accepted the socket."""
        return self.head.startswith(_SWITCHED)

    def start(self, client: "ClientSide") -> None:
        """Pass on from now, beginning with what came right behind the handshake."""
        self._client = client
        if self._early:
            self.data_received(self._early)
            self._early = b""
        if self.transport.is_closing():
            client.agent_gone()
        else:
            self.transport.resume_reading()

    async def refusal(self) -> Reply:
        """What the agent answered instead of accepting."""
        link = Exchange()
        link.connection_made(self.transport)
        self.transport.set_protocol(link)
        self.transport.resume_reading()
        with contextlib.closing(link):
            async with asyncio.timeout(_REFUSAL_SECONDS):
                link.data_received(self.head + self._early)
                await link.head(_REFUSAL_SECONDS)
                body = await link.body(_REFUSAL_SECONDS)
        if not may_pass(link.headers, link.status, without_body=not body):
            raise Broken("the answer is not JSON")
        headers = [header for header in outwards(link.headers, link.status) if header[0] != b"content-length"]
        return Reply(link.status, body, headers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Frames for the client, or first the answer to the handshake."""
        client = self._client
        if client is None:
            self._read_head(data)
        elif not client.ending:
            self.track.feed(data)
            client.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The agent has closed, or died."""
        if not self.answered.done():
            self.answered.set_exception(Broken(str(exc or "the connection ended")))
        if self._client:
            self._client.agent_gone()

    def pause_writing(self) -> None:
        """The agent is slow: read no more from the client."""
        if self._client:
            _pause(self._client.transport)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._client:
            _resume(self._client.transport)

    def _read_head(self, data: bytes) -> None:
        self._early += data
        head, end, rest = self._early.partition(b"\r\n\r\n")
        if not end and len(self._early) < _LONGEST_HEAD:
            return
        self.head, self._early = head + end, rest
        self.transport.pause_reading()
        if self.answered.done():
            return
        if end:
            self.answered.set_result(None)
        else:
            self.answered.set_exception(Broken("not HTTP"))


class ClientSide(asyncio.Protocol):
    """The connection to the client after it asked for an upgrade."""

    def __init__(
        self, open_: Callable[["ClientSide", Request], Awaitable[None]], server_state: Any, *, largest: int
    ) -> None:
        """``open_`` is told of the request and calls `relay` or `refuse`; ``server_state`` is the HTTP server's.

        A frame with more than ``largest`` bytes of text is refused here, before it is passed on.
        """
        self.transport: asyncio.Transport
        self.client: tuple[str, int] | None = None
        """Whose connection it is, as the HTTP server's own connections have it."""
        self._open_by = open_
        self._connections: set[Any] = server_state.connections
        self._tasks: set[asyncio.Task[None]] = server_state.tasks
        self._opening: asyncio.Task[None] | None = None
        self.agent: AgentSide | None = None
        """The other side, once they are connected."""
        self._track = FrameTrack(largest + LARGEST_HEAD)
        self._lease: Lease | None = None
        self._release: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.ending = False
        self.gone: Callable[[], None] | None = None
        """Called once when the connection is lost."""

    # --- opening --------------------------------------------------------------------------------------------------

    def relay(self, agent: AgentSide, lease: Lease, held: Holding, headers: list[Header]) -> None:
        """The agent has accepted: tell the client by ``headers`` and connect the two.

        Takes over ``agent`` and ``lease``. The socket ends with ``held``, the login or token it was opened with.

        When the client is gone already nothing happens, and `agent` stays None.
        """
        if self.transport.is_closing():
            return
        self.agent, self._lease = agent, lease
        self._switch(headers)
        agent.start(self)
        self.transport.resume_reading()
        self._release = held.hold(self._logged_out)

    def refuse(self, reply: Reply, headers: list[Header]) -> None:
        """Answer by HTTP and close."""
        self.transport.write(render_reply(Reply(reply.status, reply.body, with_standard(reply.headers, headers))))
        self.transport.close()

    def turn_away(self, headers: list[Header], code: int, reason: str) -> None:
        """Accept by ``headers`` and close at once; nothing of what the client sends is read."""
        if not self.transport.is_closing():
            self._switch(headers)
            self.transport.resume_reading()
            self._say_goodbye(close_frame(code, reason))

    def _switch(self, headers: list[Header]) -> None:
        lines = [b"%s: %s" % header for header in headers]
        self.transport.write(b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *lines, b"", b""]))

    # --- ending ---------------------------------------------------------------------------------------------------

    def agent_gone(self) -> None:
        """The agent's side has ended: after a close frame of its own, which stands, or by its death."""
        self.end(RESTART, "Agent restarting")

    def end(self, code: int, reason: str) -> None:
        """Close the socket with a code, between two frames if that is possible, and leave the agent."""
        if self.ending:
            return
        agent = self.agent
        if agent is None:
            self.transport.close()
            return
        between = agent.track.at_boundary and not agent.track.closed
        self._say_goodbye(close_frame(code, reason) if between else b"")
        agent.transport.close()

    def shutdown(self) -> None:
        """The gateway stops; the name is the HTTP server's."""
        self.end(RESTART, "Service restart")

    def _logged_out(self) -> None:
        self.end(LOGGED_OUT, "Login or token ended")

    def _say_goodbye(self, frame: bytes) -> None:
        """Wait a moment for the client's own close frame, so that ours is not lost in a reset connection."""
        self.ending = True
        _resume(self.transport)
        if frame:
            self.transport.write(frame)
        if self._track.closed:
            self._close()
        else:
            self._timer = asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, self._close)

    def _close(self) -> None:
        if self._timer:
            self._timer.cancel()
        self.transport.close()
        # A peer that reads nothing would keep the connection until its buffer drains.
        self._timer = asyncio.get_running_loop().call_later(_ABORT_SECONDS, self.transport.abort)

    # --- what the loop calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Taken over from the HTTP server, which now delivers the head."""
        self.transport = transport  # type: ignore[assignment]
        self.client = get_remote_addr(self.transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Frames for the agent; the very first time the head of the request."""
        agent = self.agent
        if agent is None:
            if self._opening is None:
                self._open(data)
            elif self.ending:
                self._track.feed(data)
                if self._track.closed:
                    self._close()
            return
        self._track.feed(data)
        if self._track.oversized:
            self.end(TOO_LARGE, "Message too big")
        if not self.ending:
            agent.transport.write(data)
        elif self._track.closed:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; the run goes on."""
        del exc
        self.ending = True
        self._connections.discard(self)
        if self._timer:
            self._timer.cancel()
        if self._release:
            self._release()
        if self.agent:
            self.agent.transport.close()
        if self._lease:
            self._lease.release()
        if self.gone:
            self.gone()

    def pause_writing(self) -> None:
        """The client is slow: read no more from the agent."""
        if self.agent:
            _pause(self.agent.transport)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.agent:
            _resume(self.agent.transport)

    async def _decide(self, request: Request) -> None:
        await self._open_by(self, request)

    def _open(self, head: bytes) -> None:
        self.transport.pause_reading()
        request = _parse(head, self.transport)
        self._opening = asyncio.get_running_loop().create_task(self._decide(request))
        self._tasks.add(self._opening)
        self._opening.add_done_callback(self._tasks.discard)


def _parse(head: bytes, transport: asyncio.Transport) -> Request:
    """The head as the HTTP server has checked and written it anew."""
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    path, _, query = target.partition(b"?")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines) if name]
    client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    scope: dict[str, Any] = {
        "type": "websocket",
        "method": method.decode("ascii"),
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "client": client[:2] if isinstance(client, tuple) else None,
        "server": server[:2] if isinstance(server, tuple) else None,
        "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
    }
    return Request(scope, _nothing_to_receive, _nowhere_to_send, join_headers(headers))


def _pause(transport: asyncio.Transport) -> None:
    """A transport that is closing refuses to be paused or resumed."""
    if not transport.is_closing():
        transport.pause_reading()


def _resume(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


async def _nothing_to_receive() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _nowhere_to_send(message: Any) -> None:
    del message
