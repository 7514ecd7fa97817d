"""The tools of one run: what is on offer this turn, and how a name becomes a call."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tom.agent.clienttools import REQUIRED, beside
from tom.agent.consigns import is_trusted
from tom.agent.identity import caller_parameters, filled, hidden
from tom.agent.memories import SERVICE as MEMORY
from tom.agent.memories import confirmed_only
from tom.config.agent import ServiceEntry
from tom.conversation.elicitation import Continuation
from tom.conversation.tool import ToolClass, ToolDefinition, ToolOutcome
from tom.services.library import Library, ResourceEntry
from tom.services.reading import READ_RESOURCE, aimed, listed, read_resource, reading_problem
from tom.services.toolbox import Exchange, Toolbox

OWN = READ_RESOURCE.service
"""The service to which Tom's own tools of a run belong."""

NO_RESOURCES = "There is no resource that fits."
DESCRIPTIONS = "description://"
"""Resources that are for Tom and not for the model."""

LIST_RESOURCES = ToolDefinition(
    name="list_resources",
    service=OWN,
    tool="list_resources",
    description="List the resources that can be read, one a line as <service>::<uri> with what it is.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "Only those whose name or description has this"}},
        "additionalProperties": False,
    },
    tool_class=ToolClass.READ_PUBLIC,
)
"""The list is asked for and not put into every prompt: names and descriptions are the services' words, and taint."""


@dataclass(frozen=True, slots=True)
class Offering:
    """How one run sees the tools.

    ``services``: those on offer (None: all). ``entries``: the enabled services by name; ``user``: the caller, who is
    filled in where a built-in tool wants to know it. ``library``: where resources are read, None: none are on offer.
    ``first``: the tool to be called in the first turn, as ``tool`` or ``service.tool``. ``silent``: services whose
    tools may only read. ``wary``: whatever writes counts as writing outside, so that the person is asked.
    ``client``: tools that the client calls itself; ``choice``: the name of the one to be called in the first turn,
    ``required`` for any of them, or empty.
    """

    services: Collection[str] | None = None
    entries: Mapping[str, ServiceEntry] = field(default_factory=dict[str, ServiceEntry])
    user: str = ""
    library: Library | None = None
    first: str = ""
    silent: frozenset[str] = frozenset()
    wary: bool = False
    client: tuple[ToolDefinition, ...] = ()
    choice: str = ""


