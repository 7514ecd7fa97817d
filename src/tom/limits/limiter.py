"""The seam between a door and the place where arrivals are counted.

Above: the doors, which name who is asking. Below: `local.py` (this process) and `redis.py` (all processes of one Redis).
It knows no route, no header and no status, and it never lets everything pass because a place is not reachable.

GCRA, the generic cell rate algorithm (ITU-T I.371): one timestamp for each key says when its bucket is full again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rule:
    """On average ``rate`` arrivals a second, ``burst`` at once."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class Key:
    """Who is counted (``user:NAME``, ``api_key:SHA-256``, ``ip:ADDRESS``, with a prefix for another bucket), by which rule."""

    name: str
    rule: Rule


class Limiter(Protocol):
    """Counts arrivals."""

    @property
    def backend(self) -> str:
        """``local`` or ``redis``."""
        ...

    async def take(self, keys: Sequence[Key]) -> float:
        """Let one arrival pass under each of ``keys``: 0.0. Otherwise the seconds until it would, and none is charged."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
