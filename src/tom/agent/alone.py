"""The doors of an agent that is the chat backend itself, beyond this machine: ``chat.auth`` `token` and `public`.

With `token` a caller shows an API token of this agent, or (to open a socket) a ticket that a token was given. With
`public` whoever shows none is a visitor, who holds nothing but the ids of the sessions they opened.
"""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tom.accounts.hosts import Hosts
from tom.accounts.presented import presented_token, token_in_url
from tom.accounts.refusals import TokenInUrl
from tom.accounts.tickets import offered_ticket
from tom.agent.doorfile import DoorFile
from tom.agent.identify import (
    Admitted,
    Asgi,
    AtThisMachine,
    Door,
    changes,
    check_origin,
    headers_of,
    peer_of,
    text_of,
)
from tom.config.agent import AgentSettings
from tom.errors import AuthenticationRequired, ConflictingCredentials, InvalidToken, WrongHost
from tom.limits.addresses import Peers
from tom.policy.permissions import VISITOR_SCOPES, Caller

type AddressOf = Callable[[Asgi], str]


@dataclass(frozen=True, slots=True)
class WithTokens:
    """Whoever shows a token of this agent; with ``visitors`` also whoever shows none.

    ``address_of`` says where a connection comes from. ``allow_origins``: pages elsewhere that may open a socket.
    """

    user: str
    file: DoorFile
    hosts: Hosts
    allow_origins: frozenset[str] = frozenset()
    visitors: bool = False
    address_of: AddressOf = peer_of
    alone: bool = field(default=True, init=False)

    async def check_url(self, scope: Asgi) -> None:
        """`TokenInUrl` for a connection whose URL shows a token, which is worth nothing from now on."""
        shown = token_in_url(scope.get("raw_path") or b"", scope.get("query_string", b""))
        if shown is not None:
            await self.file.tokens.revoke_shown(shown)
            raise TokenInUrl

    def identify(self, scope: Asgi) -> Caller:
        """The owner of the token or ticket that is shown, or a visitor.

        Raises `WrongHost`, `OriginNotAllowed`, `InvalidToken`, `ConflictingCredentials`, `AuthenticationRequired`.
        """
        return self.admit(scope).caller

    def admit(self, scope: Asgi) -> Admitted:
        """As `identify`, with the token: what is open under it ends with it."""
        headers = headers_of(scope)
        host = text_of(headers, b"host").lower()
        if not self.hosts.knows(host):
            raise WrongHost
        shown = presented_token(scope.get("headers", ()))
        opening = scope["type"] == "websocket"
        # A token is no page's to send along by itself: only who shows none is judged by the page.
        if opening or (shown is None and changes(scope)):
            check_origin(scope, headers, host, self.allow_origins)
        ticket = offered_ticket(text_of(headers, b"sec-websocket-protocol")) if opening else None
        if ticket is not None:
            return self._by_ticket(ticket, scope, shown)
        if shown is not None:
            return self._by_token(shown, scope)
        if not self.visitors:
            raise AuthenticationRequired
        return Admitted(Caller(self.user, "visitor", VISITOR_SCOPES, "", self.address_of(scope)))

    def holds(self, admitted: Admitted) -> bool:
        """Whether somebody who was let in still may be here."""
        return admitted.token is None or not self.file.tokens.is_over(admitted.token)

    def _by_token(self, shown: str, scope: Asgi) -> Admitted:
        token = self.file.tokens.find(shown)
        if token is None:
            raise InvalidToken
        return Admitted(Caller(token.user, "token", token.scopes, token.key, self.address_of(scope)), token)

    def _by_ticket(self, ticket: str, scope: Asgi, shown: str | None) -> Admitted:
        found = self.file.tickets.redeem(ticket, scope["path"], holds=self.holds)
        if found is None:
            raise InvalidToken
        if shown is not None and self._by_token(shown, scope).token is not found.token:
            raise ConflictingCredentials
        return found


def known_hosts(names: Iterable[str]) -> Hosts:
    """Under which names an agent alone is known: as written, else loopback, this machine's addresses and its own name."""
    name = socket.gethostname()
    own = (name, f"{name}.local") if name else ()
    return Hosts(tuple(names), certificate_names=lambda: own)


def door_alone(settings: AgentSettings, file: DoorFile) -> Door:
    """The door that ``chat.auth`` asks for."""
    doors, listed = settings.doors, frozenset(settings.chat.allow_origins)
    peers = Peers(doors.trusted_proxies)

    def address_of(scope: Asgi) -> str:
        written = [value for name, value in scope.get("headers", ()) if name == b"x-forwarded-for"]
        return peers.address(peer_of(scope), {b"x-forwarded-for": b",".join(written)})

    if doors.auth == "local":
        return AtThisMachine(listed, settings.user, frozenset(name.lower() for name in doors.public_hosts), address_of)
    hosts = known_hosts(doors.public_hosts)
    return WithTokens(settings.user, file, hosts, listed, visitors=doors.auth == "public", address_of=address_of)
