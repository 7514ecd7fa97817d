"""A toolbox whose tools are Python functions: no process, no protocol, the same contract."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tom.conversation.elicitation import Continuation
from tom.conversation.tool import ToolClass, ToolDefinition, ToolOutcome
from tom.policy.classes import propose_class
from tom.services import results
from tom.services.arguments import ArgumentProblem, ArgumentRules
from tom.services.cleaning import clean_within
from tom.services.memory_library import MemoryLibrary
from tom.services.naming import OURS, names_for
from tom.services.schema import parameters_for_model
from tom.services.toolbox import Exchange, ServiceStatus, ToolList
from tom.services.underway import ENDLESS, MOST_ROUNDS, Underway

type Function = Callable[..., Awaitable[object]]
"""Takes the arguments by name; returns text, a JSON value, None or a `ToolOutcome`.

One that has a parameter ``underway`` is given the `Underway` of its call, to tell of progress and to ask; one that has
``continuation`` what it is called with again after an outcome with ``needs``.
"""


_OURS = frozenset({"underway", "continuation"})


@dataclass(frozen=True, slots=True)
class MadeCall:
    """A call that reached a function."""

    service: str
    tool: str
    arguments: Mapping[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class _Tool:
    definition: ToolDefinition
    function: Function
    rules: ArgumentRules
    takes: frozenset[str]


class MemoryToolbox(MemoryLibrary):
    """Tools that are async functions, and a library. ``calls`` are those made so far, in order."""

    def __init__(self, *, timeout: float = 60.0) -> None:
        """``timeout``: seconds that a call may take where the caller says nothing."""
        super().__init__()
        self._timeout = timeout
        self._tools: dict[tuple[str, str], _Tool] = {}
        self._held: dict[tuple[str, str], str] = {}
        self.calls: list[MadeCall] = []

    def add(
        self,
        function: Function,
        *,
        service: str = "memory",
        name: str = "",
        description: str = "",
        parameters: Mapping[str, Any] | None = None,
        tool_class: ToolClass | None = None,
    ) -> None:
        """Offer ``function`` as a tool of ``service``; ``name`` and ``description`` default to its own."""
        tool = name or getattr(function, "__name__", "tool")
        schema: dict[str, Any] = dict(parameters) if parameters is not None else {"type": "object", "properties": {}}
        definition = ToolDefinition(
            name=tool,
            service=service,
            tool=tool,
            description=clean_within(description or function.__doc__ or "", 2048),
            parameters=parameters_for_model(schema),
            tool_class=tool_class or propose_class(tool),
        )
        self._tools[service, tool] = _Tool(
            definition, function, ArgumentRules(schema), _OURS & set(inspect.signature(function).parameters)
        )

    def remove(self, service: str, tool: str) -> None:
        """Stop offering a tool."""
        del self._tools[service, tool]

    def hold(self, service: str, tool: str, reason: str | None) -> None:
        """Take a tool off offer as one that differs from its pin; None: it was reviewed."""
        if reason is None:
            self._held.pop((service, tool), None)
        else:
            self._held[service, tool] = reason

    async def tools(self, services: Collection[str] | None = None) -> ToolList:
        """The tools of the named services (default: all)."""
        names = names_for([*self._tools, *OURS])
        offered = tuple(
            _named(tool.definition, names[full])
            for full, tool in self._tools.items()
            if full[0] not in self._unavailable and full not in self._held and (services is None or full[0] in services)
        )
        held = {f"{s}.{tool}": why for (s, tool), why in self._held.items() if services is None or s in services}
        unavailable = {n: why for n, why in self._unavailable.items() if services is None or n in services}
        return ToolList(offered, unavailable, held)

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
        """Call the function; whatever it raises is an outcome."""
        known = self._tools.get((tool.service, tool.tool))
        if (
            known is None
            or self._closed
            or tool.service in self._unavailable
            or (tool.service, tool.tool) in self._held
        ):
            return self._refused(tool)
        self.calls.append(MadeCall(tool.service, tool.tool, dict(arguments), key))
        limit = self._timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit) as deadline:
                underway = Underway(tool.service, exchange, deadline)
                try:
                    return underway.noted(await _in_rounds(known, arguments, underway, continuation))
                finally:
                    underway.end()
        except TimeoutError:
            return results.failure(f"Tool '{tool.name}' did not answer within {limit:g} s.")
        except Exception as error:  # noqa: BLE001 - the seam: what a tool does is an outcome
            return results.failure(str(error) or type(error).__name__)

    def _refused(self, tool: ToolDefinition) -> ToolOutcome:
        if self._closed:
            return results.failure(f"Service '{tool.service}' is closed.")
        if tool.service in self._unavailable:
            return results.failure(f"Service '{tool.service}' is not reachable: {self._unavailable[tool.service]}")
        if (tool.service, tool.tool) in self._held:
            return results.held(f"Tool '{tool.name}' of service '{tool.service}' has changed since it was reviewed.")
        return results.failure(f"Tool '{tool.name}' not found")

    def check(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> ArgumentProblem | None:
        """Check against the parameters that `add` was given."""
        known = self._tools.get((tool.service, tool.tool))
        return known.rules.problem(tool.name, arguments) if known else None

    def status(self) -> tuple[ServiceStatus, ...]:
        """Every service that has a tool or is unavailable, by name."""
        names = sorted({service for service, _ in self._tools} | set(self._unavailable))
        return tuple(self._status(name) for name in names)

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """Call nothing any more."""
        self._closed = True

    def _status(self, service: str) -> ServiceStatus:
        count = sum(1 for owner, _ in self._tools if owner == service)
        error = self._unavailable.get(service)
        return ServiceStatus(service, "error" if error else "connected", tools_count=count, error=error)


def _named(tool: ToolDefinition, name: str) -> ToolDefinition:
    return ToolDefinition(name, tool.service, tool.tool, tool.description, tool.parameters, tool.tool_class)


async def _in_rounds(
    tool: _Tool, arguments: Mapping[str, Any], underway: Underway, continuation: Continuation | None
) -> ToolOutcome:
    for _ in range(MOST_ROUNDS):
        ours = {"underway": underway, "continuation": continuation}
        given = {name: ours[name] for name in tool.takes}
        outcome = results.outcome_of_value(await tool.function(**arguments, **given))
        if outcome.needs is None:
            return outcome
        refusals = underway.refusals(outcome.needs.questions)
        if refusals is None:
            return outcome
        continuation = Continuation(refusals, outcome.needs.state)
    return results.failure(ENDLESS)