class RunTools:
    """The toolbox as one run sees it; the list is taken anew for each turn."""

    def __init__(
        self, toolbox: Toolbox, services: Collection[str] | None = None, *, offering: Offering | None = None
    ) -> None:
        """Offer the tools of ``services`` (None: all), or as ``offering`` says."""
        self._toolbox = toolbox
        self._offering = offering or Offering(services)
        self._by_name: dict[str, ToolDefinition] | None = None
        self._real: dict[str, ToolDefinition] = {}
        self._first = self._offering.first
        self._client = self._offering.client
        self._choice = self._offering.choice
        self.choice = ""
        """What the next reply has to call: ``required`` or a tool's name; empty: as the model likes."""
        self.unavailable: Mapping[str, str] = {}
        self._held: Mapping[str, str] = {}
        self._listed: frozenset[tuple[str, str]] = frozenset()
        self._read = replace(READ_RESOURCE, aim=self._aimed)

    async def on_offer(self) -> tuple[ToolDefinition, ...]:
        """The tools that the next reply may call."""
        tools = await self._list()
        wanted, self._first = self._first, ""
        named = tuple(tool for tool in tools if wanted in {tool.name, tool.tool, tool.full_name}) if wanted else ()
        wish, self._choice = self._choice, ""
        chosen = self._client if wish == REQUIRED else tuple(tool for tool in self._client if tool.name == wish)
        self.choice = wish if chosen else ""
        return chosen or named or (*tools, *self._client)

    @property
    def handed(self) -> frozenset[str]:
        """The names of the tools whose calls are the client's to make."""
        return frozenset(tool.name for tool in self._client)

    async def named(self, name: str) -> ToolDefinition | None:
        """The tool that the model knows as ``name``; after a restart the list is fetched first."""
        if self._by_name is None:
            await self._list()
        return (self._by_name or {}).get(name)

    def check(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """What is wrong with the arguments, in the service's own terms: as a sentence, and as data to be stored."""
        if tool.service == OWN:
            problem = reading_problem(arguments) if tool.tool == READ_RESOURCE.tool else None
            return (problem, {}) if problem else None
        misfit = self._toolbox.check(self._real.get(tool.name, tool), self._filled(tool, arguments))
        return (misfit.text, misfit.data) if misfit else None

    async def call(
        self,
        tool: ToolDefinition,
        arguments: Mapping[str, Any],
        key: str,
        *,
        exchange: Exchange | None = None,
        continuation: Continuation | None = None,
    ) -> ToolOutcome:
        """Call it."""
        if tool.service == OWN and self._offering.library is not None:
            return await self._own(tool, arguments, self._offering.library)
        real, whole = self._real.get(tool.name, tool), self._filled(tool, arguments)
        outcome = await self._toolbox.call(real, whole, key=key, exchange=exchange, continuation=continuation)
        return confirmed_only(outcome) if tool.service == MEMORY and tool.tool_class.reads_only else outcome

    async def _list(self) -> tuple[ToolDefinition, ...]:
        offered = await self._toolbox.tools(self._offering.services)
        tools = tuple(self._shown(tool) for tool in offered.tools if self._may_be_called(tool))
        resources = await self._resources()
        self._listed = frozenset((entry.service, entry.uri) for entry in resources if "{" not in entry.uri)
        if resources:
            tools = (*tools, LIST_RESOURCES, self._read)
        tools = beside(tools, self.handed)
        known = {tool.full_name: tool for tool in offered.tools}
        self._real = {tool.name: known[tool.full_name] for tool in tools if tool.full_name in known}
        self._by_name = {tool.name: tool for tool in tools}
        self.unavailable = offered.unavailable
        self._held = offered.held
        return tools

    def held(self, name: str) -> str | None:
        """Why the tool that a model calls by ``name`` is off since it changed; None when it is not."""
        return next((why for full, why in self._held.items() if name in _names_of(full)), None)

    async def _resources(self, query: str = "") -> tuple[ResourceEntry, ...]:
        library = self._offering.library
        found = await library.resources(self._offering.services, query=query) if library is not None else ()
        return tuple(entry for entry in found if not entry.uri.startswith(DESCRIPTIONS))

    async def _own(self, tool: ToolDefinition, arguments: Mapping[str, Any], library: Library) -> ToolOutcome:
        if tool.tool == READ_RESOURCE.tool:
            return await read_resource(library, arguments, services=self._offering.services)
        found = listed(await self._resources(str(arguments.get("query", ""))))
        return ToolOutcome(found or NO_RESOURCES)

    def _aimed(self, arguments: Mapping[str, Any]) -> ToolDefinition:
        trusted = [name for name, entry in self._offering.entries.items() if is_trusted(entry)]
        return aimed(arguments, listed=self._listed, trusted=trusted)

    def _may_be_called(self, tool: ToolDefinition) -> bool:
        return tool.tool_class.reads_only or tool.service not in self._offering.silent

    def _shown(self, tool: ToolDefinition) -> ToolDefinition:
        names = caller_parameters(self._offering.entries.get(tool.service))
        shown = hidden(tool, names) if names else tool
        if self._offering.wary and shown.tool_class is ToolClass.WRITE_OWN:
            return replace(shown, tool_class=ToolClass.WRITE_EXTERNAL)
        return shown

    def _filled(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        names = caller_parameters(self._offering.entries.get(tool.service))
        real = self._real.get(tool.name, tool)
        return filled(real, arguments, names, self._offering.user) if names else arguments


def _names_of(full_name: str) -> tuple[str, str, str]:
    """The names under which a model may know the tool ``service.tool``."""
    service, _, tool = full_name.partition(".")
    return full_name, tool, f"{service}__{tool}"
