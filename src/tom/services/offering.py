"""What one service has on offer: its tools as they are pinned, compared again whenever there is reason to.

Compared when the service is reached, when it says that its tools have changed, and at a call whose list is too old.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tom.clock import Clock
from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolDefinition, ToolOutcome
from tom.errors import CallerError, ToolNotFound
from tom.services import results
from tom.services.kept import KeptList
from tom.services.listing import MOST_TOOLS, Listing, RawTool
from tom.services.pinning import Choice, Pinning, Source
from tom.services.pins import identity_of
from tom.services.unreachable import Forgotten, reason_of
from tom.telemetry import logs

if TYPE_CHECKING:
    from tom.services.connection import Connection

log = logs.get("mcp")

type Reviewed = Mapping[str, tuple[str, Choice]]
"""Tool → the hash of what a person has seen, and what they chose for it."""

WRITES_KNOW = 1.0
READS_KNOW = 30.0
"""Seconds that the list may be old when a tool is called; then the service is asked again what the tool is."""

SHORTEST_HOLD = 30.0
"""Seconds for which a list is shown before the service is asked again, whatever it says itself."""

STALE = 600.0
"""Seconds after which the list of a service that is not connected is worth asking for again."""


class ChangedAgain(CallerError):
    """A tool has changed since it was looked at; look again."""

    code = "changed_again"
    http_status = 409


class Offering:
    """The tools of one service. ``listing`` None: not known yet."""

    def __init__(self, entry: ServiceEntry, pinning: Pinning, clock: Clock, on_change: Callable[[], None]) -> None:
        """``on_change`` is called when other tools are on offer than before."""
        self.listing: Listing | None = None
        self.source: Source | None = None
        self._entry = entry
        self._pinning = pinning
        self._clock = clock
        self._on_change = on_change
        self._raws: tuple[RawTool, ...] = ()
        self._listed = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """The tools under their bare names."""
        return self.listing.tools if self.listing is not None else ()

    @property
    def identity(self) -> str:
        """Who the service is, as pins have it."""
        return identity_of(self._entry, self.server)

    @property
    def server(self) -> str:
        """What the service calls itself, as far as it is known."""
        return self.source.server if self.source is not None else ""

    @property
    def instructions(self) -> str:
        """The service's own text about itself, as far as it is known."""
        return self.source.instructions if self.source is not None else ""

    def recall(self, kept: KeptList) -> bool:
        """Offer what was kept from an earlier time, if it is the same service's; compared when that is reached."""
        recalled = self._pinning.recalled(self._entry, kept) if self.listing is None else None
        if recalled is None:
            return False
        self._raws, self.listing = recalled
        self.source = Source(kept.server, kept.revision, kept.instructions, kept.ttl)
        self._on_change()
        return True

    def is_stale(self, connection: "Connection | None") -> bool:
        """Whether the list that is being shown should be asked for again, in the background."""
        age = self._clock.monotonic() - self._listed
        if connection is None:
            return age > STALE
        told = self.source.ttl if self.source is not None else None
        return told is not None and age > max(told, SHORTEST_HOLD)

    async def list(self, connection: "Connection") -> None:
        """Ask which tools there are, and compare. Raises what the connection raises."""
        async with self._one_at_a_time:
            await self._list(connection)

    async def refused(self, connection: "Connection", tool: ToolDefinition) -> ToolOutcome | None:
        """Why ``tool`` must not be called: it is compared with its pin once more. None when it may be.

        Raises `Forgotten` when the connection is gone: nothing was called.
        """
        longest = READS_KNOW if tool.tool_class.reads_only else WRITES_KNOW
        if self._one_at_a_time.locked() or self._is_old(connection, longest):
            try:
                async with self._one_at_a_time:
                    if self._is_old(connection, longest):
                        await self._list(connection)
            except Forgotten:
                raise
            except Exception as error:  # noqa: BLE001 - what cannot be compared is not called
                if connection.ended is not None:
                    raise Forgotten from None
                said = f"service '{self._entry.name}' did not say what it is now: {reason_of(error)}"
                return results.failure(f"Tool '{tool.name}' was not called: {said}")
        return self._differs(tool)

    async def review(self, reviewed: Reviewed, *, by: str) -> None:
        """Pin tools as they were seen, with what was chosen for each. The listing is known.

        Raises `ChangedAgain` or `ToolNotFound` when the service has listed something else meanwhile.
        """
        async with self._one_at_a_time:
            if self.listing is None or self.source is None:
                return
            for tool, (seen, _) in reviewed.items():
                self._check_seen(self.listing, tool, seen)
            choices = {tool: choice for tool, (_, choice) in reviewed.items()}
            await self._pinning.review(self._entry, self.source, self.listing, choices, by=by)
            self.listing = await self._pinning.compared(self._entry, self.source, self._raws)
        self._on_change()

    def _check_seen(self, listing: Listing, tool: str, seen: str) -> None:
        now = listing.hash_of(tool, self.identity)
        if now is None:
            raise ToolNotFound(f"Service '{self._entry.name}' has no tool '{tool}'")
        if now != seen:
            raise ChangedAgain(f"Tool '{tool}' has changed since it was looked at; look again", tool=tool)

    async def _list(self, connection: "Connection") -> None:
        asked = self._clock.monotonic()
        raws = tuple(await connection.list_tools())
        source = Source(connection.server_name, connection.revision, connection.instructions, connection.list_ttl)
        if self.listing is None or raws != self._raws or source != self.source:
            listing = await self._pinning.compared(self._entry, source, raws)
            self._warn(listing)
            self.listing, self.source, self._raws = listing, source, raws
            self._on_change()
        self._listed = asked

    def _is_old(self, connection: "Connection", longest: float) -> bool:
        return connection.tools_changed or self._clock.monotonic() - self._listed > longest

    def _differs(self, tool: ToolDefinition) -> ToolOutcome | None:
        listing = self.listing or Listing()
        pin = listing.pins.get(tool.tool)
        if tool.tool in listing.held or (pin is not None and tool.pin and tool.pin != pin.hash):
            said = f"Tool '{tool.name}' of service '{self._entry.name}' has changed since it was reviewed"
            return results.held(f"{said}. It is off until an admin has looked at it.")
        if tool.tool not in listing.rules:
            return results.failure(f"Tool '{tool.name}' not found: service '{self._entry.name}' does not offer it now.")
        return None

    def _warn(self, listing: Listing) -> None:
        name = self._entry.name
        for tool, reason in listing.skipped.items():
            text = f"⚠️ Tool '{tool}' of service '{name}' skipped: {reason}"
            log.warning(text, event="tool_skipped", service=name, tool=tool)
        if listing.beyond:
            text = f"⚠️ Service '{name}' has {listing.beyond} tools more than the {MOST_TOOLS} on offer"
            log.warning(f"{text}: choose with tools.allow", event="tools_beyond", service=name)
