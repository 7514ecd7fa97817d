"""One HTTP/1.1 exchange with an agent over its Unix socket.

A connection is made for each exchange: on a Unix socket that costs less than keeping, checking and sharing open ones,
and an agent that was stopped meanwhile is noticed when connecting, before anything was sent.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Iterable
from typing import Final

import httptools

from tom.policy.permissions import Caller
from tom.spawner.unixpath import reachable

CONNECT_SECONDS: Final = 5.0
_HIGH_WATER: Final = 262_144
_MOST_HEADERS: Final = 100
_LARGEST_HEAD: Final = 65_536
_FORBIDDEN: Final = re.compile(rb"[\r\n\x00]")

type Header = tuple[bytes, bytes]


class LinkError(OSError):
    """The exchange failed."""


class NotReachable(LinkError):
    """Nobody listens; nothing was sent."""


class TimedOut(LinkError):
    """No byte came in time."""


class Broken(LinkError):
    """The connection ended, or what came was not HTTP."""


class Exchange(asyncio.Protocol):
    """The answer to one request as it arrives. Above: the proxy and the pool."""

    def __init__(self, *, without_body: bool = False) -> None:
        """``without_body``: the request is a HEAD, so the answer ends with its headers."""
        self.status = 0
        self.headers: list[Header] = []
        self._without_body = without_body
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._headers = 0
        self._header_bytes = 0
        self._beside_body = 0
        self._started = False
        self._complete = False
        self._until_closed = True
        self._failure: Broken | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    # --- what the proxy calls -------------------------------------------------------------------------------------

    async def head(self, seconds: float) -> None:
        """Wait for status and headers, ``seconds`` in all. Raises `TimedOut`, `Broken`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._started:
                    await self._wait(seconds)
        except TimeoutError:
            raise TimedOut(f"no answer in {seconds:g} s") from None

    async def chunk(self, seconds: float) -> bytes:
        """The next piece of the body, empty at its end. Raises `TimedOut` when no byte came for ``seconds``, `Broken`."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait(seconds)
        if len(self._chunks) == 1:
            content = self._chunks.popleft()
        else:
            content = b"".join(self._chunks)
            self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return content

    async def body(self, seconds: float, limit: int = 1_048_576) -> bytes:
        """The whole of a short body. Raises `Broken` when it is longer than ``limit``."""
        content = bytearray()
        while piece := await self.chunk(seconds):
            content += piece
            if len(content) > limit:
                raise Broken("the answer is too long")
        return bytes(content)

    def close(self) -> None:
        """End the exchange; the agent's run, if one was begun, goes on."""
        if self._transport:
            self._transport.close()

    async def _wait(self, seconds: float) -> None:
        if self._failure:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            raise TimedOut(f"no byte in {seconds:g} s") from None
        finally:
            self._waiter = None

    # --- what the loop calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._complete or self._failure:
            return
        self._beside_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error.__context__ or error}")
        # Whatever brings no body is bounded: a head or a trailer without end, and interim answers.
        if self._beside_body > _LARGEST_HEAD:
            self._fail("the head is too large")
        if self._failure:
            self._wake()
            return
        if self._buffered > _HIGH_WATER and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The agent has closed, or died."""
        if self._started and self._until_closed and exc is None:
            self._complete = True
        if not self._complete:
            self._fail(str(exc or "the connection ended"))
        self._wake()

    # --- what the parser calls ------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer, of an interim answer, or a trailer, which is only counted."""
        self._headers += 1
        self._header_bytes += len(name) + len(value)
        if self._headers > _MOST_HEADERS or self._header_bytes > _LARGEST_HEAD:
            raise Broken("the headers are too large")
        if self._started:
            return
        lowered = name.lower()
        if lowered in {b"content-length", b"transfer-encoding"}:
            self._until_closed = False
        self.headers.append((lowered, value))

    def on_headers_complete(self) -> None:
        """The answer begins; an interim answer (1xx) is skipped."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = []
            return
        self.status = status
        self._started = True
        if self._without_body or status in {204, 304}:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._beside_body = 0
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """The body is whole."""
        if self._started:
            self._complete = True

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or Broken(reason)
        if self._transport:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


async def exchange(socket: str, method: str, target: bytes, headers: Iterable[Header], body: bytes = b"") -> Exchange:
    """Send a request to the agent at ``socket``; the answer is read from what is returned. Raises `NotReachable`.

    ``target`` is the path with its query, as it goes on the wire. ``headers`` have no ``Host`` and no length.
    """
    loop = asyncio.get_running_loop()
    head = render_head(method, target, headers, length=len(body) if body or method != "GET" else None)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            with reachable(socket) as address:
                transport, link = await loop.create_unix_connection(
                    lambda: Exchange(without_body=method == "HEAD"), address
                )
    except (OSError, TimeoutError) as error:
        raise NotReachable(str(error)) from error
    transport.write(head + body)
    return link


def render_head(method: str, target: bytes, headers: Iterable[Header], *, length: int | None) -> bytes:
    """The bytes of a request's head; ``length`` None: there is no body. `ValueError` for what would be another line."""
    headers = list(headers)
    if any(_FORBIDDEN.search(text) for text in (target, *(part for header in headers for part in header))):
        raise ValueError("a line of the head has an end of its own")
    lines = [b"%s %s HTTP/1.1\r\nhost: agent\r\n" % (method.encode("ascii"), target)]
    lines.extend(b"%s: %s\r\n" % header for header in headers)
    if length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    lines.append(b"\r\n")
    return b"".join(lines)


async def ask(socket: str, target: str, headers: Iterable[Header], *, seconds: float) -> tuple[int, bytes]:
    """GET something short; returns status and body. ``seconds`` are for all of it. Raises `LinkError`."""
    try:
        async with asyncio.timeout(seconds):
            link = await exchange(socket, "GET", target.encode(), headers)
            with contextlib.closing(link):
                await link.head(seconds)
                return link.status, await link.body(seconds)
    except TimeoutError:
        raise TimedOut(f"no answer in {seconds:g} s") from None


def link_headers(
    user: str, secret: str, request_id: str, door: str = "cookie", *, caller: Caller | None = None
) -> list[Header]:
    """What the gateway adds to every request: who is calling, proven by the agent's own secret.

    With a ``caller`` also how far they reach, how they are called where rates are counted, and from where they come.
    """
    headers = [
        (b"x-tom-user", user.encode()),
        (b"x-tom-door", (caller.door if caller else door).encode()),
        (b"x-tom-agent-secret", secret.encode()),
        (b"x-request-id", request_id.encode()),
    ]
    if caller is not None:
        headers += [
            (b"x-tom-scopes", " ".join(sorted(caller.scopes)).encode()),
            (b"x-tom-key", caller.key.encode()),
            (b"x-tom-address", caller.address.encode("latin-1", "replace")),
        ]
    return headers
