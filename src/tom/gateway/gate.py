"""The checks that come before anything else, the same for requests and sockets: Host, who is calling, from which page."""

from collections.abc import Sequence

from tom.errors import OriginNotAllowed, WrongHost
from tom.gateway import csrf
from tom.gateway.hosts import Hosts
from tom.gateway.identify import NOBODY, Identity, KnownLogins, identify
from tom.gateway.peers import Peers
from tom.gateway.request import Request


class Gate:
    """Decides by headers and connection only; it reads no body and no path."""

    def __init__(self, hosts: Hosts, peers: Peers, logins: KnownLogins, *, listed_origins: Sequence[str] = ()) -> None:
        """``listed_origins``: foreign pages that may open a WebSocket (``chat.websocket.allow_origins``)."""
        self._hosts = hosts
        self._peers = peers
        self._logins = logins
        self._listed = frozenset(listed_origins)

    def receive(self, request: Request) -> None:
        """Fill in where the request comes from. `WrongHost` when it names another machine."""
        peer = request.address
        request.address = self._peers.address(peer, request.headers)
        request.scheme = self._peers.scheme(peer, request.headers, request.scheme)
        if not self._hosts.knows(request.headers.get(b"host", b"").decode("latin-1")):
            raise WrongHost

    def identify(self, request: Request) -> Identity:
        """Who is calling; also kept in the request."""
        identity = identify(request.headers.get(b"cookie"), self._logins, secure=request.secure)
        request.identity = identity
        return identity

    def check_origin(self, request: Request, *, logging_in: bool = False) -> None:
        """For what changes something: `OriginNotAllowed` when a foreign page may be behind it."""
        if not csrf.allows(request.headers, lambda origin: self._is_own(request, origin), logging_in=logging_in):
            request.identity = NOBODY  # a foreign page does not get a cookie cleared either
            raise OriginNotAllowed

    def check_socket(self, request: Request) -> None:
        """For an upgrade, before its credential is looked at: `OriginNotAllowed` for a page that may not open one."""
        origin = request.headers.get(b"origin")
        if not csrf.origin_allowed(origin, lambda text: self._is_own(request, text), self._listed):
            raise OriginNotAllowed

    def _is_own(self, request: Request, origin: str) -> bool:
        host = request.headers.get(b"host", b"").decode("latin-1")
        server = request.scope.get("server") or ("", None)
        return self._hosts.is_own_origin(origin, scheme=request.scheme, host=host, port=server[1] or 0)
