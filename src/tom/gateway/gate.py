"""The checks that come before anything else, the same for requests and sockets: Host, who is calling, from which page."""

from collections.abc import Awaitable, Callable, Sequence

from tom.accounts.hosts import Hosts
from tom.accounts.presented import presented_token, token_in_url
from tom.accounts.refusals import TokenInUrl
from tom.accounts.tickets import Tickets, offered_ticket
from tom.errors import ConflictingCredentials, InvalidToken, OriginNotAllowed, WrongHost
from tom.gateway import csrf
from tom.gateway.identify import NOBODY, Identity, KnownCredentials, Principal, identify
from tom.gateway.request import Request
from tom.limits.addresses import Peers

type Burn = Callable[[str], Awaitable[object]]
"""Takes back a token that was shown where it must not be."""


class Gate:
    """Decides by headers and connection only; it reads no body and no path."""

    def __init__(
        self,
        hosts: Hosts,
        peers: Peers,
        known: KnownCredentials,
        *,
        listed_origins: Sequence[str] = (),
        tickets: Tickets[Principal] | None = None,
        burn: Burn | None = None,
    ) -> None:
        """``listed_origins``: foreign pages that may open a WebSocket (``chat.websocket.allow_origins``).

        ``burn`` takes back a token that stands in a URL.
        """
        self._hosts = hosts
        self._peers = peers
        self._known = known
        self._listed = frozenset(listed_origins)
        self._tickets = tickets
        self._burn = burn

    def receive(self, request: Request) -> None:
        """Fill in where the request comes from. `WrongHost` when it names another machine."""
        peer = request.address
        request.address = self._peers.address(peer, request.headers)
        request.scheme = self._peers.scheme(peer, request.headers, request.scheme)
        if not self._hosts.knows(request.headers.get(b"host", b"").decode("latin-1")):
            raise WrongHost

    async def check_url(self, request: Request) -> None:
        """Refuse a request whose URL shows a token, which is worth nothing from now on: `TokenInUrl`."""
        shown = token_in_url(request.scope.get("raw_path") or b"", request.scope["query_string"])
        if shown is not None:
            if self._burn is not None:
                await self._burn(shown)
            raise TokenInUrl

    def identify(self, request: Request) -> Identity:
        """Who is calling; also kept in the request."""
        headers: list[tuple[bytes, bytes]] = request.scope["headers"]
        identity = identify(headers, request.headers.get(b"cookie"), self._known, secure=request.secure)
        request.identity = identity
        return identity

    def identify_socket(self, request: Request) -> Identity:
        """Who opens a socket: as `identify`, but a page elsewhere has no cookie, and a ticket is as good as a token.

        A ticket is used up. Raises `OriginNotAllowed` for a page that may not open one, or not with a cookie.
        """
        self._check_socket_origin(request)
        ticket = offered_ticket(request.headers.get(b"sec-websocket-protocol", b"").decode("latin-1"))
        if ticket is not None:
            request.identity = self._by_ticket(request, ticket)
        elif self._is_elsewhere(request) and not _shows_token(request):
            request.identity = NOBODY
        elif self.identify(request).principal and not _shows_token(request):
            self.check_origin(request)
        return request.identity

    def _by_ticket(self, request: Request, ticket: str) -> Identity:
        who = self._tickets.redeem(ticket, request.path, holds=self._holds) if self._tickets else None
        if who is None:
            return Identity(None, refused=InvalidToken())
        if _shows_token(request):
            shown = identify(request.scope["headers"], None, self._known, secure=request.secure)
            if shown.principal is None or shown.principal.held is not who.held:
                return Identity(None, refused=shown.refused or ConflictingCredentials())
        return Identity(who)

    def _holds(self, who: Principal) -> bool:
        return self._known.may_come_in(who.held)

    def check_origin(self, request: Request, *, logging_in: bool = False) -> None:
        """For what changes something: `OriginNotAllowed` when a foreign page may be behind it."""
        if not csrf.allows(request.headers, lambda origin: self._is_own(request, origin), logging_in=logging_in):
            request.identity = NOBODY  # a foreign page does not get a cookie cleared either
            raise OriginNotAllowed

    def _check_socket_origin(self, request: Request) -> None:
        origin = request.headers.get(b"origin")
        if not csrf.origin_allowed(origin, lambda text: self._is_own(request, text), self._listed):
            raise OriginNotAllowed

    def _is_elsewhere(self, request: Request) -> bool:
        """Whether a page of another origin asks; it is a listed one, since it got this far."""
        origin = request.headers.get(b"origin")
        return origin is not None and not self._is_own(request, origin.decode("latin-1"))

    def _is_own(self, request: Request, origin: str) -> bool:
        host = request.headers.get(b"host", b"").decode("latin-1")
        server = request.scope.get("server") or ("", None)
        return self._hosts.is_own_origin(origin, scheme=request.scheme, host=host, port=server[1] or 0)


def _shows_token(request: Request) -> bool:
    """Whether a header carries a token, or two that differ."""
    try:
        return presented_token(request.scope["headers"]) is not None
    except ConflictingCredentials:
        return True
