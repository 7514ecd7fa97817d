"""The seam between a run and the MCP services of its person.

Above: `tom.agent`, which offers tools to a model and calls them. Below: `registry.py` (real connections, pooled and
warm) and `memory.py` (tools that are Python functions). It is not a session and not a policy: it says what there
is and carries a call; whether a call may be made is decided above.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tom.conversation.tool import ToolDefinition, ToolOutcome


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as ``GET /status`` shows it. ``status``: connected, connecting, disabled or error."""

    name: str
    status: str
    description: str = ""
    complexity: int = 1
    tools_count: int = 0
    enabled: bool = True
    url: str | None = None
    llm: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ToolList:
    """The tools on offer now, and the services that have none because they cannot be reached (name -> reason)."""

    tools: tuple[ToolDefinition, ...]
    unavailable: Mapping[str, str]


class Toolbox(Protocol):
    """The services of one person."""

    async def start(self) -> None:
        """Begin to look after the services, connecting to none. To be closed by the same task."""
        ...

    async def tools(self, services: Collection[str] | None = None) -> ToolList:
        """The tools of the named services (default: all enabled), opening connections as needed, in parallel.

        Never raises and never waits for a dead service longer than its connection timeout; a service that failed
        lately is reported as unavailable at once.
        """
        ...

    async def call(
        self, tool: ToolDefinition, arguments: Mapping[str, Any], *, key: str = "", timeout: float | None = None
    ) -> ToolOutcome:
        """Call a tool. ``key`` travels as ``_meta["tom/key"]``; ``timeout`` in seconds (default: the service's).

        Never raises for what a service does: a crash, a time-out or rubbish is an outcome with ``is_error``.
        Cancelling the task cancels the call at the service.
        """
        ...

    def validate(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> str | None:
        """The message for the model when ``arguments`` break the service's own schema, else None."""
        ...

    def status(self) -> tuple[ServiceStatus, ...]:
        """Every configured service, by name."""
        ...

    async def close(self) -> None:
        """Close all connections and end every child process with its group."""
        ...
