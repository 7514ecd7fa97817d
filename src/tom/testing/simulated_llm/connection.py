"""One connection of a client: HTTP/1.1 read by hand, answers written as scripts say."""

import asyncio
import os
import re
import socket
import struct
from collections.abc import Callable
from typing import cast

import msgspec

from tom.testing.simulated_llm.blocks import flood_of, refusal_in_blocks, render_blocks
from tom.testing.simulated_llm.desk import Desk
from tom.testing.simulated_llm.faults import Fault
from tom.testing.simulated_llm.rendering import Rendered, answer, frame, refusal, render
from tom.testing.simulated_llm.request import ReceivedRequest
from tom.testing.simulated_llm.script import Script

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:\s*100-continue", re.IGNORECASE)
_BLOCK = 64 * 1024

type Route = Callable[[ReceivedRequest], bytes]


class Connection(asyncio.Protocol):
    """Reads requests one after the other and plays an answer to each."""

    def __init__(self, desk: Desk, route: Route, peers: set["Connection"], chunks_per_write: int) -> None:
        """``route`` answers everything but completions; ``chunks_per_write`` 0 writes an unpaced answer at once."""
        self._desk = desk
        self._route = route
        self._peers = peers
        self._per_write = chunks_per_write
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._needed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._more: Callable[[], None] | None = None
        self._last = False
        self._blocks = False
        self.busy = False

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part, unless the next script resets connections."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._peers.add(self)
        self._desk.count(connections=1)
        script = self._desk.connection_fault()
        if script is not None and script.trouble is Fault.RESET:
            self._desk.use_up(script)
            self.reset()

    def data_received(self, data: bytes) -> None:
        """Collect a request."""
        self._received += data
        if not self.busy and len(self._received) >= self._needed:
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop playing; a client that left in the middle is counted."""
        _ = exc
        self._peers.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self.busy:
            self.busy = False
            self._desk.count(streams=-1, aborted=1)

    def resume_writing(self) -> None:
        """Go on with a huge answer."""
        if self._more is not None:
            self._loop.call_soon(self._more)

    def close(self) -> None:
        """End the connection in good order."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        if self._transport is None:
            return
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # --- requests

    def _read(self) -> None:
        """Read one request, if it is all there, and answer it."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if not self._received[:1].isupper():  # no request line: a TLS greeting, say
                self.close()
            return
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        self._needed = end + 4 + size
        if len(self._received) < self._needed:
            if _EXPECT.search(head):
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._received[end + 4 : self._needed])
        del self._received[: self._needed]
        self._needed = 0
        method, path, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        self._last = _CLOSE.search(head) is not None
        self.busy = True
        self._desk.count(streams=1)
        self._respond(ReceivedRequest(method, path.partition("?")[0], head, body))

    def _respond(self, request: ReceivedRequest) -> None:
        if request.method != "POST" or not request.path.endswith(("/chat/completions", "/messages")):
            self._write(self._route(request))
            self._finish()
            return
        try:
            wish = request.wish
            script = self._desk.choose(request)
        except Exception as error:  # noqa: BLE001 - a body may be anything, and an author is a test's own code
            status = 400 if isinstance(error, msgspec.DecodeError) else 500
            self._write(answer(status, msgspec.json.encode({"error": {"message": repr(error)}})))
            self._finish()
            return
        self._blocks = request.speaks_messages
        complete = refusal_in_blocks(script) if self._blocks else refusal(script)
        if complete is not None:
            self._send_raw(script, complete)
            return
        options = wish.stream_options or {}
        rendered = (
            render_blocks(script, wish.model, stream=wish.stream)
            if self._blocks
            else render(script, wish.model, stream=wish.stream, include_usage=bool(options.get("include_usage")))
        )
        self._play(script, rendered, streamed=wish.stream and not script.plain)

    # --- answers

    def _play(self, script: Script, rendered: Rendered, *, streamed: bool) -> None:
        match script.trouble:
            case Fault.RESET | Fault.REFUSE:
                self._finish()
                self.reset()
            case Fault.SILENCE:
                pass
            case Fault.STALL:
                self._write(rendered.opening + b"".join(rendered.pieces[: script.after]))
            case Fault.CUT:
                self._write(rendered.opening + b"".join(rendered.pieces[: script.after]))
                self._finish()
                self.close()
            case Fault.DRIP:
                self._pace([bytes([byte]) for byte in rendered.whole], 1 / script.rate)
            case Fault.HUGE:
                self._flood(script.size, rendered, streamed=streamed)
            case _ if script.delay > 0:
                first, *rest = rendered.pieces or (b"",)
                self._pace([rendered.opening + first, *rest, rendered.ending], script.delay)
            case _:
                self._burst(rendered)

    def _send_raw(self, script: Script, complete: bytes) -> None:
        if script.delay > 0:
            head, _, body = complete.partition(b"\r\n\r\n")
            self._pace([head + b"\r\n\r\n", *(bytes([byte]) for byte in body)], script.delay)
            return
        self._write(complete)
        self._finish()

    def _burst(self, rendered: Rendered) -> None:
        if self._per_write:
            pieces = (rendered.opening, *rendered.pieces, rendered.ending)
            for at in range(0, len(pieces), self._per_write):
                self._write(b"".join(pieces[at : at + self._per_write]))
        else:
            self._write(rendered.whole)
        self._finish()

    def _pace(self, pieces: list[bytes], delay: float) -> None:
        """Write piece *i* at start + *i* · delay; what is late is written together."""
        start = self._loop.time()
        at = 0

        def write() -> None:
            nonlocal at
            due = min(len(pieces), int((self._loop.time() - start) / delay + 1e-6) + 1)
            self._write(pieces[at] if due == at + 1 else b"".join(pieces[at:due]))
            at = max(at, due)
            if at < len(pieces):
                self._timer = self._loop.call_at(start + at * delay, write)
            else:
                self._finish()

        write()

    def _flood(self, size: int, rendered: Rendered, *, streamed: bool) -> None:
        """Write ``size`` bytes of content as fast as the client takes them."""
        begin, event, end = flood_of(b"x" * _BLOCK, blocks=self._blocks)
        block = frame(event if streamed else b"x" * _BLOCK)
        self._write(rendered.opening if streamed else rendered.opening + frame(begin))
        left = size

        def write() -> None:
            nonlocal left
            if self._transport is None:
                return
            while left > 0 and self._transport.get_write_buffer_size() < 4 * _BLOCK:
                self._transport.write(block)
                left -= _BLOCK
            if left <= 0:
                self._more = None
                self._write(rendered.ending if streamed else frame(end) + b"0\r\n\r\n")
                self._finish()

        self._more = write
        write()

    def _write(self, content: bytes) -> None:
        if self._transport is not None:
            self._transport.write(content)

    def _finish(self) -> None:
        """The answer is over; the next request may already be there."""
        if not self.busy:
            return
        self.busy = False
        self._desk.count(streams=-1)
        if self._last:
            self.close()
        elif self._received:
            self._loop.call_soon(self.data_received, b"")
