"""Cookie → principal: the one place where the gateway decides who is calling."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from tom.accounts.logins import Login

SECURE_COOKIE: Final = b"__Host-tom"
LOOPBACK_COOKIE: Final = b"tom_login"
_MOST_CANDIDATES: Final = 16


class KnownLogins(Protocol):
    """Where logins are looked up; `tom.accounts.accounts.Accounts` is one."""

    def find(self, token: str) -> Login | None:
        """The login in force that a cookie's value belongs to."""
        ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, and through which login."""

    user: str
    login: Login
    door: str = "cookie"


@dataclass(frozen=True, slots=True)
class Identity:
    """``principal`` is None for nobody; ``stale``: a login cookie was sent that belongs to none in force."""

    principal: Principal | None
    stale: bool = False


NOBODY: Final = Identity(None)


def identify(cookies: bytes | None, logins: KnownLogins, *, secure: bool) -> Identity:
    """Read the ``Cookie`` header: the first login cookie that is in force counts, everything else is as if not sent."""
    if not cookies:
        return NOBODY
    seen = False
    for value in _values(cookies, SECURE_COOKIE if secure else LOOPBACK_COOKIE):
        seen = True
        login = logins.find(value.decode("latin-1"))
        if login is not None:
            return Identity(Principal(login.user, login))
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
