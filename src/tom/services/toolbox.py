"""The seam between a run and the tools of its person's MCP services.

Above: `tom.agent`, which offers tools to a model and calls them. Below: `registry.py` (real connections, pooled and
warm) and `memory.py` (tools that are Python functions). It is not a session and not a policy: it says what there
is and carries a call; whether a call may be made is decided above. What services offer to read (prompts, resources,
descriptions) is the other seam, `library.py`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tom.conversation.elicitation import Continuation, Elicitation, ElicitationAnswer
from tom.conversation.tool import ToolDefinition, ToolOutcome
from tom.services.arguments import ArgumentProblem


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as ``GET /status`` shows it. ``status``: connected, connecting, disabled or error.

    ``pin_changed``: some of its tools differ from what was reviewed and are off until an admin has seen them.
    """

    name: str
    status: str
    description: str = ""
    complexity: int = 1
    tools_count: int = 0
    enabled: bool = True
    url: str | None = None
    llm: str | None = None
    error: str | None = None
    pin_changed: bool = False


@dataclass(frozen=True, slots=True)
class ToolList:
    """The tools on offer now.

    ``unavailable``: services without any because they cannot be reached (name -> reason). ``held``: tools that are off
    because they changed since they were reviewed (full name -> what to do); they are not on offer.
    """

    tools: tuple[ToolDefinition, ...]
    unavailable: Mapping[str, str]
    held: Mapping[str, str] = field(default_factory=dict[str, str])


class Exchange(Protocol):
    """What passes between a service and the person while a call is under way."""

    def progressed(self, done: float, total: float | None, message: str) -> None:
        """The service says how far it is. Must not wait."""
        ...

    async def elicit(self, question: Elicitation) -> ElicitationAnswer:
        """The service waits on the open connection for the person's answer (revision 2025-11-25).

        The time until it comes is not counted against the call's time-out.
        """
        ...


class Toolbox(Protocol):
    """The tools of one person."""

    async def start(self) -> None:
        """Begin to look after the services, connecting to none. To be closed by the same task."""
        ...

    async def tools(self, services: Collection[str] | None = None) -> ToolList:
        """The tools of the named services (default: all enabled), opening connections as needed, in parallel.

        A service whose list was kept from an earlier time is not waited for. Never raises and never waits for a dead
        service longer than its connection timeout; one that failed lately is reported as unavailable at once.
        """
        ...

    async def call(
        self,
        tool: ToolDefinition,
        arguments: Mapping[str, Any],
        *,
        key: str = "",
        timeout: float | None = None,
        exchange: Exchange | None = None,
        continuation: Continuation | None = None,
    ) -> ToolOutcome:
        """Call a tool. ``key`` travels as ``_meta["tom/key"]``; ``timeout`` in seconds (default: the service's).

        The definition is compared with the one pinned once more; when it differs nothing is called and the outcome is
        an error whose ``extra["held"]`` says so. A service of revision 2026-07-28 that wants to know something first
        gives an outcome with ``needs``; the same call is then made again with a ``continuation``. Without an
        ``exchange`` questions on the open connection are declined. Never raises for what a service does: a crash, a
        time-out or rubbish is an outcome with ``is_error``. Cancelling the task cancels the call at the service.
        """
        ...

    def check(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> ArgumentProblem | None:
        """What is wrong with ``arguments`` by the service's own schema; None when nothing is."""
        ...

    def status(self) -> tuple[ServiceStatus, ...]:
        """Every configured service, by name."""
        ...

    async def close(self) -> None:
        """Close all connections and end every child process with its group."""
        ...
