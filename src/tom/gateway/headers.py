"""Which headers pass the gateway, inwards and outwards."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Final

from tom.gateway.request import Header

HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
_DROPPED: Final = HOP_BY_HOP | {
    b"host", b"content-length", b"cookie", b"authorization", b"x-api-key", b"forwarded", b"x-real-ip", b"expect",
    b"x-request-id", b"x-admin-token",
}  # fmt: skip
_DROPPED_PREFIXES: Final = (b"x-tom-", b"x-forwarded-", b"sec-websocket-")
WITHOUT_BODY: Final = frozenset({204, 304})
_HANDSHAKE: Final = frozenset({b"sec-websocket-key", b"sec-websocket-version"})
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_RETURNED: Final = frozenset({b"content-type", b"content-length", b"retry-after", b"allow"})
_KINDS: Final = frozenset({b"application/json", b"text/event-stream"})
_SAVED: Final = frozenset({b"text/markdown"})
"""Kinds that pass as something to be saved, never to be shown."""

_ATTACHMENT: Final = re.compile(rb'attachment; filename="[A-Za-z0-9._:-]{1,160}"')
_CONVERSATION: Final = b"x-tom-conversation"
_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""The one header of ours that is a client's to say, both ways: which conversation a call of `/v1` goes on with."""

_MADE: Final[Mapping[bytes, re.Pattern[bytes]]] = {
    b"content-disposition": _ATTACHMENT,
    _CONVERSATION: _ID,
    b"location": re.compile(rb"/sessions/[A-Za-z0-9._:-]{1,128}"),
    b"preference-applied": re.compile(rb"respond-async"),
    b"x-should-retry": re.compile(rb"false|true"),
    b"x-accel-buffering": re.compile(rb"no"),
}
"""Headers that pass with a value of this form only: nothing an agent says leads a browser away or shows a page."""

_NOT_KEPT: Final = frozenset({b"no-store", b"no-cache"})
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_ACCEPT: Final = re.compile(rb"[A-Za-z0-9+/]{27}=")
_SWITCHED: Final = re.compile(rb"HTTP/1\.1 101(?: [^\r\n\x00]*)?\Z")
_POLICY: Final = b"content-security-policy"
_SANDBOX: Final[Header] = (_POLICY, b"default-src 'none'; sandbox")


def inwards(headers: list[Header], joined: Mapping[bytes, bytes]) -> list[Header]:
    """What of a client's headers reaches its agent: no credential, nothing for one hop, nothing the gateway says itself."""
    named = frozenset(name.strip().lower() for name in joined.get(b"connection", b"").split(b","))
    return [header for header in headers if _may_enter(*header) and header[0] not in named]


def handshake(headers: list[Header], protocol: str | None) -> list[Header]:
    """What a WebSocket upgrade needs besides; no extensions are offered, so frames pass as they are.

    ``protocol`` is the subprotocol to ask for: what a client offers may hold its ticket.
    """
    kept = [header for header in headers if header[0] in _HANDSHAKE]
    if protocol is not None:
        kept.append((b"sec-websocket-protocol", protocol.encode("ascii")))
    return [(b"connection", b"Upgrade"), (b"upgrade", b"websocket"), *kept]


def accepting(headers: Mapping[bytes, bytes], protocol: str | None) -> list[Header]:
    """The gateway's own answer to a handshake (RFC 6455, 4.2.2), for a socket that it closes itself."""
    digest = hashlib.sha1(headers[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest()
    answer = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", base64.b64encode(digest)),
    ]
    return [*answer, (b"sec-websocket-protocol", protocol.encode("ascii"))] if protocol else answer


def is_handshake(headers: Mapping[bytes, bytes]) -> bool:
    """Whether an upgrade is one that an agent would accept: what it says of another one is not passed on."""
    key = headers.get(b"sec-websocket-key", b"")
    return headers.get(b"sec-websocket-version") == b"13" and _KEY.fullmatch(key) is not None


def outwards(headers: list[Header], status: int) -> list[Header]:
    """What of an agent's headers reaches the client; what the answer may do in a browser is said here."""
    kept = [header for header in headers if _may_return(*header)]
    if status in WITHOUT_BODY:
        kept = [header for header in kept if header[0] != b"content-length"]
    return [*kept, _SANDBOX]


def may_pass(headers: list[Header], status: int, *, without_body: bool) -> bool:
    """Whether an agent's answer is one of those that there are: JSON, events, a text to be saved, or nothing."""
    if not 200 <= status < 600:
        return False
    kinds = [value.partition(b";")[0].strip().lower() for name, value in headers if name == b"content-type"]
    if kinds:
        return len(kinds) == 1 and (kinds[0] in _KINDS or (kinds[0] in _SAVED and _is_attachment(headers)))
    return without_body or status in WITHOUT_BODY or (b"content-length", b"0") in headers


def switching(head: bytes, offered: str | None) -> list[Header] | None:
    """The answer to a WebSocket handshake, made anew from what the agent said; None when it is none.

    ``offered`` is the subprotocol that the agent was asked for.
    """
    first, *lines = head.split(b"\r\n")
    parted = [line.partition(b":") for line in lines]
    said = [(name.lower(), value.strip(b" \t")) for name, _, value in parted]
    accepts = [value for name, value in said if name == b"sec-websocket-accept"]
    if not _SWITCHED.match(first) or len(accepts) != 1 or not _ACCEPT.fullmatch(accepts[0]):
        return None
    answer = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", accepts[0])]
    agreed = [value for name, value in said if name == b"sec-websocket-protocol"]
    return answer + [(b"sec-websocket-protocol", value) for value in agreed[:1] if value.decode("latin-1") == offered]


def with_standard(headers: list[Header], standard: list[Header]) -> list[Header]:
    """The headers of an answer and those of every answer; a policy of its own stands."""
    own = any(name == _POLICY for name, _ in headers)
    return [*headers, *(header for header in standard if not (own and header[0] == _POLICY))]


def _may_enter(name: bytes, value: bytes) -> bool:
    if name == _CONVERSATION:
        return _ID.fullmatch(value) is not None
    return name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)


def _may_return(name: bytes, value: bytes) -> bool:
    if _CONTROL.search(value):
        return False
    if name == b"cache-control":
        return {part.strip().lower() for part in value.split(b",")} <= _NOT_KEPT
    if name in _MADE:
        return _MADE[name].fullmatch(value) is not None
    return name in _RETURNED


def _is_attachment(headers: list[Header]) -> bool:
    said = [value for name, value in headers if name == b"content-disposition"]
    return len(said) == 1 and _ATTACHMENT.fullmatch(said[0]) is not None


_SECURITY: Final[list[Header]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), geolocation=(self), microphone=(self)"),
]
_ONE_YEAR: Final = b"max-age=31536000"


def security_headers(*, policy: str, strict_transport: bool) -> list[Header]:
    """What every answer carries; ``strict_transport``: the certificate is one that browsers trust."""
    headers = [*_SECURITY, (b"content-security-policy", policy.encode())]
    if strict_transport:
        headers.append((b"strict-transport-security", _ONE_YEAR))
    return headers
