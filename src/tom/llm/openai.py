"""OpenAI chat completions, streamed: what most providers and local servers speak.

This is the hot path. One HTTP client per provider, made at the first call; bytes are parsed as they arrive; fragments
that arrive together are shown together.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from tom.clock import Clock, SystemClock
from tom.config.agent import LlmEntry
from tom.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderTimeout,
    ProviderTooLarge,
    ProviderUnreachable,
)
from tom.llm.assembly import MAX_REPLY, Assembly
from tom.llm.chatwire import decode_chunk, decode_models, dialect_of, encode_request
from tom.llm.failures import Veil, failure_in, failure_of
from tom.llm.provider import ModelItem, ModelRequest
from tom.llm.sse import EventParser, Twins

MAX_WIRE = 32 * MAX_REPLY
"""Bytes of one answer on the wire; a token of four letters travels in an event of 250 bytes."""
MAX_ERROR = 64 * 1024
LINGER = 2.0
"""Seconds that the usage may still take after the model said it has finished."""
DRAIN = 0.1
"""Seconds to read the end of an answer so that its connection can be used again."""


class OpenAIChat:
    """A provider that answers ``POST {base_url}/chat/completions``."""

    def __init__(self, entry: LlmEntry, clock: Clock | None = None) -> None:
        """``entry`` says where, with which key and how patiently; ``clock`` dates a Retry-After."""
        self._entry = entry
        self._clock = clock or SystemClock()
        self._address = entry.base_url.rstrip("/")
        self._dialect = dialect_of(entry.provider, entry.base_url)
        host = self._address.partition("://")[2].partition("/")[0]
        key = entry.key.reveal().strip()
        self._veil = Veil((key, host, *entry.headers.values()), (entry.name, entry.provider))
        self._headers = {"Accept-Encoding": "identity", **entry.headers}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._client: aiohttp.ClientSession | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Ask once; see `tom.llm.provider.Provider.stream`. Raises `ProviderError`."""
        body = encode_request(request, self._entry.options, self._dialect)
        assembly = Assembly()
        async with self._answer("POST", "/chat/completions", body) as response:
            events = _Answer(response, assembly, self._veil)
            while not events.ended:
                await events.read()
                for item in assembly.take():
                    yield item
            await events.drain()
        yield assembly.reply(request)

    async def models(self) -> tuple[str, ...]:
        """The names that ``GET {base_url}/models`` lists. Raises `ProviderError`."""
        async with self._answer("GET", "/models", None) as response:
            body = await _read_at_most(response, MAX_REPLY)
            if len(body) > MAX_REPLY:
                raise ProviderTooLarge
        try:
            listed = decode_models(body)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ProviderBadAnswer from error
        return tuple(model.id for model in listed)

    async def close(self) -> None:
        """Close the HTTP client and its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @asynccontextmanager
    async def _answer(self, method: str, path: str, body: bytes | None) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A response with status 200. Every failure of the connection leaves as a `ProviderError`."""
        response: aiohttp.ClientResponse | None = None
        patience = self._entry.connect_timeout + self._entry.timeout
        try:
            async with asyncio.timeout(patience):
                response = await self._http().request(
                    method, self._address + path, data=body, headers=self._headers, allow_redirects=False
                )
            if response.status != 200:
                raise await self._failure(response)
            yield response
        except TimeoutError as error:
            raise ProviderTimeout from error
        except aiohttp.ClientResponseError as error:  # no HTTP, or none that can be read
            raise ProviderBadAnswer from error
        except (aiohttp.ClientError, OSError) as error:
            raise (ProviderUnreachable if response is None else ProviderBadAnswer) from error
        finally:
            if response is not None:
                response.release()  # closes the connection unless the answer was read to its end

    def _http(self) -> aiohttp.ClientSession:
        if self._client is None:
            connect, silence = self._entry.connect_timeout, self._entry.timeout
            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=silence),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": "application/json", "User-Agent": "tom"},
                trust_env=False,
            )
        return self._client

    async def _failure(self, response: aiohttp.ClientResponse) -> ProviderError:
        try:
            body = await _read_at_most(response, MAX_ERROR)
        except (aiohttp.ClientError, OSError):  # the status alone says enough
            body = b""
        return failure_of(response.status, response.headers, body, self._veil, self._clock.now())


class _Answer:
    """Reads one answer, streamed or whole, into an assembly until it has ``ended``."""

    def __init__(self, response: aiohttp.ClientResponse, assembly: Assembly, veil: Veil) -> None:
        self.ended = False
        self._content = response.content
        self._assembly = assembly
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
            chunk = decode_chunk(payload)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ProviderBadAnswer from error
        if chunk.error:
            raise failure_in(chunk.error, self._veil)
        self._assembly.add(chunk)


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or a little more than its first ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > limit:
            break
    return b"".join(parts)
