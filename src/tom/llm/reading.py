"""One answer of a provider, read from its bytes as they arrive."""

import asyncio
from typing import Any, Protocol

import aiohttp
import msgspec

from tom.errors import ProviderBadAnswer, ProviderTooLarge
from tom.llm.assembly import MAX_REPLY
from tom.llm.failures import Veil, failure_in
from tom.llm.sse import EventParser, Twins

MAX_WIRE = 32 * MAX_REPLY
"""Bytes of one answer on the wire; a token of four letters travels in an event of 250 bytes."""
LINGER = 2.0
"""Seconds that the usage may still take after the model said it has finished."""
DRAIN = 0.1
"""Seconds to read the end of an answer so that its connection can be used again."""


class Content(Protocol):
    """Bytes as they arrive: what `aiohttp.StreamReader` is to a reader of answers."""

    async def readany(self) -> bytes:
        """What has arrived, at least one byte; nothing at the end."""
        ...

    def at_eof(self) -> bool:
        """Whether all has been read."""
        ...


class Assembling(Protocol):
    """What puts the events of one dialect together: `assembly.Assembly`, `blockassembly.BlockAssembly`."""

    over: bool
    """Nothing follows."""

    @property
    def size(self) -> int:
        """Letters gathered so far."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the model said why it ended."""
        ...

    def decode(self, payload: bytes, /) -> Any:
        """One event; its ``error`` is what went wrong at the provider. Raises `msgspec.DecodeError`."""
        ...

    def add(self, chunk: Any, /) -> None:
        """Take one event. Raises `ProviderTooLarge`."""
        ...


class AnswerReader:
    """Reads one answer, streamed or whole, into an assembly until it has ``ended``."""

    def __init__(self, content: Content, assembly: Assembling, veil: Veil) -> None:
        self.ended = False
        self._content = content
        self._assembly = assembly
        self._decode = assembly.decode
        self._veil = veil
        self._parser = EventParser(MAX_REPLY)
        self._twins = Twins()
        self._whole: list[bytes] | None = None
        self._begun = False
        self._size = 0

    async def read(self) -> None:
        """Read what has arrived. Raises `ProviderError`, and what aiohttp raises for connections and silence."""
        try:
            chunk = await self._next()
        except (aiohttp.ClientError, OSError, TimeoutError):
            if not self._assembly.finished:
                raise
            self.ended = True  # all is said; only the end of the transfer is missing
            return
        self._size += len(chunk)
        if self._size > MAX_WIRE:
            raise ProviderTooLarge
        if not self._begun:
            chunk = self._begin(chunk)
        if self._whole is not None:
            self._read_whole(self._whole, chunk)
        elif chunk:
            self._take(self._parser.feed(chunk))
        elif self._content.at_eof():
            self._finish()

    async def drain(self) -> None:
        """Read the end of the transfer, which follows the last event closely, or give the connection up."""
        try:
            async with asyncio.timeout(DRAIN):
                while not self._content.at_eof():
                    self._size += len(await self._content.readany())
                    if self._size > MAX_WIRE:
                        return
        except (aiohttp.ClientError, OSError, TimeoutError):
            return

    async def _next(self) -> bytes:
        if not self._assembly.finished:
            return await self._content.readany()
        async with asyncio.timeout(LINGER):
            return await self._content.readany()

    def _begin(self, chunk: bytes) -> bytes:
        """Tell a whole JSON answer from a stream by its first letter; servers mislabel both."""
        visible = chunk.lstrip(b"\xef\xbb\xbf \t\r\n")
        if visible:
            self._begun = True
            if visible.startswith((b"{", b"[")):
                self._whole = []
            return visible
        return b""

    def _read_whole(self, parts: list[bytes], chunk: bytes) -> None:
        parts.append(chunk)
        if self._size > MAX_REPLY:
            raise ProviderTooLarge
        if self._content.at_eof():
            self._add(b"".join(parts))
            self._end()

    def _take(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b"[DONE]"):
                self.ended = True
                return
            if self.ended:
                return
            if payload and not self._twins.is_copy(payload, self._assembly.size):
                self._add(payload)

    def _finish(self) -> None:
        self._take(self._parser.finish())
        if not self.ended:
            self._end()

    def _end(self) -> None:
        """The transfer is over; without a reason to end, the answer was cut off."""
        if not self._assembly.finished:
            raise ProviderBadAnswer
        self.ended = True

    def _add(self, payload: bytes) -> None:
        if self._twins.broken:
            raise ProviderBadAnswer
        try:
            chunk = self._decode(payload)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ProviderBadAnswer from error
        if chunk.error:
            raise failure_in(chunk.error, self._veil)
        self._assembly.add(chunk)
        if self._assembly.over:
            self.ended = True
