"""Who is calling this agent: one door each for the gateway, for this machine, and (`alone.py`) for tokens and visitors.

Behind the gateway every request carries this agent's own secret and its person's name; anything else is answered 401
before a byte of it is read. Alone on a loopback address the caller is the person; then the Host must be loopback and
a browser's Origin this very address, so that a web page elsewhere cannot speak through the browser.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from tom import ids
from tom.config.secret import Secret
from tom.errors import AuthenticationRequired, OriginNotAllowed, WrongHost
from tom.policy.permissions import LOCAL_SCOPES, LOGIN_SCOPES, Caller, Scope, scopes_of

type Asgi = Mapping[str, Any]
"""The scope of an ASGI connection."""

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
CONTROL = "control"
OPERATOR_SCOPES = LOCAL_SCOPES | {Scope.ADMIN}
"""Whoever may open the control socket: the operator of this machine."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Door(Protocol):
    """One way of finding out who is calling. Above: `AgentApp`, which puts the answer into ``scope["tom.caller"]``.

    Not a place for rights: how far the caller reaches is `policy.permissions.require`'s to say.
    """

    @property
    def alone(self) -> bool:
        """Whether this agent is the chat backend itself: there is no gateway before it."""
        ...

    def identify(self, scope: Asgi) -> Caller:
        """Who is calling, by headers and connection only; nothing of the body is read.

        Raises a `TomError` with the reason to refuse: `AuthenticationRequired`, `InvalidToken`, `WrongHost`, …
        """
        ...


@dataclass(frozen=True, slots=True)
class BehindGateway:
    """Only the gateway, speaking for ``user``."""

    user: str
    secret: Secret
    alone: bool = field(default=False, init=False)

    def identify(self, scope: Asgi) -> Caller:
        """Whom the gateway says it speaks for; it has looked at the credential. `AuthenticationRequired` for anybody else."""
        headers = headers_of(scope)
        given, named = text_of(headers, b"x-tom-agent-secret"), text_of(headers, b"x-tom-user")
        if not self.secret or not ids.same_secret(given, self.secret.reveal()) or named != self.user:
            raise AuthenticationRequired
        door = text_of(headers, b"x-tom-door")
        key = text_of(headers, b"x-tom-key") or f"user:{self.user}"
        return Caller(self.user, door, _told_scopes(headers, door), key, text_of(headers, b"x-tom-address"))


@dataclass(frozen=True, slots=True)
class AtThisMachine:
    """Anybody on this machine (``chat.auth: local``); ``allow_origins`` may speak from a browser besides the own one.

    ``anywhere``: the address is not loopback, as somebody wrote who knows what is in front of it; then any Host will do.
    """

    allow_origins: frozenset[str] = frozenset()
    user: str = "local"
    anywhere: bool = False
    alone: bool = field(default=True, init=False)

    def identify(self, scope: Asgi) -> Caller:
        """The person. Raises `WrongHost`, `OriginNotAllowed`."""
        headers = headers_of(scope)
        host = text_of(headers, b"host").lower()
        if not self.anywhere and not is_loopback_host(host):
            raise WrongHost
        check_origin(scope, headers, host, self.allow_origins)
        return Caller(self.user, "local", LOCAL_SCOPES, f"user:{self.user}", peer_of(scope))


@dataclass(frozen=True, slots=True)
class AtControlSocket:
    """The operator of this machine, at ``<home>/agent.sock``: the file's mode is the lock."""

    user: str = "local"
    alone: bool = field(default=True, init=False)

    def identify(self, scope: Asgi) -> Caller:  # noqa: ARG002 - whoever could open it
        """The operator."""
        return Caller(self.user, CONTROL, OPERATOR_SCOPES, f"user:{self.user}")


def headers_of(scope: Asgi) -> Mapping[bytes, bytes]:
    """The headers of a connection, the last one of each name."""
    return dict(scope.get("headers", ()))


def text_of(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """One header as text, empty when it is absent."""
    return headers.get(name, b"").decode("latin-1")


def peer_of(scope: Asgi) -> str:
    """The address at the other end of the connection, empty on a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_loopback_host(host: str) -> bool:
    """Whether a ``Host`` header names this machine, with any port."""
    return (host.rpartition(":")[0] if _has_port(host) else host) in LOOPBACK_HOSTS


def changes(scope: Asgi) -> bool:
    """Whether this connection can change anything: a method that may, or a socket."""
    return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS


def check_origin(scope: Asgi, headers: Mapping[bytes, bytes], host: str, listed: frozenset[str]) -> None:
    """For what changes something: `OriginNotAllowed` when a page elsewhere is behind it. No ``Origin``: no browser."""
    origin = headers.get(b"origin")
    if origin is None or not changes(scope):
        return
    if not (is_own_origin(scope, origin, host) or is_listed(origin.decode("latin-1"), listed)):
        raise OriginNotAllowed


def is_own_origin(scope: Asgi, origin: bytes, host: str) -> bool:
    """Whether a page of this very address is behind it: scheme, host and port."""
    parts = urlsplit(origin.decode("latin-1").lower())
    schemes = {"http", "ws"} if scope.get("scheme") in {"http", "ws"} else {"https", "wss"}
    return parts.scheme in schemes and parts.netloc == host


def is_listed(origin: str, listed: frozenset[str]) -> bool:
    """Whether ``chat.websocket.allow_origins`` lets a page speak: written out exactly, or ``*`` for all that have a name."""
    return origin.lower() in listed or ("*" in listed and origin != "null")


def _told_scopes(headers: Mapping[bytes, bytes], door: str) -> frozenset[Scope]:
    told = headers.get(b"x-tom-scopes")
    if told is not None:
        return scopes_of(told.decode("latin-1").split())
    if door == CONTROL:
        return OPERATOR_SCOPES
    return LOGIN_SCOPES if door == "cookie" else frozenset()


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")
