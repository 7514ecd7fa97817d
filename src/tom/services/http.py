"""The SDK's streams over streamable HTTP, with limits on what a service may send.

The SDK follows redirects within the service's own origin only, so its headers reach nobody else. Proxies of the
environment are ignored; nothing compressed is accepted, so nothing can swell.
"""

import functools
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from tom.config.agent import ServiceEntry
from tom.services.sieve import Sieved
from tom.services.unreachable import reason_of

LARGEST_ANSWER = 16 * 1024 * 1024
_WRITE_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the five seconds after which many servers close an idle connection, so as not to write into that."""

_OWN_HEADERS = frozenset({"content-type", "accept", "accept-encoding"})


@dataclass(slots=True)
class Overheard:
    """What the SDK does not tell: the last status of an answer that was an error, and how a request broke."""

    status: int = 0
    broken: str = ""


@asynccontextmanager
async def http_streams(entry: ServiceEntry, overheard: Overheard) -> AsyncGenerator[TransportStreams]:
    """Speak with the service at ``entry.url``."""
    headers = {name: value.reveal() for name, value in entry.headers.items() if name.lower() not in _OWN_HEADERS}
    async with (
        httpx2.AsyncClient(
            headers={**headers, "accept-encoding": "identity"},
            timeout=httpx2.Timeout(entry.connect_timeout, read=None, write=_WRITE_SECONDS, pool=None),
            transport=_Bounded(_connections(), overheard),
            trust_env=False,
        ) as client,
        streamable_http_client(entry.url, http_client=client, max_sse_event_size=LARGEST_ANSWER) as (
            incoming,
            outgoing,
        ),
    ):
        yield Sieved(incoming), outgoing


class _Bounded(httpx2.AsyncBaseTransport):
    """Cuts an answer off that is too large or compressed."""

    def __init__(self, below: httpx2.AsyncBaseTransport, overheard: Overheard) -> None:
        self._below = below
        self._overheard = overheard

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._below.handle_async_request(request)
        except httpx2.TransportError as error:
            self._overheard.broken = reason_of(error)
            raise
        if response.status_code >= 400:
            self._overheard.status = response.status_code
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("its answer is compressed, which was not asked for")
        if isinstance(response.stream, httpx2.AsyncByteStream) and not _is_event_stream(response):
            response.stream = _BoundedStream(response.stream)
        return response

    async def aclose(self) -> None:
        await self._below.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    """A body of at most `LARGEST_ANSWER` bytes."""

    def __init__(self, below: httpx2.AsyncByteStream) -> None:
        self._below = below

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._below:
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise httpx2.RemoteProtocolError(f"its answer is larger than {LARGEST_ANSWER // 1024 // 1024} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._below.aclose()


def _connections() -> httpx2.AsyncHTTPTransport:
    limits = httpx2.Limits(max_keepalive_connections=8, keepalive_expiry=_KEEP_ALIVE_SECONDS)
    return httpx2.AsyncHTTPTransport(verify=_trusted(), trust_env=False, limits=limits)


def _is_event_stream(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The system's trust store, read once: that takes 25 ms."""
    return ssl.create_default_context()
