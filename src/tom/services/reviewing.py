"""The seam between a person who looks at tools and the services that have them.

Above: the door ``/services``. Below: the registry, by `Reviews`. It decides nothing about who may review.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.errors import CallerError, ServiceUnavailable, ToolNotFound
from tom.services.definition import pretty
from tom.services.listing import Listing
from tom.services.pinning import Choice, Pinning
from tom.services.pins import pin_hash
from tom.services.service import Service


class ServiceNotFound(CallerError):
    """There is no such service."""

    code = "service_not_found"
    http_status = 404


class ChangedAgain(CallerError):
    """A tool has changed since it was looked at; look again."""

    code = "changed_again"
    http_status = 409


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

        Raises `ServiceNotFound`, `ServiceUnavailable`, `ToolNotFound`, `ChangedAgain`, `ClassInFile`.
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
        changes = [await self._change(service, tool, written) for tool, written in sorted(listing.held.items())]
        proposals = [await self._proposal(service, tool.tool) for tool in listing.tools if tool.proposed]
        return {"service": service.entry.name, "changes": changes, "proposals": proposals}

    async def review(self, service: Service, review: Review, *, by: str) -> list[str]:
        """As `Reviewing.review`."""
        listing = _known(service)
        named = {*review.tools, *review.classes, *review.outward, *review.honours_key}
        wanted = sorted(named or {*listing.held, *(tool.tool for tool in listing.tools if tool.proposed)})
        choices: dict[str, Choice] = {}
        for tool in wanted:
            if tool not in listing.pins:
                raise ToolNotFound(f"Service '{service.entry.name}' has no tool '{tool}'")
            seen = review.tools.get(tool, "")
            if seen and seen != self._hash(service, tool):
                raise ChangedAgain(f"Tool '{tool}' has changed since it was looked at; look again", tool=tool)
            if tool in review.classes and tool in service.entry.classes:
                raise ClassInFile(f"The class of '{tool}' stands in config.yml; change it there", tool=tool)
            choices[tool] = Choice(review.classes.get(tool), review.outward.get(tool), review.honours_key.get(tool))
        if choices:
            await service.offering.review(choices, by=by)
        return wanted

    async def _change(self, service: Service, tool: str, written: str) -> dict[str, Any]:
        pin = _known(service).pins[tool]
        before = pretty(await self._pinning.definition(service.entry.name, tool) or "{}")
        now = pretty(written)
        source = service.offering.source
        identity = service.offering.identity
        same = identity == pin.identity
        return {
            "tool": tool,
            "class": str(pin.tool_class),
            "seen": self._hash(service, tool),
            "pinned": before,
            "now": now,
            "diff": list(difflib.unified_diff(before.splitlines(), now.splitlines(), "pinned", "now", lineterm="")),
            "service_changed": None if same else {"pinned": json.loads(pin.identity), "now": json.loads(identity)},
            "server": source.server if source is not None else "",
        }

    async def _proposal(self, service: Service, tool: str) -> dict[str, Any]:
        pin = _known(service).pins[tool]
        return {
            "tool": tool,
            "class": str(pin.tool_class),
            "outward": pin.outward,
            "seen": pin.hash,
            "definition": pretty(await self._pinning.definition(service.entry.name, tool) or "{}"),
        }

    def _hash(self, service: Service, tool: str) -> str:
        listing = _known(service)
        written = listing.held.get(tool)
        return listing.pins[tool].hash if written is None else pin_hash(service.offering.identity, written)


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
