"""``/tokens``: a person's own API tokens. ``/ws/ticket``: what a page without a cookie opens a socket with."""

from typing import Any, Final

from tom.accounts.accounts import Accounts
from tom.accounts.logins import Login
from tom.accounts.refusals import InvalidCredentials, PasswordRequired
from tom.accounts.tickets import SECONDS, Tickets
from tom.accounts.tokens import DEFAULT_DAYS, read_wish
from tom.audit.chain import Chain
from tom.clock import Clock
from tom.errors import AuthenticationRequired
from tom.gateway.identify import Principal
from tom.gateway.jsonbody import json_object
from tom.gateway.login import device_of
from tom.gateway.refusals import BadRequest, LoginRequired
from tom.gateway.request import Reply, Request, json_reply
from tom.telemetry import logs

log = logs.get("login")

FRESH_SECONDS: Final = 600.0
"""So long after a login nobody is asked for the password again."""

_FIELDS: Final = frozenset({"name", "scopes", "expires_in_days", "password"})


class TokenDoor:
    """The endpoints of tokens and tickets."""

    def __init__(
        self, accounts: Accounts, tickets: Tickets[Principal], clock: Clock, chain: Chain, *, endpoint: str
    ) -> None:
        """``endpoint``: the path that tickets open; ``chain`` is the record."""
        self._accounts = accounts
        self._chain = chain
        self._tickets = tickets
        self._clock = clock
        self._endpoint = endpoint

    async def list(self, request: Request) -> Reply:
        """``GET /tokens``: never the secrets."""
        login = _login(request)
        return json_reply({"tokens": [token.as_json() for token in self._accounts.tokens.list(login.user)]})

    async def create(self, request: Request) -> Reply:
        """``POST /tokens``: the token is told this once."""
        login, body = _login(request), await json_object(request)
        unknown = sorted(body.keys() - _FIELDS)
        if unknown:
            raise BadRequest(f"Unknown field '{unknown[0][:32]}'")
        days = body.get("expires_in_days", DEFAULT_DAYS)
        admin = self._accounts.role(login.user) == "admin"
        wish = read_wish(body.get("name"), body.get("scopes"), days, admin=admin)
        await self._confirm(request, login, body.get("password"))
        token, text = await self._accounts.tokens.create(login.user, wish)
        log.info(f"🔑 Token '{token.id}' of '{login.user}' created", event="token_created", token=token.id)
        await self._chain.note(
            "token.created", who=login.user, source=request.address, subject=token.id, after=token.as_json()
        )
        return json_reply({"id": token.id, "token": text}, 201)

    async def revoke(self, request: Request) -> Reply:
        """``DELETE /tokens/{id}``: also what is open under it ends."""
        user = _login(request).user
        token = await self._accounts.tokens.revoke(user, request.params["id"])
        log.info(f"🔑 Token '{token.id}' of '{user}' revoked", event="token_revoked", token=token.id)
        await self._chain.note("token.revoked", who=user, source=request.address, subject=token.id)
        return Reply(204, b"", [(b"cache-control", b"no-store")])

    async def ticket(self, request: Request) -> Reply:
        """``POST /ws/ticket``."""
        principal = request.identity.principal
        if principal is None:
            raise AuthenticationRequired
        await json_object(request)
        return json_reply({"ticket": self._tickets.issue(principal, self._endpoint), "expires_in": SECONDS})

    async def _confirm(self, request: Request, login: Login, password: Any) -> None:
        """Have the password again, unless the login is fresh. Raises `PasswordRequired`, `TooManyAttempts`, `TooBusy`."""
        if self._clock.now().timestamp() - login.created <= FRESH_SECONDS:
            return
        if not isinstance(password, str) or not password:
            raise PasswordRequired
        try:
            await self._accounts.confirm_password(
                login.user, password, address=request.address, device=device_of(request)
            )
        except InvalidCredentials:
            raise PasswordRequired from None


def _login(request: Request) -> Login:
    principal = request.identity.principal
    if principal is None:
        raise AuthenticationRequired
    if principal.login is None:
        raise LoginRequired
    return principal.login
