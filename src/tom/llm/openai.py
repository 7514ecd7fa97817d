"""OpenAI chat completions, streamed: what most providers and local servers speak.

This is the hot path. One HTTP client per provider, made at the first call; bytes are parsed as they arrive; fragments
that arrive together are shown together.
"""

import asyncio
import io
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
from tom.llm.chatwire import decode_models, dialect_of, encode_request
from tom.llm.failures import Veil, failure_of
from tom.llm.provider import ModelItem, ModelRequest
from tom.llm.reading import AnswerReader

MAX_ERROR = 64 * 1024
"""Bytes of an error's body that are read."""

LARGE = 512 * 1024
"""Bytes above which a request, such as one with pictures, is written piece by piece."""


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
        encoded = encode_request(request, self._entry.options, self._dialect)
        body = io.BytesIO(encoded) if len(encoded) > LARGE else encoded
        assembly = Assembly()
        async with self._answer("POST", "/chat/completions", body) as response:
            events = AnswerReader(response.content, assembly, self._veil)
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
    async def _answer(
        self, method: str, path: str, body: bytes | io.BytesIO | None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A response with status 200. Every failure of the connection leaves as a `ProviderError`."""
        response: aiohttp.ClientResponse | None = None
        patience = self._entry.connect_timeout + self._entry.timeout
        try:
            async with asyncio.timeout(patience):
                response = await self._http().request(
                    method,
                    self._address + path,
                    data=body,
                    headers=self._headers,
                    allow_redirects=False,
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
