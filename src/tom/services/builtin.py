"""Services that come with Tom: their tools are functions of this process, and their classes stand in the code.

Above: the registry, which treats `BuiltinService` like any other service. Below: a `Builtin`, such as `behavior.py`.
There is nothing to connect to, so nothing to pin: what a tool is changes with Tom only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from tom.config.agent import ServiceEntry
from tom.conversation.elicitation import Continuation
from tom.conversation.message import Message
from tom.conversation.tool import ToolClass, ToolDefinition, ToolOutcome
from tom.errors import PromptNotFound, ResourceNotFound
from tom.services import results
from tom.services.arguments import ArgumentRules
from tom.services.cleaning import clean_within
from tom.services.definition import canonical
from tom.services.kept import KeptList
from tom.services.library import PromptEntry, ResourceContent, ResourceEntry
from tom.services.listing import Listing, is_wanted
from tom.services.pins import Pin, identity_of, pin_hash
from tom.services.schema import parameters_for_model
from tom.services.toolbox import Exchange
from tom.telemetry import logs

log = logs.get("mcp")

REVIEWED = "tom"
_SCHEME = "description://"

type Function = Callable[..., Awaitable[object]]
"""Takes the arguments by name, and ``key``; returns text, a JSON value or a `ToolOutcome`."""


@dataclass(frozen=True, slots=True)
class BuiltinTool:
    """One tool: what it is, and what is called. ``steering``: what it stores instructs later runs."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    tool_class: ToolClass
    function: Function
    honours_key: bool = False
    steering: bool = False


class Builtin(Protocol):
    """A service of Tom's own."""

    @property
    def description(self) -> str:
        """What it is for, in a line or two."""
        ...

    @property
    def tools(self) -> Sequence[BuiltinTool]:
        """Its tools."""
        ...

    async def describe(self, kind: str) -> str | None:
        """The text of ``description://<kind>``, None when it has none."""
        ...

    def kinds(self) -> Sequence[str]:
        """The kinds of ``description://`` resources it has."""
        ...


class BuiltinService:
    """A `Builtin` where the registry expects a service."""

    def __init__(self, entry: ServiceEntry, builtin: Builtin) -> None:
        """``entry`` is its place in the settings: its globs and classes hold for it too."""
        self.entry = entry
        self.shelf = BuiltinShelf(entry.name, builtin)
        self.error: str | None = None
        self._builtin = builtin
        self._functions = {tool.name: tool.function for tool in builtin.tools}
        self.listing: Listing | None = listing_of_builtin(entry, builtin.tools)
        self._stopped = asyncio.Event()

    @property
    def status(self) -> str:
        """There is nothing to lose."""
        return "connected"

    @property
    def description(self) -> str:
        """The admin's word, else its own."""
        return self.entry.description or self._builtin.description

    @property
    def is_settled(self) -> bool:
        """Its tools are known."""
        return True

    async def ready(self) -> None:
        """There is nothing to wait for."""

    def recall(self, kept: KeptList, readings: Mapping[str, str]) -> None:
        """Nothing is kept of it."""

    def freshen(self, after: float) -> bool:  # noqa: ARG002 - as `Service`
        """Its list is never old."""
        return False

    async def run(self) -> None:
        """Until `stop`."""
        await self._stopped.wait()

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    async def call(
        self,
        tool: ToolDefinition,
        arguments: Mapping[str, Any],
        key: str,
        limit: float,
        exchange: Exchange | None = None,
        continuation: Continuation | None = None,
    ) -> ToolOutcome:
        """Call the function; what it raises is an outcome."""
        del exchange, continuation
        if self.listing is None or tool.tool not in self.listing.rules:
            return results.failure(f"Tool '{tool.name}' not found: service '{self.entry.name}' does not offer it.")
        try:
            async with asyncio.timeout(limit):
                return results.outcome_of_value(await self._functions[tool.tool](**arguments, key=key))
        except TimeoutError:
            return results.failure(f"Service '{self.entry.name}' did not answer within {limit:g} s.", unknown=True)
        except Exception as error:  # noqa: BLE001 - what a tool does is an outcome
            log.error(f"❌ Service '{self.entry.name}' failed", event="builtin_failed", tool=tool.tool, error=error)
            return results.failure(f"Tool '{tool.name}' failed: {type(error).__name__}", unknown=True)


class BuiltinShelf:
    """What a `Builtin` offers to read: its descriptions."""

    def __init__(self, service: str, builtin: Builtin) -> None:
        """Of ``service``, as it is called in the settings."""
        self._service = service
        self._builtin = builtin
        self.known_prompts: tuple[PromptEntry, ...] = ()

    async def prompts(self) -> tuple[PromptEntry, ...]:
        """It has none."""
        return ()

    async def prompt(self, prompt: str, arguments: Mapping[str, str]) -> tuple[Message, ...]:
        """It has none. Raises `PromptNotFound`."""
        _no_prompt(prompt, arguments)

    async def resources(self) -> tuple[ResourceEntry, ...]:
        """Its descriptions."""
        return tuple(
            ResourceEntry(self._service, f"{_SCHEME}{kind}", kind, mime_type="text/plain")
            for kind in self._builtin.kinds()
        )

    async def read(self, uri: str, timeout: float | None = None) -> ResourceContent:
        """One of its descriptions. Raises `ResourceNotFound`."""
        del timeout
        text = await self._builtin.describe(uri.removeprefix(_SCHEME)) if uri.startswith(_SCHEME) else None
        if text is None:
            raise ResourceNotFound(f"Resource '{clean_within(uri, 100)}' not found")
        return ResourceContent(text, "text/plain")

    async def description(self, kind: str, timeout: float) -> str | None:
        """The text of ``description://<kind>``; None when it has none or fails."""
        try:
            async with asyncio.timeout(timeout):
                return await self._builtin.describe(kind)
        except Exception as error:  # noqa: BLE001 - as for any service: one that fails has none
            log.warning("⚠️ A description failed", event="description_failed", service=self._service, error=error)
            return None


def listing_of_builtin(entry: ServiceEntry, tools: Sequence[BuiltinTool]) -> Listing:
    """All tools, with the class of the settings where they name one, else that of the code."""
    identity = identity_of(entry, REVIEWED)
    pins: dict[str, Pin] = {}
    shown: list[ToolDefinition] = []
    for tool in tools:
        if not is_wanted(entry, tool.name):
            continue
        written = canonical({"name": tool.name, "description": tool.description, "inputSchema": tool.parameters})
        tool_class = ToolClass(entry.classes.get(tool.name, tool.tool_class))
        pin = Pin(
            service=entry.name,
            tool=tool.name,
            hash=pin_hash(identity, written),
            identity=identity,
            tool_class=tool_class,
            proposed=False,
            outward=False,
            honours_key=tool.honours_key,
            first_seen="",
            reviewed_by=REVIEWED,
        )
        pins[tool.name] = pin
        shown.append(
            ToolDefinition(
                name=tool.name,
                service=entry.name,
                tool=tool.name,
                description=tool.description,
                parameters=parameters_for_model(tool.parameters),
                tool_class=tool_class,
                pin=pin.hash,
                honours_key=tool.honours_key,
                trusted=entry.trust != "untrusted",
                steering=tool.steering,
            )
        )
    rules = {tool.name: ArgumentRules(tool.parameters) for tool in tools if tool.name in pins}
    return Listing(tuple(shown), rules, pins=pins)


def _no_prompt(prompt: str, arguments: Mapping[str, str]) -> NoReturn:
    del arguments
    raise PromptNotFound(f"Prompt '{clean_within(prompt, 100)}' not found")
