"""The MCP services of one person as a toolbox: connections opened when needed, in parallel, and kept warm.

Made when the agent starts; connects to nothing and imports no SDK until a tool is first asked for. A service that is
dead, slow or hostile costs a run that service's tools and nothing else.
"""

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from tom.clock import Clock, SystemClock
from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolDefinition, ToolOutcome
from tom.services import results
from tom.services.naming import names_for
from tom.services.service import Pace, Service
from tom.services.toolbox import ServiceStatus, ToolList


class ServiceRegistry:
    """`Toolbox` over MCP. Use it with ``async with``, or just call `close` in the end: it starts when first asked."""

    def __init__(
        self,
        entries: Iterable[ServiceEntry],
        *,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Serve ``entries``. ``environment`` (default: this process's) is where children's PATH, HOME, … come from."""
        self._entries = {entry.name: entry for entry in entries}
        self._services = {
            entry.name: Service(
                entry,
                clock=clock or SystemClock(),
                own=os.environ if environment is None else environment,
                pace=pace or Pace(),
                on_change=self._forget_names,
            )
            for entry in self._entries.values()
            if entry.enabled
        }
        self._group: asyncio.TaskGroup | None = None
        self._closed = False
        self._offered: dict[str, tuple[ToolDefinition, ...]] | None = None

    async def start(self) -> None:
        """Begin to look after the services; connects to none. Does nothing when it has begun or is closed."""
        if self._group is None and not self._closed:
            self._group = asyncio.TaskGroup()
            await self._group.__aenter__()
            for service in self._services.values():
                self._group.create_task(service.run(), name=f"service {service.entry.name}")

    async def close(self) -> None:
        """Close all connections and end every child process with its group."""
        self._closed = True
        group, self._group = self._group, None
        if group is not None:
            for service in self._services.values():
                service.stop()
            await group.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def tools(self, services: Collection[str] | None = None) -> ToolList:
        """The tools of the named services (default: all enabled), opening connections as needed, in parallel."""
        await self.start()
        wanted = list(self._services) if services is None else sorted(set(services))
        known = [self._services[name] for name in wanted if name in self._services]
        waited_for = [service for service in known if not service.is_settled]
        if waited_for and not self._closed:
            async with asyncio.TaskGroup() as group:
                for service in waited_for:
                    group.create_task(service.ready())
        offered = self._named()
        unavailable = {name: self._why_not(name) for name in wanted if name not in self._services}
        unavailable |= {service.entry.name: service.error for service in known if service.error is not None}
        tools = tuple(tool for service in known if service.error is None for tool in offered[service.entry.name])
        return ToolList(tools, unavailable)

    async def call(
        self, tool: ToolDefinition, arguments: Mapping[str, Any], *, key: str = "", timeout: float | None = None
    ) -> ToolOutcome:
        """Call a tool. Never raises for what a service does."""
        await self.start()
        service = self._services.get(tool.service)
        if service is None or self._closed:
            return results.failure(f"Service '{tool.service}' is not reachable: {self._why_not(tool.service)}")
        return await service.call(tool, arguments, key, service.entry.timeout if timeout is None else timeout)

    def validate(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> str | None:
        """The message for the model when ``arguments`` break the service's own schema, else None."""
        service = self._services.get(tool.service)
        rules = service.listing.rules.get(tool.tool) if service is not None and service.listing is not None else None
        return rules.problem(tool.name, arguments) if rules is not None else None

    def status(self) -> tuple[ServiceStatus, ...]:
        """Every configured service, by name."""
        return tuple(self._status(self._entries[name]) for name in sorted(self._entries))

    def _status(self, entry: ServiceEntry) -> ServiceStatus:
        service = self._services.get(entry.name)
        return ServiceStatus(
            name=entry.name,
            status=service.status if service is not None else "disabled",
            description=service.description if service is not None else entry.description,
            complexity=entry.complexity,
            tools_count=len(service.listing.tools) if service is not None and service.listing is not None else 0,
            enabled=entry.enabled,
            url=without_secrets(entry.url) if entry.url else None,
            llm=entry.llm or None,
            error=service.error if service is not None else None,
        )

    def _why_not(self, service: str) -> str:
        if service in self._services:
            return "the services are stopped"
        return "it is disabled" if service in self._entries else "it is not configured"

    def _named(self) -> Mapping[str, tuple[ToolDefinition, ...]]:
        """Each service's tools under the names that the model sees, which depend on all tools that are known."""
        if self._offered is None:
            listed = {
                name: service.listing.tools if service.listing is not None else ()
                for name, service in self._services.items()
            }
            names = names_for((tool.service, tool.tool) for tools in listed.values() for tool in tools)
            self._offered = {
                service: tuple(replace(tool, name=names[tool.service, tool.tool]) for tool in tools)
                for service, tools in listed.items()
            }
        return self._offered

    def _forget_names(self) -> None:
        self._offered = None


def without_secrets(url: str) -> str:
    """``url`` without user info, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
