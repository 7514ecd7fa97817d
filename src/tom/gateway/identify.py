"""Token, cookie or ticket → principal: the one place where the gateway decides who is calling.

A token wins over a cookie, which then counts for nothing, so that nothing a browser adds by itself has a say.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from tom.accounts.logins import Login
from tom.accounts.presented import presented_token
from tom.accounts.tokens import Token
from tom.errors import ConflictingCredentials, InvalidToken, TomError
from tom.policy.permissions import Caller, Scope

SECURE_COOKIE: Final = b"__Host-tom"
LOOPBACK_COOKIE: Final = b"tom_login"
_MOST_CANDIDATES: Final = 16


class KnownCredentials(Protocol):
    """Where credentials are looked up; `tom.accounts.accounts.Accounts` is one."""

    def find(self, token: str) -> Login | None:
        """The login in force that a cookie's value belongs to."""
        ...

    def find_token(self, text: str) -> Token | None:
        """The token in force that was shown."""
        ...

    def scopes(self, held: Login | Token) -> frozenset[Scope]:
        """How far a login or token reaches at the moment."""
        ...

    def may_come_in(self, held: Login | Token) -> bool:
        """Whether what was good still is."""
        ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, how far they reach, and the login or token that they hold; what is open under it ends with it.

    ``key`` names them where rates are counted; ``door`` is ``cookie`` or ``token``.
    """

    user: str
    held: Login | Token
    scopes: frozenset[Scope]
    key: str
    door: str = "cookie"

    @property
    def login(self) -> Login | None:
        """The login, where it is one."""
        return self.held if isinstance(self.held, Login) else None

    def caller(self, address: str) -> Caller:
        """As `policy.permissions` and the agent know them; ``address`` is the client's."""
        return Caller(self.user, self.door, self.scopes, self.key, address)


@dataclass(frozen=True, slots=True)
class Identity:
    """``principal`` is None for nobody; ``stale``: a login cookie was sent that belongs to none in force.

    ``refused``: a credential was shown that is none, which is told where one is needed.
    """

    principal: Principal | None
    stale: bool = False
    refused: TomError | None = None

    @property
    def shows_nothing(self) -> bool:
        """Whether there was no credential, or only a cookie of a login that is over."""
        return self.principal is None and self.refused is None


NOBODY: Final = Identity(None)


def identify(
    headers: Iterable[tuple[bytes, bytes]], cookies: bytes | None, known: KnownCredentials, *, secure: bool
) -> Identity:
    """Who that is: by the token in the raw ``headers`` where there is one, else by ``cookies``."""
    try:
        shown = presented_token(headers)
    except ConflictingCredentials as conflict:
        return Identity(None, refused=conflict)
    if shown is None:
        return _by_cookie(cookies, known, secure=secure)
    token = known.find_token(shown)
    if token is None:
        return Identity(None, refused=InvalidToken())
    return Identity(Principal(token.user, token, known.scopes(token), token.key, "token"))


def _by_cookie(cookies: bytes | None, known: KnownCredentials, *, secure: bool) -> Identity:
    """The first login cookie that is in force counts, everything else is as if not sent."""
    if not cookies:
        return NOBODY
    seen = False
    for value in _values(cookies, SECURE_COOKIE if secure else LOOPBACK_COOKIE):
        seen = True
        login = known.find(value.decode("latin-1"))
        if login is not None:
            return Identity(Principal(login.user, login, known.scopes(login), f"user:{login.user}"))
    return Identity(None, stale=True) if seen else NOBODY


def login_cookie(token: str, *, secure: bool, max_age: int | None) -> bytes:
    """The ``Set-Cookie`` value for a new login; ``max_age`` None: it ends with the browser."""
    age = "" if max_age is None else f"; Max-Age={max_age}"
    return _cookie(token.encode(), secure) + age.encode()


def cleared_cookie(*, secure: bool) -> bytes:
    """The ``Set-Cookie`` value that removes the cookie."""
    return _cookie(b"", secure) + b"; Max-Age=0"


def _cookie(value: bytes, secure: bool) -> bytes:
    if secure:
        return SECURE_COOKIE + b"=" + value + b"; Path=/; HttpOnly; SameSite=Lax; Secure"
    return LOOPBACK_COOKIE + b"=" + value + b"; Path=/; HttpOnly; SameSite=Lax"


def _values(cookies: bytes, name: bytes) -> Iterable[bytes]:
    start = name + b"="
    found = (part.strip() for part in cookies.split(b";"))
    values = [part[len(start) :] for part in found if part.startswith(start)]
    return values[:_MOST_CANDIDATES]
