"""Who is calling this agent: the gateway for its person, or (alone) whoever sits at this machine.

Behind the gateway every request carries this agent's own secret and its person's name; anything else is answered 401
before a byte of it is read. Alone on a loopback address the caller is the person; then the Host must be loopback and
a browser's Origin this very address, so that a web page elsewhere cannot speak through the browser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tom import ids
from tom.config.secret import Secret
from tom.errors import AuthenticationRequired, OriginNotAllowed, TomError, WrongHost

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class BehindGateway:
    """Only the gateway, speaking for ``user``."""

    user: str
    secret: Secret

    def check(self, headers: Mapping[bytes, bytes], *, changes: bool) -> TomError | None:  # noqa: ARG002 - one signature
        """The reason to refuse a request, or None."""
        given = headers.get(b"x-tom-agent-secret", b"").decode("latin-1")
        named = headers.get(b"x-tom-user", b"").decode("latin-1")
        if not self.secret or not ids.same_secret(given, self.secret.reveal()) or named != self.user:
            return AuthenticationRequired()
        return None

    def door_of(self, headers: Mapping[bytes, bytes]) -> str:
        """Through which door an identified request came: ``cookie``, ``token`` or ``control``, as the gateway says."""
        return headers.get(b"x-tom-door", b"").decode("latin-1")


@dataclass(frozen=True, slots=True)
class AtThisMachine:
    """Anybody on this machine (``chat.auth: local``); ``allow_origins`` may speak from a browser besides the own one."""

    allow_origins: frozenset[str] = frozenset()

    def check(self, headers: Mapping[bytes, bytes], *, changes: bool) -> TomError | None:
        """The reason to refuse a request, or None."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if _has_port(host) else host
        if name not in LOOPBACK_HOSTS:
            return WrongHost()
        origin = headers.get(b"origin")
        if changes and origin is not None and not self._allowed(origin.decode("latin-1").lower(), host):
            return OriginNotAllowed()
        return None

    def door_of(self, headers: Mapping[bytes, bytes]) -> str:  # noqa: ARG002 - one signature
        """``local``: somebody at this machine."""
        return "local"

    def _allowed(self, origin: str, host: str) -> bool:
        return origin in self.allow_origins or (urlsplit(origin).scheme == "http" and urlsplit(origin).netloc == host)


type Door = BehindGateway | AtThisMachine


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")
