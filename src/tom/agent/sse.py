"""Server-sent events: how they are written, kept alive and sent. A client that goes away stops nothing but its stream."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tom import ids
from tom.agent import frames
from tom.agent.lasting import CUT, left
from tom.telemetry import logs

log = logs.get("agent")

PING = b": ping\n\n"
PING_SECONDS = 15.0
PATIENCE = 30.0
"""Seconds that a piece may wait for a reader who takes nothing; then the stream ends and the connection is cut."""

CUT_SECONDS = 1.0
"""So long the server may take to notice that the connection is cut."""

MEDIA_TYPE = "text/event-stream"

type _Message = MutableMapping[str, Any]

_encode = msgspec.json.Encoder().encode


def sse_event(name: str, value: Mapping[str, Any], *, seq: int | None = None) -> bytes:
    """One event; ``seq`` becomes its id. JSON has no line breaks outside of its strings, and escaped ones in them."""
    number = f"id: {seq}\n" if seq is not None else ""
    return f"{number}event: {name}\ndata: ".encode() + _encode(value) + b"\n\n"


def wants_events(request: Request) -> bool:
    """Whether the client asks for a stream: ``text/event-stream`` is in ``Accept``, and JSON not before it."""
    accepted = [one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "").split(",")]
    if MEDIA_TYPE not in accepted:
        return False
    return "application/json" not in accepted or accepted.index(MEDIA_TYPE) < accepted.index("application/json")


async def kept_alive(pieces: AsyncIterator[bytes], seconds: float = PING_SECONDS) -> AsyncGenerator[bytes]:
    """The pieces, and a comment whenever none came for ``seconds``. Nothing is read ahead: what waits, waits there.

    Closing it closes ``pieces``.
    """
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(pieces, b""))  # a piece is never empty
            await asyncio.wait([pending], timeout=seconds)
            if not pending.done():
                yield PING
                continue
            piece, pending = pending.result(), None
            if not piece:
                return
            yield piece
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait([pending])
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


class EventStream(Response):
    """An answer that goes on until ``pieces`` end or the client goes away; then ``pieces`` are closed."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        headers: Mapping[str, str] | None = None,
        *,
        closing: Callable[[], None] | None = None,
    ) -> None:
        """Send ``pieces``, each at once; ``closing`` is called at the end, also when none was ever asked for."""
        fixed = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        super().__init__(headers={**fixed, **(headers or {})})
        del self.headers["content-length"]
        self._pieces = pieces
        self._closing = closing

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Send until the end, the client's leaving, or its not reading for `PATIENCE` seconds."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await self._close()
            await send({"type": "http.response.body", "body": b""})
            return
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not sending.exception() and not sending.result():
                log.debug("A reader of a stream took nothing and is cut off", event="reader_too_slow")
                scope.get(CUT, _nothing)()
                await asyncio.wait([leaving], timeout=CUT_SECONDS)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait([sending, leaving])
            await self._close()
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Callable[[_Message], Awaitable[None]]) -> bool:
        """Send to the end; False when the client took nothing any more."""
        try:
            async for piece in self._pieces:
                if not await _sent(send, piece):
                    return False
        except Exception as error:  # noqa: BLE001 - a defect costs one clear answer
            reference = ids.ulid()
            log.error("❌ A defect in a stream", event="internal_error", reference=reference, exception=error)
            details = {"reference": reference}
            told = frames.failed(None, "internal_error", f"Internal error: {reference}", details)
            if not await _sent(send, sse_event("error", told)):
                return False
        await send({"type": "http.response.body", "body": b""})
        return True

    async def _close(self) -> None:
        if isinstance(self._pieces, AsyncGenerator):
            with contextlib.suppress(RuntimeError):  # it is closed already
                await self._pieces.aclose()
        if self._closing is not None:
            self._closing()


def _nothing() -> None:
    """A server that is not ours cannot cut; it closes an answer that is not brought to its end."""


async def _sent(send: Callable[[_Message], Awaitable[None]], piece: bytes) -> bool:
    """Send a piece; False when nobody took it in `PATIENCE` seconds."""
    try:
        async with asyncio.timeout(PATIENCE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True
