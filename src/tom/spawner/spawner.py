"""The seam between the gateway's pool and whatever runs an agent.

Above: `tom.gateway.pool`, which knows users, idleness, back-off. Below: `process.py` (forked from a warm parent) and
`memory.py` (an agent in the same process, for tests). Start, poll and stop is all a spawner is: it keeps no list of
users, decides nothing about restarts and never looks at a request.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What an agent is started with.

    ``document`` is one JSON document (settings, keys, agent secret; at most 1 MiB) that reaches the agent through a
    pipe and stands in no environment, argument or file. ``socket`` is the path of the Unix socket to listen on.
    """

    user: str
    document: bytes
    socket: str


@dataclass(frozen=True, slots=True)
class AgentHandle:
    """A started agent."""

    user: str
    pid: int
    socket: str


class Spawner(Protocol):
    """Start, poll, stop."""

    async def start(self, spec: AgentSpec) -> AgentHandle:
        """Start an agent; returns when its socket listens (requests wait in its backlog until it serves).

        Raises `AgentFailed` with one sentence that says what to do.
        """
        ...

    async def poll(self, handle: AgentHandle) -> int | None:
        """None while it runs, else its exit status (negative: the signal that ended it)."""
        ...

    async def stop(self, handle: AgentHandle, *, grace: float = 30.0) -> int:
        """Ask it to stop (SIGTERM), wait ``grace`` seconds, then end it; returns the exit status."""
        ...

    async def close(self) -> None:
        """Stop every agent that is left, and the spawner's own processes."""
        ...
