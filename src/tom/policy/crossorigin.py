"""Which pages of other origins may speak to a door, and what their browsers are told (CORS). Pure.

An origin is listed exactly. ``*`` stands for every origin that has a name, never with credentials; ``null`` (a page from
a file, a sandboxed frame) only counts where it is written out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
ASKED_HEADERS: Final = (
    "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-API-Key, X-Request-ID,"
    " X-Tom-Client, X-Tom-Conversation"
)
SHOWN_HEADERS: Final = "Content-Disposition, Location, Retry-After, WWW-Authenticate, X-Request-ID, X-Tom-Conversation"
_KEPT_SECONDS: Final = 600

type Header = tuple[bytes, bytes]


def is_listed(origin: str, listed: frozenset[str]) -> bool:
    """Whether a page of ``origin`` may speak."""
    return origin in listed or ("*" in listed and origin != "null")


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """The answer headers for pages of the ``listed`` origins; ``credentials``: those written out may be sent with cookies."""

    listed: frozenset[str]
    credentials: bool = False

    def allows(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request comes from a page that is listed."""
        origin = headers.get(b"origin")
        return origin is not None and is_listed(origin.decode("latin-1"), self.listed)

    def headers(self, headers: Mapping[bytes, bytes]) -> list[Header]:
        """What belongs on every answer to a page that is listed, nothing for any other."""
        if not self.listed:
            return []
        if not self.allows(headers):
            return [(b"vary", b"Origin")]
        origin = headers[b"origin"]
        exact = origin.decode("latin-1") in self.listed
        found = [
            (b"access-control-allow-origin", origin if exact else b"*"),
            (b"access-control-expose-headers", SHOWN_HEADERS.encode()),
            (b"vary", b"Origin"),
        ]
        if exact and self.credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        return found

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> list[Header] | None:
        """What a browser is told that asks before it sends (beside `headers`); None when it does not ask, or is not listed."""
        if method != "OPTIONS" or b"access-control-request-method" not in headers or not self.allows(headers):
            return None
        return [
            (b"access-control-allow-methods", METHODS.encode()),
            (b"access-control-allow-headers", ASKED_HEADERS.encode()),
            (b"access-control-max-age", str(_KEPT_SECONDS).encode()),
        ]
