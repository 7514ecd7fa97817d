"""Tickets: what a page without cookie and header opens one socket with. Once, within 30 seconds, at one path.

They are in memory only: who restarts asks for another one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tom.clock import Clock
from tom.ids import digest, secret_token

SECONDS: Final = 30
MOST: Final = 10_000
PROTOCOL: Final = "tom.chat.v1"
"""What a socket speaks, and the only subprotocol that is ever answered."""

_PREFIX: Final = "tom.ticket."


@dataclass(frozen=True, slots=True)
class _Ticket[Who]:
    who: Who
    path: str
    until: float


class Tickets[Who]:
    """The tickets that are out. ``Who`` is whatever the door calls its caller."""

    def __init__(self, clock: Clock) -> None:
        """None are out."""
        self._clock = clock
        self._out: dict[str, _Ticket[Who]] = {}

    def issue(self, who: Who, path: str) -> str:
        """A new ticket for ``who`` at ``path``; beyond `MOST` the oldest is worth nothing any more."""
        now = self._clock.monotonic()
        while self._out and (len(self._out) >= MOST or next(iter(self._out.values())).until <= now):
            del self._out[next(iter(self._out))]
        ticket = secret_token()
        self._out[digest(ticket)] = _Ticket(who, path, now + SECONDS)
        return ticket

    def redeem(self, ticket: str, path: str, *, holds: Callable[[Who], bool]) -> Who | None:
        """Whose ticket that is, if it is in force at ``path``; used up either way.

        ``holds``: whether the credential it was asked for with still lets its owner in.
        """
        found = self._out.pop(digest(ticket), None)
        if found is None or found.path != path or found.until <= self._clock.monotonic():
            return None
        return found.who if holds(found.who) else None


def offered_ticket(protocols: str) -> str | None:
    """The ticket in a ``Sec-WebSocket-Protocol`` header, empty when two of them stand there; None when there is none."""
    names = [name.strip() for name in protocols.split(",")]
    tickets = {name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)}
    if not tickets:
        return None
    return tickets.pop() if len(tickets) == 1 else ""


def agreed_protocol(protocols: str) -> str | None:
    """The subprotocol to answer with: `PROTOCOL` where it is offered, else none."""
    return PROTOCOL if PROTOCOL in {name.strip() for name in protocols.split(",")} else None
