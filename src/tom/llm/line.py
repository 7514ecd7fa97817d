"""The HTTP line to one provider: one client, made at the first call, and every failure in Tom's own words.

The proxy of the environment (``HTTPS_PROXY``, unless ``NO_PROXY`` names the host) is used here and nowhere else in
Tom: services and devices of the house are never reached through it.
"""

import asyncio
import io
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

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
from tom.llm.assembly import MAX_REPLY
from tom.llm.chatwire import decode_models
from tom.llm.failures import Veil, failure_of
from tom.llm.spacing import Spacing

MAX_ERROR = 64 * 1024
"""Bytes of an error's body that are read."""

LARGE = 512 * 1024
"""Bytes above which a request, such as one with pictures, is written piece by piece."""


class Line:
    """Requests to one provider, each in its place, each bounded."""

    def __init__(self, entry: LlmEntry, address: str, headers: Mapping[str, str], clock: Clock | None = None) -> None:
        """Below ``address``; ``headers`` go with each request; ``clock`` spaces requests and dates a Retry-After."""
        self._entry = entry
        self._clock = clock or SystemClock()
        self._address = address
        self._headers = {"Accept-Encoding": "identity", **entry.headers, **headers}
        self._proxy = proxy_for(address)
        hosts = (urlsplit(place).netloc for place in (address, self._proxy or ""))
        key = entry.key.reveal().strip()
        self.veil = Veil((key, *hosts, *entry.headers.values()), (entry.name, entry.provider))
        self._spacing = Spacing(entry, self._clock)
        self._client: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def answer(self, method: str, path: str, body: bytes | None = None) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A response with status 200. Every failure of the connection leaves as a `ProviderError`."""
        async with self._spacing.place():
            response: aiohttp.ClientResponse | None = None
            try:
                response = await self._response(method, path, body)
                if response.status != 200:
                    raise await self._failure(response)
                yield response
            except TimeoutError as error:
                raise ProviderTimeout from error
            except aiohttp.ClientHttpProxyError as error:
                raise ProviderUnreachable from error
            except aiohttp.ClientResponseError as error:  # no HTTP, or none that can be read
                raise ProviderBadAnswer from error
            except (aiohttp.ClientError, OSError) as error:
                raise (ProviderUnreachable if response is None else ProviderBadAnswer) from error
            finally:
                if response is not None:
                    response.release()  # closes the connection unless the answer was read to its end

    async def models(self, path: str) -> tuple[str, ...]:
        """The names of a model list. Raises `ProviderError`."""
        async with self.answer("GET", path) as response:
            body = await _read_at_most(response, MAX_REPLY)
            if len(body) > MAX_REPLY:
                raise ProviderTooLarge
        try:
            listed = decode_models(body)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ProviderBadAnswer from error
        return tuple(model.id.removeprefix("models/") for model in listed)

    async def close(self) -> None:
        """Close the HTTP client and its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _response(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        async with asyncio.timeout(self._entry.connect_timeout + self._entry.timeout):
            return await self._http().request(
                method,
                self._address + path,
                data=io.BytesIO(body) if body is not None and len(body) > LARGE else body,
                headers=self._headers,
                allow_redirects=False,
                proxy=self._proxy,
            )

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
        return failure_of(response.status, response.headers, body, self.veil, self._clock.now())


def proxy_for(address: str) -> str | None:
    """The proxy that the environment names for an https address; None without one."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme != "https" or not host or urllib.request.proxy_bypass(host):
            return None
    except ValueError:
        return None
    return urllib.request.getproxies_environment().get("https")


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
