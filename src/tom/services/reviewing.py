"""The seam between a person who looks at tools and the services that have them.

Above: the door ``/services``. Below: the registry, by `Reviews`. It decides nothing about who may review.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.errors import CallerError, ServiceUnavailable, ToolNotFound
from tom.services.definition import difference, pretty
from tom.services.listing import Listing
from tom.services.offering import ChangedAgain
from tom.services.pinning import Choice, Pinning
from tom.services.pins import Pin
from tom.services.service import Service


class ServiceNotFound(CallerError):
    """There is no such service."""

    code = "service_not_found"
    http_status = 404


class TooLargeToReview(CallerError):
    """Nobody can look at a definition of this size."""

    code = "validation_error"
    http_status = 422


class ClassInFile(CallerError):
    """The class of this tool stands in config.yml; change it there."""

    code = "managed_by_file"
    http_status = 409


@dataclass(frozen=True, slots=True)
class Review:
    """What a person says of a service's tools.

    ``tools``: name → the hash that was looked at (empty: whatever it is now); none named: all that are held or whose
    class nobody has confirmed.
    """

    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    classes: Mapping[str, ToolClass] = field(default_factory=dict[str, ToolClass])
    outward: Mapping[str, bool] = field(default_factory=dict[str, bool])
    honours_key: Mapping[str, bool] = field(default_factory=dict[str, bool])


@runtime_checkable
class Reviewing(Protocol):
    """Looking at tools and confirming them. Answers are JSON values."""

    async def overview(self) -> list[dict[str, Any]]:
        """Every configured service with its tools, by name; connects to none."""
        ...

    async def differences(self, service: str) -> dict[str, Any]:
        """What changed since it was pinned, and what nobody has confirmed. Raises `ServiceNotFound`, `ServiceUnavailable`."""
        ...

    async def review(self, service: str, review: Review, *, by: str) -> list[str]:
        """Pin tools as they are now and confirm their classes; the names of those reviewed.

        Raises `ServiceNotFound`, `ServiceUnavailable`, `ToolNotFound`, `ChangedAgain`, `ClassInFile`,
        `TooLargeToReview`.
        """
        ...


class Reviews:
    """`Reviewing` for services that are reached by MCP."""

    def __init__(self, pinning: Pinning) -> None:
        """The pins are those of ``pinning``."""
        self._pinning = pinning

    async def differences(self, service: Service) -> dict[str, Any]:
        """As `Reviewing.differences`."""
        listing = _known(service)
        looked_at = _LookedAt(listing, service.offering.identity, service.offering.server)
        changes = [await self._change(service, looked_at, tool) for tool in sorted(listing.held)]
        proposed = [listing.pins[tool.tool] for tool in listing.tools if tool.proposed]
        proposals = [await self._proposal(pin) for pin in proposed]
        return {"service": service.entry.name, "changes": changes, "proposals": proposals}

    async def review(self, service: Service, review: Review, *, by: str) -> list[str]:
        """As `Reviewing.review`."""
        listing = _known(service)
        named = {*review.tools, *review.classes, *review.outward, *review.honours_key}
        proposed = {tool.tool for tool in listing.tools if tool.proposed}
        wanted = sorted(named or {*listing.held, *proposed} - {*listing.oversized})
        reviewed: dict[str, tuple[str, Choice]] = {}
        for tool in wanted:
            now = listing.hash_of(tool, service.offering.identity)
            if now is None:
                raise ToolNotFound(f"Service '{service.entry.name}' has no tool '{tool}'")
            seen = review.tools.get(tool) or now
            if seen != now:
                raise ChangedAgain(f"Tool '{tool}' has changed since it was looked at; look again", tool=tool)
            if tool in listing.oversized:
                message = f"The definition of '{tool}' is too large to be looked at; it stays off"
                error = {"loc": ["body", "tools", tool], "msg": message, "type": "value_error"}
                raise TooLargeToReview(message, tool=tool, errors=[error])
            if tool in review.classes and tool in service.entry.classes:
                raise ClassInFile(f"The class of '{tool}' stands in config.yml; change it there", tool=tool)
            choice = Choice(review.classes.get(tool), review.outward.get(tool), review.honours_key.get(tool))
            reviewed[tool] = seen, choice
        if reviewed:
            await service.offering.review(reviewed, by=by)
        return wanted

    async def _change(self, service: Service, looked_at: "_LookedAt", tool: str) -> dict[str, Any]:
        """How a held tool differs. All of it is of one moment, so that what is seen is what its hash stands for."""
        listing, identity = looked_at.listing, looked_at.identity
        pin = listing.pins[tool]
        large = tool in listing.oversized
        pinned = await self._pinning.definition(service.entry.name, tool) or "{}"
        before, now, lines = await asyncio.to_thread(_compared, pinned, None if large else listing.held[tool])
        same = identity == pin.identity
        return {
            "tool": tool,
            "class": str(pin.tool_class),
            "seen": listing.hash_of(tool, identity),
            "pinned": before,
            "now": now,
            "diff": lines,
            "too_large": large,
            "service_changed": None if same else {"pinned": json.loads(pin.identity), "now": json.loads(identity)},
            "server": looked_at.server,
        }

    async def _proposal(self, pin: Pin) -> dict[str, Any]:
        definition = await self._pinning.definition(pin.service, pin.tool) or "{}"
        return {
            "tool": pin.tool,
            "class": str(pin.tool_class),
            "outward": pin.outward,
            "seen": pin.hash,
            "definition": await asyncio.to_thread(pretty, definition),
        }


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """What a service listed, and who it was then."""

    listing: Listing
    identity: str
    server: str


def _compared(pinned: str, written: str | None) -> tuple[str, str, list[str]]:
    """Both definitions for people, and how they differ; ``written`` None: it is too large to be shown."""
    before = pretty(pinned)
    now = "" if written is None else pretty(written)
    return before, now, [] if written is None else difference(before, now)


def tools_of(entry: ServiceEntry, listing: Listing | None) -> list[dict[str, Any]]:
    """A service's tools with what is recorded of them, by name."""
    if listing is None:
        return []
    return [
        {
            "tool": tool,
            "class": str(pin.tool_class),
            "proposed": pin.proposed,
            "outward": pin.outward,
            "honours_key": pin.honours_key,
            "held": tool in listing.held,
            "pin": pin.hash,
            "first_seen": pin.first_seen or None,
            "reviewed_by": pin.reviewed_by or None,
            "reviewed_at": pin.reviewed_at or None,
            "class_in_file": tool in entry.classes,
        }
        for tool, pin in sorted(listing.pins.items())
    ]


def _known(service: Service) -> Listing:
    listing = service.listing
    if listing is None:
        reason = service.error or "its tools are not known"
        raise ServiceUnavailable(f"Service '{service.entry.name}' is not reachable: {reason}")
    return listing
