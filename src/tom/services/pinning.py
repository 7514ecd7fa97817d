"""Pins and kept lists of one person's services, held in memory as they are on disk.

`Pinning` compares what a service lists with what was pinned, pins what is new, and takes the reviews of people.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tom.clock import Clock, timestamp
from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.errors import TomError
from tom.services.definition import canonical
from tom.services.kept import Kept, KeptList, Remembered
from tom.services.listing import Listing, RawTool, listing_of
from tom.services.pins import Pin, identity_of, pin_hash, place_of
from tom.telemetry import logs

log = logs.get("mcp")


@dataclass(frozen=True, slots=True)
class Source:
    """Who listed, and how: what the service calls itself, the revision spoken, its text about itself, how long it holds."""

    server: str
    revision: str
    instructions: str = ""
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person says of one tool; None leaves it as it is (a proposed class is thereby confirmed)."""

    tool_class: ToolClass | None = None
    outward: bool | None = None
    honours_key: bool | None = None


class Pinning:
    """What was pinned and listed before, for all services of one person."""

    def __init__(self, kept: Kept, clock: Clock, *, user: str = "") -> None:
        """``user`` is named in what is logged for the operator."""
        self._kept = kept
        self._clock = clock
        self._user = user
        self._remembered: Remembered | None = None
        self._pins: dict[str, dict[str, Pin]] = {}
        self._places: dict[str, str] = {}
        self._loading = asyncio.Lock()
        self._told: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    async def load(self) -> Remembered:
        """Read what is kept, once. Raises what `Kept.load` raises."""
        async with self._loading:
            if self._remembered is None:
                self._remembered = await self._kept.load()
                self._places = {service: kept.place for service, kept in self._remembered.lists.items()}
                self._pins = {service: dict(pins) for service, pins in self._remembered.pins.items()}
        return self._remembered

    def recalled(self, entry: ServiceEntry, kept: KeptList) -> tuple[tuple[RawTool, ...], Listing] | None:
        """What was kept of a service, and what of it is on offer; None when it is reached elsewhere now."""
        if kept.place != canonical(place_of(entry)):
            return None
        raws = tuple(RawTool.read(written) for written in kept.tools)
        listing = self._listing(entry, identity_of(entry, kept.server), raws)
        self._tell(entry.name, listing)
        return raws, listing

    async def compared(self, entry: ServiceEntry, source: Source, raws: Sequence[RawTool]) -> Listing:
        """What of the tools that a service has just listed is on offer; what is new is pinned, and all of it kept."""
        await self.load()
        listing = self._listing(entry, identity_of(entry, source.server), raws)
        pins = self._pins.setdefault(entry.name, {})
        kept = KeptList(
            service=entry.name,
            place=canonical(place_of(entry)),
            server=source.server,
            revision=source.revision,
            tools=tuple(raw.written for raw in raws if raw.name in listing.pins and raw.name not in listing.oversized),
            instructions=source.instructions,
            ttl=source.ttl,
            listed_at=timestamp(self._clock.now()),
        )
        for pin, _ in listing.fresh:
            pins[pin.tool] = pin
        try:
            if listing.fresh:
                await self._kept.pin(listing.fresh)
            if self._places.get(entry.name) != kept.place:  # what was said elsewhere is not said by this service
                await self._kept.forget(entry.name)
            await self._kept.keep(kept)
            self._places[entry.name] = kept.place
        except TomError as error:  # what is pinned holds as long as the agent lives; what was pinned before is on disk
            log.error("❌ What services list cannot be kept", event="pins_not_kept", service=entry.name, error=error)
        self._tell(entry.name, listing)
        return replace(listing, fresh=())

    async def review(
        self, entry: ServiceEntry, source: Source, listing: Listing, choices: Mapping[str, Choice], *, by: str
    ) -> None:
        """Pin tools as they are now, with what was chosen for each; ``by`` is who has seen them."""
        now = timestamp(self._clock.now())
        identity = identity_of(entry, source.server)
        renewed: list[tuple[Pin, str]] = []
        for tool, choice in choices.items():
            pin = listing.pins[tool]
            written = listing.held.get(tool)
            if written is None:
                written = await self._kept.definition(entry.name, tool) or ""
            else:
                pin = replace(pin, hash=pin_hash(identity, written), identity=identity)
            renewed.append((_chosen(pin, choice, by, now), written))
        await self._kept.pin(renewed)
        self._pins.setdefault(entry.name, {}).update({pin.tool: pin for pin, _ in renewed})
        names = ", ".join(choices)
        log.info(f"✅ Reviewed by {by}: {names}", event="tools_reviewed", service=entry.name, tools=names, by=by)

    async def note(self, service: str, what: str, value: str) -> None:
        """Keep what a service said; nothing hangs on it, so what goes wrong is only logged."""
        try:
            await self._kept.note(service, what, value)
        except TomError as error:
            log.warning("⚠️ What a service said cannot be kept", event="reading_not_kept", service=service, error=error)

    async def definition(self, service: str, tool: str) -> str | None:
        """The definition that was pinned."""
        return await self._kept.definition(service, tool)

    async def close(self) -> None:
        """Close what is kept."""
        await self._kept.close()

    @property
    def how_to_review(self) -> str:
        """The command that shows changes and asks."""
        return "tom services review" + (f" --user {self._user}" if self._user else "")

    def _listing(self, entry: ServiceEntry, identity: str, raws: Sequence[RawTool]) -> Listing:
        pins = self._pins.get(entry.name, {})
        return listing_of(entry, raws, identity=identity, pins=pins, now=timestamp(self._clock.now()))

    def _tell(self, service: str, listing: Listing) -> None:
        """Log what awaits a person, once each."""
        held = frozenset(listing.held)
        proposed = frozenset(tool.tool for tool in listing.tools if tool.proposed)
        told_held, told_proposed = self._told.get(service, (frozenset[str](), frozenset[str]()))
        self._told[service] = (held, told_proposed | proposed)
        if held - told_held:
            names = ", ".join(sorted(held))
            text = f"⚠️ Service '{service}': held because they changed since they were pinned: {names}"
            log.warning(f"{text}; see {self.how_to_review}", event="tools_held", service=service, tools=names)
        if proposed - told_proposed:
            classes = ", ".join(f"{tool.tool} ({tool.tool_class})" for tool in listing.tools if tool.proposed)
            text = f"⚠️ Service '{service}': classes proposed, not confirmed: {classes}"
            log.warning(f"{text}; see {self.how_to_review}", event="classes_proposed", service=service)


def _chosen(pin: Pin, choice: Choice, by: str, now: str) -> Pin:
    changed: dict[str, Any] = {"proposed": False, "reviewed_by": by, "reviewed_at": now}
    if choice.tool_class is not None:
        changed["tool_class"] = choice.tool_class
    if choice.outward is not None:
        changed["outward"] = choice.outward
    if choice.honours_key is not None:
        changed["honours_key"] = choice.honours_key
    return replace(pin, **changed)
