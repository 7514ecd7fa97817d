"""One HTTP request as the gateway's endpoints see it, and the answers they give."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from tom.errors import PayloadTooLarge
from tom.gateway.identify import NOBODY, Identity
from tom.gateway.refusals import BadRequest, BodyTimedOut
from tom.ids import ulid
from tom.openapi.wording import answer_bytes

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type Header = tuple[bytes, bytes]

BODY_SECONDS: Final = 60.0
_MOST_FIELDS: Final = 100
_ID_CHARACTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_MARKUP: Final = b"text/html"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: list[Header] = field(default_factory=list[Header])


class Request:
    """A request on its way through the gateway. ``headers`` joins repeated ones; names are lower-case."""

    __slots__ = (
        "address",
        "headers",
        "identity",
        "method",
        "params",
        "path",
        "receive",
        "request_id",
        "scheme",
        "scope",
        "send",
        "status",
        "streams_events",
        "told",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        """``headers`` from `join_headers`; the rest is filled in by the application."""
        self.scope = scope
        self.receive = receive
        self.send = send
        self.headers = headers
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id = request_id(headers)
        self.address: str = (scope.get("client") or ("",))[0]
        self.scheme: str = scope["scheme"]
        self.identity: Identity = NOBODY
        self.params: Mapping[str, str] = {}
        self.status = 0
        self.streams_events = False
        self.told = b""
        """How an answer that is streamed began."""

    @property
    def secure(self) -> bool:
        """Whether it came by TLS."""
        return self.scheme == "https"

    @property
    def wants_page(self) -> bool:
        """A person is looking at the answer."""
        return self.method in {"GET", "HEAD"} and _MARKUP in self.headers.get(b"accept", b"")

    @property
    def is_json(self) -> bool:
        """The body says that it is JSON."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"

    def query(self, name: str) -> str | None:
        """The first value of a query parameter. Raises `BadRequest` when there are too many fields."""
        text = self.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise BadRequest("The query has too many fields") from None
        return next((value for key, value in pairs if key == name), None)

    async def body(self, limit: int) -> bytes:
        """The whole body. `PayloadTooLarge` beyond ``limit`` bytes, `BodyTimedOut` when it does not arrive in time."""
        announced = self.headers.get(b"content-length")
        if announced is None and b"transfer-encoding" not in self.headers:
            return b""
        if announced is not None and int(announced) > limit:
            raise PayloadTooLarge(limit=limit)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._collect(limit)
        except TimeoutError:
            raise BodyTimedOut from None

    async def _collect(self, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise PayloadTooLarge(limit=limit)
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    async def answer(self, reply: Reply) -> None:
        """Send a whole answer."""
        headers = reply.headers
        if reply.status not in {204, 304}:
            headers = [*headers, (b"content-length", str(len(reply.body)).encode())]
        await self.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": reply.body})


class ClientGone(Exception):
    """The client has closed the connection; there is nobody to answer."""


def join_headers(headers: Iterable[Header]) -> dict[bytes, bytes]:
    """One value per name; repeated headers are joined as HTTP says."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in joined:
            joined[name] += (b"; " if name == b"cookie" else b", ") + value
        else:
            joined[name] = value
    return joined


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The client's ``X-Request-ID`` when it is one, else a new one."""
    given = headers.get(b"x-request-id", b"")
    if 1 <= len(given) <= 128 and _ID_CHARACTERS.issuperset(given):
        return given.decode("ascii")
    return ulid()


def json_reply(content: Any, status: int = 200, headers: Iterable[Header] = ()) -> Reply:
    """An answer in JSON, never cached."""
    known = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *headers]
    return Reply(status, msgspec.json.encode(content), known)


def page_reply(page: str, status: int = 200, headers: Iterable[Header] = ()) -> Reply:
    """An answer in HTML, never cached."""
    known = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"), *headers]
    return Reply(status, page.encode(), known)


def render_reply(reply: Reply) -> bytes:
    """A whole answer as bytes, after which the connection is closed; for what is refused before there is a request."""
    return answer_bytes(reply.status, reply.headers, reply.body)


def redirect(location: str, headers: Iterable[Header] = ()) -> Reply:
    """Send the browser to a path of this host, by GET."""
    return Reply(303, b"", [(b"location", location.encode()), (b"cache-control", b"no-store"), *headers])
