"""The MCP services of one person as a toolbox and a library: connections opened when needed, in parallel, and kept warm.

Made when the agent starts; connects to nothing and imports no SDK until a tool is first asked for. A service that is
dead, slow or hostile costs a run that service's tools and nothing else.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from tom.clock import Clock, SystemClock
from tom.config.agent import ServiceEntry
from tom.conversation.elicitation import Continuation
from tom.conversation.message import Message
from tom.conversation.tool import ToolDefinition, ToolOutcome
from tom.errors import ServiceUnavailable, TomError
from tom.services import results
from tom.services.arguments import ArgumentProblem
from tom.services.builtin import Builtin, BuiltinService, BuiltinShelf
from tom.services.entries import found_in, named_prompts
from tom.services.kept import Kept, MemoryKept
from tom.services.library import PromptEntry, ResourceContent, ResourceEntry
from tom.services.naming import OURS, names_for
from tom.services.pinning import Pinning
from tom.services.reviewing import Review, Reviews, ServiceNotFound, tools_of
from tom.services.service import Pace, Service
from tom.services.shelf import Shelf
from tom.services.toolbox import Exchange, ServiceStatus, ToolList
from tom.telemetry import logs

log = logs.get("mcp")


class ServiceRegistry:
    """`Toolbox` and `Library` over MCP. Use it with ``async with``, or just call `close` in the end: it starts when first asked."""

    def __init__(
        self,
        entries: Iterable[ServiceEntry],
        *,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        kept: Kept | None = None,
        builtins: Mapping[str, Builtin] | None = None,
        user: str = "",
        client_name: str = "tom",
    ) -> None:
        """Serve ``entries``. ``environment`` (default: this process's) is where children's PATH, HOME, … come from.

        ``kept`` remembers pins and lists (default: as long as this lives), and is closed with this. ``builtins``: the
        services that come with Tom, by the word in the settings. ``user`` is named to the operator,
        ``client_name`` to the services.
        """
        self._entries = {entry.name: entry for entry in entries}
        self._pace = pace or Pace()
        clock = clock or SystemClock()
        self._pinning = Pinning(kept or MemoryKept(), clock, user=user)
        self._reviews = Reviews(self._pinning)
        self._services: dict[str, Service | BuiltinService] = {}
        for entry in self._entries.values():
            if entry.enabled and entry.builtin:
                if builtins and entry.builtin in builtins:
                    self._services[entry.name] = BuiltinService(entry, builtins[entry.builtin])
            elif entry.enabled:
                self._services[entry.name] = Service(
                    entry,
                    clock=clock,
                    own=os.environ if environment is None else environment,
                    pace=self._pace,
                    pinning=self._pinning,
                    on_change=self._forget_names,
                    client_name=client_name,
                )
        self._group: asyncio.TaskGroup | None = None
        self._recalled = asyncio.Event()
        self._fault = ""
        self._closed = False
        self._told_of_none = False
        self._offered: dict[str, tuple[ToolDefinition, ...]] | None = None

    async def start(self) -> None:
        """Begin to look after the services; connects to none. Does nothing when it has begun or is closed."""
        if self._group is None and not self._closed:
            self._group = asyncio.TaskGroup()
            await self._group.__aenter__()
            self._group.create_task(self._recall(), name="kept lists")
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
        await self._pinning.close()

    async def _recall(self) -> None:
        """Offer what was kept of the services. What cannot be read costs all of them: nothing could be compared."""
        try:
            remembered = await self._pinning.load()
            for name, service in self._services.items():
                if name in remembered.lists:
                    service.recall(remembered.lists[name], remembered.readings.get(name, {}))
                    await asyncio.sleep(0)
            self._named()  # nobody waits for it now; the first message would
        except Exception as error:  # noqa: BLE001 - a damaged file costs the services, not the agent
            self._fault = "what was pinned cannot be read"
            log.error("❌ The pins of services cannot be read", event="pins_unreadable", error=error)
        finally:
            self._recalled.set()

    async def _begun(self) -> None:
        await self.start()
        if not self._closed:
            await self._recalled.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def tools(self, services: Collection[str] | None = None) -> ToolList:
        """The tools of the named services (default: all enabled), opening connections as needed, in parallel."""
        await self._begun()
        wanted = list(self._services) if services is None else sorted(set(services))
        if self._fault:
            return ToolList((), dict.fromkeys(wanted, self._fault))
        known = [self._services[name] for name in wanted if name in self._services]
        waited_for = [service for service in known if not service.is_settled]
        if waited_for and not self._closed:
            async with asyncio.TaskGroup() as group:
                for service in waited_for:
                    group.create_task(service.ready())
        self._freshen(known)
        offered = self._named()
        unavailable = {name: self._why_not(name) for name in wanted if name not in self._services}
        unavailable |= {service.entry.name: service.error for service in known if service.error is not None}
        self._tell_of_none()
        tools = tuple(tool for service in known if service.error is None for tool in offered[service.entry.name])
        return ToolList(tools, unavailable, self._held(known))

    def _tell_of_none(self) -> None:
        """Log once that there is no service to be reached; again when there was one meanwhile."""
        none = all(service.status != "connected" for service in self._services.values())
        if none and not self._told_of_none:
            log.info("No MCP clients connected - running with basic functionality", event="no_services")
        self._told_of_none = none

    def _freshen(self, services: Iterable[Service | BuiltinService]) -> None:
        """Lists that were kept are compared in the background, one service after another: nobody waits for it."""
        after = self._pace.warm
        for service in services:
            if service.freshen(after):
                after += self._pace.warm / 10

    def _held(self, services: Iterable[Service | BuiltinService]) -> dict[str, str]:
        how = f"it has changed since it was reviewed; an admin sees how with: {self._pinning.how_to_review}"
        return {
            f"{service.entry.name}.{tool}": how
            for service in services
            if service.listing is not None
            for tool in service.listing.held
        }

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
        """Call a tool. Never raises for what a service does."""
        await self._begun()
        service = self._services.get(tool.service)
        if service is None or self._closed:
            return results.failure(f"Service '{tool.service}' is not reachable: {self._why_not(tool.service)}")
        if self._fault:
            return results.failure(f"Tool '{tool.name}' was not called: {self._fault}")
        limit = service.entry.timeout if timeout is None else timeout
        return await service.call(tool, arguments, key, limit, exchange, continuation)

    def check(self, tool: ToolDefinition, arguments: Mapping[str, Any]) -> ArgumentProblem | None:
        """What is wrong with ``arguments`` by the service's own schema; None when nothing is."""
        service = self._services.get(tool.service)
        rules = service.listing.rules.get(tool.tool) if service is not None and service.listing is not None else None
        return rules.problem(tool.name, arguments) if rules is not None else None

    # --- the library -----------------------------------------------------------------------------------------------

    async def prompts(self, services: Collection[str] | None = None) -> tuple[PromptEntry, ...]:
        """The prompts of the named services (default: all enabled), by service and name. A dead service has none."""
        listed = await self._each(services, lambda service: service.shelf.prompts())
        known = [entry for service in self._services.values() for entry in service.shelf.known_prompts]
        return named_prompts(listed, known)

    async def prompt(self, service: str, prompt: str, arguments: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages of a prompt. Raises `PromptNotFound`, `InvalidArguments`, `ServiceUnavailable`."""
        return await (await self._shelf(service)).prompt(prompt, arguments)

    async def resources(self, services: Collection[str] | None = None, *, query: str = "") -> tuple[ResourceEntry, ...]:
        """The resources and templates whose name, title, description or URI contain ``query``."""
        return found_in(await self._each(services, lambda service: service.shelf.resources()), query)

    async def read(self, service: str, uri: str, *, timeout: float | None = None) -> ResourceContent:
        """Read a resource. Raises `ResourceNotFound` or `ServiceUnavailable`."""
        return await (await self._shelf(service)).read(uri, timeout)

    async def description(self, service: str, kind: str, *, timeout: float) -> str | None:
        """The text of ``description://<kind>`` at this service, cleaned; None when it has none or fails."""
        await self.start()
        known = self._services.get(service)
        return None if known is None or self._closed else await known.shelf.description(kind, timeout)

    async def _shelf(self, service: str) -> Shelf | BuiltinShelf:
        await self.start()
        known = self._services.get(service)
        if known is None or self._closed:
            raise ServiceUnavailable(f"Service '{service}' is not reachable: {self._why_not(service)}")
        return known.shelf

    async def _each[T](
        self, services: Collection[str] | None, ask: Callable[[Service | BuiltinService], Awaitable[tuple[T, ...]]]
    ) -> list[T]:
        """What each of the services says, all asked at the same time; one that fails says nothing."""
        await self.start()
        wanted = sorted(self._services) if services is None else sorted(set(services) & set(self._services))

        async def asked(name: str) -> tuple[T, ...]:
            try:
                return await ask(self._services[name])
            except TomError:
                return ()

        if self._closed:
            return []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asked(name)) for name in wanted]
        return [entry for task in tasks for entry in task.result()]

    # -----------------------------------------------------------------------------------------------------------------

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
            pin_changed=bool(service is not None and service.listing is not None and service.listing.held),
        )

    # --- reviews ---------------------------------------------------------------------------------------------------

    async def overview(self) -> list[dict[str, Any]]:
        """Every configured service with its tools, by name; connects to none."""
        await self._begun()
        return [self._seen(self._entries[name]) for name in sorted(self._entries)]

    async def differences(self, service: str) -> dict[str, Any]:
        """What changed since it was pinned, and what nobody has confirmed."""
        known = await self._reviewable(service)
        if known is None:
            return {"service": service, "changes": [], "proposals": []}
        return await self._reviews.differences(known)

    async def review(self, service: str, review: Review, *, by: str) -> list[str]:
        """Pin tools as they are now and confirm their classes; the names of those reviewed."""
        known = await self._reviewable(service)
        return [] if known is None else await self._reviews.review(known, review, by=by)

    async def _reviewable(self, name: str) -> Service | None:
        """The service, reached if need be; None: one of Tom's own, of which there is nothing to review."""
        if name not in self._entries:
            raise ServiceNotFound(f"There is no service '{name}'")
        await self._begun()
        service = self._services.get(name)
        if service is None or self._closed or self._fault:
            raise ServiceUnavailable(f"Service '{name}' is not reachable: {self._fault or self._why_not(name)}")
        await service.ready()
        return service if isinstance(service, Service) else None

    def _seen(self, entry: ServiceEntry) -> dict[str, Any]:
        service, status = self._services.get(entry.name), self._status(entry)
        listing = service.listing if service is not None else None
        source = service.offering.source if isinstance(service, Service) else None
        return {
            "name": entry.name,
            "status": status.status,
            "enabled": entry.enabled,
            "builtin": entry.builtin or None,
            "url": status.url,
            "trust": entry.trust or None,
            "revision": source.revision if source is not None else None,
            "server": source.server if source is not None else None,
            "error": status.error,
            "tools": tools_of(entry, listing),
            "skipped": dict(listing.skipped) if listing is not None else {},
            "beyond": listing.beyond if listing is not None else 0,
        }

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
            known = [(tool.service, tool.tool) for tools in listed.values() for tool in tools]
            names = names_for([*known, *OURS])
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
