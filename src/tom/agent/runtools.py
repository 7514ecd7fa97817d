"""The tools of one run: what is on offer this turn, and how a name becomes a call."""

from collections.abc import Collection, Mapping
from typing import Any

from tom.conversation.elicitation import Continuation
from tom.conversation.tool import ToolDefinition, ToolOutcome
from tom.services.toolbox import Exchange, Toolbox


class RunTools:
    """The toolbox as one run sees it; the list is taken anew for each turn."""

    def __init__(self, toolbox: Toolbox, services: Collection[str] | None) -> None:
        """Offer the tools of ``services`` (None: all)."""
        self._toolbox = toolbox
        self._services = services
        self._by_name: dict[str, ToolDefinition] | None = None
        self.unavailable: Mapping[str, str] = {}

    async def on_offer(self) -> tuple[ToolDefinition, ...]:
        """The tools that the next reply may call."""
        offered = await self._toolbox.tools(self._services)
        self._by_name = {tool.name: tool for tool in offered.tools}
        self.unavailable = offered.unavailable
        return offered.tools

    async def named(self, name: str) -> ToolDefinition | None:
        """The tool that the model knows as ``name``; after a restart the list is fetched first."""
        if self._by_name is None:
            await self.on_offer()
        return (self._by_name or {}).get(name)

    def validate(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with the arguments, in the service's own terms."""
        return self._toolbox.validate(tool, arguments)

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
        return await self._toolbox.call(tool, arguments, key=key, exchange=exchange, continuation=continuation)
