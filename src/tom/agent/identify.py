"""Who is calling this agent: one door each for the gateway, for this machine, and (`alone.py`) for tokens and visitors.

Behind the gateway every request carries this agent's own secret and its person's name; anything else is answered 401
before a byte of it is read. Alone on a loopback address the caller is the person; then the Host must be loopback and
a browser's Origin this very address, so that a web page elsewhere cannot speak through the browser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from tom import ids
from tom.accounts.tokens import Token
from tom.config.secret import Secret
from tom.errors import AuthenticationRequired, OriginNotAllowed, WrongHost
from tom.policy.crossorigin import is_listed
from tom.policy.permissions import LOCAL_SCOPES, LOGIN_SCOPES, Caller, Scope, scopes_of

type Asgi = Mapping[str, Any]
"""The scope of an ASGI connection."""

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
CONTROL = "control"
OPERATOR_SCOPES = LOCAL_SCOPES | {Scope.ADMIN}
"""Whoever may open the control socket: the operator of this machine."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


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


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller, and the token that they hold; None where the door needs none."""

    caller: Caller
    token: Token | None = None


class Door(Protocol):
    """One way of finding out who is calling. Above: `AgentApp`, which puts the answer into ``scope["tom.caller"]``.

    Not a place for rights: how far the caller reaches is `policy.permissions.require`'s to say.
    """

    @property
    def alone(self) -> bool:
        """Whether this agent is the chat backend itself: there is no gateway before it."""
        ...

    async def check_url(self, scope: Asgi) -> None:
        """Refuse a connection whose URL shows a token: `TokenInUrl`."""
        ...

    def identify(self, scope: Asgi) -> Caller:
        """Who is calling, by headers and connection only; nothing of the body is read.

        Raises a `TomError` with the reason to refuse: `AuthenticationRequired`, `InvalidToken`, `WrongHost`, …
        """
        ...

    def admit(self, scope: Asgi) -> Admitted:
        """As `identify`, with what the caller holds: what is open under it ends with it."""
        ...

    def holds(self, admitted: Admitted) -> bool:
        """Whether somebody who was let in still may be here."""
        ...


class WithoutTokens:
    """What doors have in common that look at no token: they say `identify`."""

    __slots__ = ()

    async def check_url(self, scope: Asgi) -> None:
        """Whatever stands there is worth nothing here."""

    def identify(self, scope: Asgi) -> Caller:  # noqa: ARG002 - one signature
        """Nobody, unless a door says who."""
        raise AuthenticationRequired

    def admit(self, scope: Asgi) -> Admitted:
        """As `identify`."""
        return Admitted(self.identify(scope))

    def holds(self, admitted: Admitted) -> bool:  # noqa: ARG002 - there is nothing that could end
        """Always: the gateway closes what ends there."""
        return True


@dataclass(frozen=True, slots=True)
class BehindGateway(WithoutTokens):
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
class AtThisMachine(WithoutTokens):
    """Anybody on this machine (``chat.auth: local``); ``allow_origins`` may speak from a browser besides the own one.

    ``hosts``: names besides those of loopback by which it may be asked for (``global.public_hosts``). ``address_of`` says
    where a connection comes from.
    """

    allow_origins: frozenset[str] = frozenset()
    user: str = "local"
    hosts: frozenset[str] = frozenset()
    address_of: Callable[[Asgi], str] = peer_of
    alone: bool = field(default=True, init=False)

    def identify(self, scope: Asgi) -> Caller:
        """The person. Raises `WrongHost`, `OriginNotAllowed`."""
        headers = headers_of(scope)
        host = text_of(headers, b"host").lower()
        if _name_of(host) not in LOOPBACK_HOSTS | self.hosts:
            raise WrongHost
        check_origin(scope, headers, host, self.allow_origins)
        return Caller(self.user, "local", LOCAL_SCOPES, f"user:{self.user}", self.address_of(scope))


@dataclass(frozen=True, slots=True)
class AtControlSocket(WithoutTokens):
    """The operator of this machine, at ``<home>/agent.sock``: the file's mode is the lock."""

    user: str = "local"
    alone: bool = field(default=True, init=False)

    def identify(self, scope: Asgi) -> Caller:  # noqa: ARG002 - whoever could open it
        """The operator."""
        return Caller(self.user, CONTROL, OPERATOR_SCOPES, f"user:{self.user}")


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
    try:
        parts = urlsplit(origin.decode("latin-1").lower())
    except ValueError:  # such as http://[
        return False
    schemes = {"http", "ws"} if scope.get("scheme") in {"http", "ws"} else {"https", "wss"}
    return parts.scheme in schemes and parts.netloc == host


def _told_scopes(headers: Mapping[bytes, bytes], door: str) -> frozenset[Scope]:
    told = headers.get(b"x-tom-scopes")
    if told is not None:
        return scopes_of(told.decode("latin-1").split())
    if door == CONTROL:
        return OPERATOR_SCOPES
    return LOGIN_SCOPES if door == "cookie" else frozenset()


def _name_of(host: str) -> str:
    """A ``Host`` header without its port."""
    return host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
