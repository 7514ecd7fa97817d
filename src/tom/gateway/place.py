"""What the pool knows of one user's agent."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tom.spawner.spawner import AgentHandle

MANY_CRASHES: Final = 3
CRASH_WINDOW: Final = 60.0
LONGEST_BACK_OFF: Final = 60.0


@dataclass(slots=True, eq=False)
class Place:
    """One agent's place. Times are of the monotonic clock.

    ``work`` is what is being done to the agent now, a start or a stop; requests wait for it.
    """

    user: str
    used: float
    handle: AgentHandle | None = None
    in_use: int = 0
    work: asyncio.Task[None] | None = None
    failed: bool = False
    wanted: bool = True
    started: float = 0.0
    retry_at: float = 0.0
    crashes: deque[float] = field(default_factory=lambda: deque[float](maxlen=16))
    in_a_row: int = 0

    def crashed(self, now: float) -> float:
        """Count a crash; returns the seconds until the agent is started again: 1, 2, 4 … 60."""
        steady = self.handle is not None and now - self.started >= CRASH_WINDOW
        self.in_a_row = 1 if steady else self.in_a_row + 1
        self.crashes.append(now)
        self.handle = None
        wait = min(LONGEST_BACK_OFF, 2.0 ** (self.in_a_row - 1))
        self.retry_at = now + wait
        return wait

    def refuses_until(self, now: float) -> float:
        """Seconds during which requests are refused at once: after three crashes in a minute, until the next start."""
        recent = sum(1 for moment in self.crashes if now - moment <= CRASH_WINDOW)
        return self.retry_at - now if recent >= MANY_CRASHES and self.retry_at > now else 0.0

    @property
    def occupied(self) -> bool:
        """An agent is there, or coming, or going."""
        return self.handle is not None or self.work is not None
