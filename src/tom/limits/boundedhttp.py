"""HTTP/1.1 as both programs serve it: uvicorn's protocol with bounds, and with an answer of Tom's for what is no request."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tom.errors import HeadersTooLarge, TargetTooLong, TomError, Unreadable

MOST_HEADERS: Final = 100
LARGEST_HEAD: Final = 65_536
HEAD_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 1.0
_CLOSE: Final = (b"connection", b"close")


class BoundedHttp(HttpToolsProtocol, ABC):
    """One connection, with bounds on the head of a request in bytes, in headers and in time.

    Below it is said how a refusal is worded (`refusal`), and whether a connection is taken at all (`refuses`).
    """

    most_headers = MOST_HEADERS
    largest_head = LARGEST_HEAD

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As the superclass."""
        super().__init__(*args, **kwargs)
        self.url = b""
        self._head_bytes = 0
        self._head_open = True
        self._refusal: type[TomError] = Unreadable
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: Any = None
        self._ending = False

    @abstractmethod
    def refusal(self, error: TomError, path: str) -> bytes:
        """The whole answer to what is no request; ``path`` is what it asks for, empty where that cannot be told."""

    def refuses(self) -> bool:
        """Whether this connection is one too many."""
        return False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; its first request must come soon."""
        super().connection_made(transport)
        if self.refuses():
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
        if self._head_open and not self._ending and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.largest_head:
                self._refusal = HeadersTooLarge
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
        if len(self.url) > self.largest_head // 2:
            self._refusal = TargetTooLong
            raise ValueError("target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; too many end the connection."""
        if len(self.headers) >= self.most_headers or len(name) + len(value) > self.largest_head:
            self._refusal = HeadersTooLarge
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_open = False
        self._stop_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer is whole. When its request was not read to the end, nothing can follow on this connection."""
        leaving = self._leaving is self.cycle
        if leaving:
            self.pipeline.clear()
        super().on_response_complete()
        if leaving and not self.transport.is_closing():
            self._ending = True
            if not self.cycle.more_body:
                self.transport.close()
                return
            self._linger(LINGER_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, in Tom's own form."""
        del msg
        self._stop_timer()
        self._ending = True
        path = self.url.partition(b"?")[0].decode("latin-1")
        self.transport.write(self.refusal(self._refusal(), path))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger(LINGER_SECONDS / 4)

    def _linger(self, seconds: float) -> None:
        """Close, but not at once: closing with bytes unread is a reset, which can overtake the answer."""
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        super()._start_asgi_task(cycle, self._saying_when_it_ends(cycle, app))

    def _saying_when_it_ends(self, cycle: Any, app: Any) -> Any:
        """Have an answer that comes before the end of its request say that the connection ends with it."""

        async def answering(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if message["type"] != "http.response.start" or not cycle.more_body:
                    await send(message)
                    return
                own = [header for header in message.get("headers", ()) if header[0].lower() != b"connection"]
                await send({**message, "headers": [*own, _CLOSE]})
                self._leaving = cycle
                cycle.keep_alive = True  # the superclass would close at once

            await app(scope, receive, sending)

        return answering

    def _too_slow(self) -> None:
        self._timer = None
        self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
