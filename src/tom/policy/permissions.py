"""Who is calling, and how far they reach. Every door asks `require`; none decides by itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tom.errors import AuthenticationRequired, ScopeMissing


class Scope(StrEnum):
    """What a credential gives access to."""

    CHAT = "chat"
    READ = "read"
    OPTIONS = "options"
    ROLES = "roles"
    OPENAI = "openai"
    MEMORY = "memory"
    NOTIFICATIONS = "notifications"
    HEALTH = "health"
    ADMIN = "admin"


VISITOR_SCOPES = frozenset({Scope.CHAT})
"""A visitor has no credential: a session's id is all that they hold."""

LOCAL_SCOPES = frozenset(Scope) - {Scope.ADMIN}
"""Whoever sits at the machine of an agent that runs alone."""

LOGIN_SCOPES = LOCAL_SCOPES - {Scope.ROLES, Scope.OPENAI}
"""A person who has logged in; an admin has `Scope.ADMIN` besides."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a request, as the door found out.

    ``door``: ``cookie``, ``token``, ``control`` (this machine's operator), ``local``, ``visitor``, or ``nobody`` (who has
    shown nothing that counts, where that will do). ``key`` names the
    caller where rates are counted (``user:NAME`` or ``api_key:SHA-256``), empty for a visitor; ``address`` is the
    client's, empty where nobody knows it.
    """

    user: str
    door: str
    scopes: frozenset[Scope]
    key: str = ""
    address: str = ""

    @property
    def visitor(self) -> bool:
        """Whether they have no credential."""
        return self.door == "visitor"

    def may(self, scope: Scope) -> bool:
        """Whether they reach this far."""
        return scope in self.scopes


NOBODY = Caller("", "nobody", frozenset())
"""Who has shown no credential, at routes that are open to everybody."""


def require(caller: Caller, scope: Scope) -> None:
    """Let the caller pass, or raise: `AuthenticationRequired` for who has no credential, else `ScopeMissing`."""
    if caller.may(scope):
        return
    if caller.visitor or caller is NOBODY:
        raise AuthenticationRequired
    whose = "Token" if caller.door == "token" else "Login"
    raise ScopeMissing(f"{whose} lacks scope '{scope}'", scope=str(scope))


def require_way(caller: Caller, scope: Scope | None, instead: Scope | None = None, also: Scope | None = None) -> None:
    """Let a caller pass who has ``scope`` or ``instead`` of it, and ``also`` besides; else as `require` of what is missing.

    ``scope`` None: everybody passes.
    """
    if scope is None:
        return
    if instead is None or not caller.may(instead):
        require(caller, scope)
    if also is not None:
        require(caller, also)


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes of these names; names of none are passed over."""
    known = frozenset(names)
    return frozenset(scope for scope in Scope if scope.value in known)
