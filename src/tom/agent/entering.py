"""The first thing that happens to a connection: who is calling, and whether there is anything for them behind its path.

What a caller may do with an operation is its guard's to say (`guarding.py`). Here stands what has no guard: the routes of
Tom, and those that are the operator's alone.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from tom.agent.identify import Admitted, Door
from tom.errors import AuthenticationRequired, ConflictingCredentials, InvalidToken, NotFoundHere, TomError
from tom.openapi.operations import OPERATIONS
from tom.policy.permissions import NOBODY, Caller, Scope, require


def _first(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]


_GUARDED: Final = frozenset(_first(row.path) for row in OPERATIONS) | {"examples"}
_NEEDING: Final = frozenset(_first(row.path) for row in OPERATIONS if not row.house) | {"ws"}
_OPEN: Final = _GUARDED - _NEEDING
"""Where nobody need say who they are: health, figures, documents, and the admin's desk with a lock of its own."""

_OF_TOM: Final[Mapping[str, Scope]] = {
    "process": Scope.CHAT,
    "reset": Scope.CHAT,
    "tasks": Scope.READ,
    "status": Scope.READ,
    "notifications": Scope.NOTIFICATIONS,
}
_OUTSIDE: Final = frozenset({"token", "visitor", "nobody"})
"""Doors of an agent alone that lead to somebody else than its operator."""


async def enter(door: Door, scope: MutableMapping[str, Any]) -> TomError | None:
    """Put who is calling into the connection's scope (``tom.caller``, ``tom.door``, ``tom.admitted``).

    Returns the reason to refuse it, if there is one.
    """
    try:
        await door.check_url(scope)
        admitted = _admit(door, scope)
        if door.alone and admitted.caller.door in _OUTSIDE:
            _check_way(admitted.caller, _first(scope["path"]))
    except TomError as refused:
        return refused
    scope["tom.caller"] = admitted.caller
    scope["tom.door"] = admitted.caller.door
    scope["tom.admitted"] = admitted
    return None


def _admit(door: Door, scope: MutableMapping[str, Any]) -> Admitted:
    try:
        return door.admit(scope)
    except (AuthenticationRequired, InvalidToken, ConflictingCredentials):
        if door.alone and scope["type"] == "http" and _first(scope["path"]) in _OPEN:
            return Admitted(NOBODY)
        raise


def _check_way(caller: Caller, first: str) -> None:
    """Whether there is anything at all for somebody from outside."""
    if first in _GUARDED:
        return
    if first not in _OF_TOM:
        raise NotFoundHere
    if caller.visitor:  # these go on with a conversation that nobody names
        raise AuthenticationRequired
    require(caller, _OF_TOM[first])
