"""Which headers pass the gateway, inwards and outwards."""

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
_HANDSHAKE: Final = frozenset({b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"})
_NOT_RETURNED: Final = HOP_BY_HOP | {
    b"set-cookie", b"server", b"date", b"x-request-id",
    # What the gateway says itself, on every answer, or what would act on its whole origin.
    b"content-security-policy", b"x-content-type-options", b"referrer-policy", b"strict-transport-security",
    b"cross-origin-opener-policy", b"cross-origin-resource-policy", b"x-frame-options", b"permissions-policy",
    b"clear-site-data", b"refresh", b"link", b"service-worker-allowed", b"access-control-allow-origin",
    b"access-control-allow-credentials", b"alt-svc",
}  # fmt: skip


def inwards(headers: list[Header], joined: Mapping[bytes, bytes]) -> list[Header]:
    """What of a client's headers reaches its agent: no credential, nothing for one hop, nothing the gateway says itself."""
    named = frozenset(name.strip().lower() for name in joined.get(b"connection", b"").split(b","))
    return [
        header
        for header in headers
        if header[0] not in _DROPPED and not header[0].startswith(_DROPPED_PREFIXES) and header[0] not in named
    ]


def handshake(headers: list[Header]) -> list[Header]:
    """What a WebSocket upgrade needs besides; no extensions are offered, so frames pass as they are."""
    kept = [header for header in headers if header[0] in _HANDSHAKE]
    return [(b"connection", b"Upgrade"), (b"upgrade", b"websocket"), *kept]


def outwards(headers: list[Header]) -> list[Header]:
    """What of an agent's headers reaches the client."""
    return [header for header in headers if header[0] not in _NOT_RETURNED]


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
