"""Pins: what a tool was when it was first seen or reviewed. Pure; what is recorded is kept by `kept.py`.

A pin is the hash of a tool's whole definition and of its service's identity. A tool that differs from its pin is held:
it is not offered and not called, until a person has seen the difference. See docs/adr/0009.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import urlsplit

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.policy.classes import propose
from tom.services.definition import canonical, digest

CONFIGURED = "config.yml"
"""Who has reviewed a tool whose class stands in the admin's file."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Pin:
    """One tool as it was pinned. ``hash`` is over ``identity`` and the definition; times are RFC 3339 UTC.

    ``proposed``: nobody has confirmed the class. ``reviewed_by`` empty: pinned at first sight.
    """

    service: str
    tool: str
    hash: str
    identity: str
    tool_class: ToolClass
    proposed: bool
    outward: bool
    honours_key: bool
    first_seen: str
    reviewed_by: str = ""
    reviewed_at: str = ""


def identity_of(entry: ServiceEntry, server: str) -> str:
    """Who a service is: where it is reached, and what it calls itself. No secret is in it."""
    return canonical({**place_of(entry), "server": server})


def place_of(entry: ServiceEntry) -> Mapping[str, str]:
    """Where a service is reached: origin of its URL, digest of its command line, or name of the built-in one."""
    if entry.builtin:
        return {"builtin": entry.builtin}
    if entry.command:
        return {"argv": digest(entry.command, *entry.args)}
    parts = urlsplit(entry.url)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return {"origin": f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"}


def pin_hash(identity: str, written: str) -> str:
    """The hash of a definition, as `definition.canonical` spells it, of the service of that identity."""
    return digest(identity, written)


def first_sight(
    entry: ServiceEntry, tool: str, definition: Mapping[str, Any], *, identity: str, hash_: str, now: str
) -> Pin:
    """The pin of a tool that was never seen before: the admin's class, else a proposed one."""
    given = entry.classes.get(tool)
    proposed_class, outward = proposal(tool, definition, trusted=bool(given) or is_trusted(entry))
    return Pin(
        service=entry.name,
        tool=tool,
        hash=hash_,
        identity=identity,
        tool_class=ToolClass(given) if given else proposed_class,
        proposed=not given,
        outward=outward,
        honours_key=False,
        first_seen=now,
        reviewed_by=CONFIGURED if given else "",
        reviewed_at=now if given else "",
    )


def in_force(pin: Pin, entry: ServiceEntry, definition: Mapping[str, Any]) -> Pin:
    """``pin`` under the settings of today: the class in the admin's file wins; an unconfirmed one is proposed anew."""
    given = entry.classes.get(pin.tool)
    proposed_class, outward = proposal(pin.tool, definition, trusted=bool(given) or is_trusted(entry))
    if given:
        outward = outward if pin.proposed else pin.outward
        return replace(pin, tool_class=ToolClass(given), proposed=False, outward=outward)
    if not pin.proposed:
        return pin
    return replace(pin, tool_class=proposed_class, outward=outward)


def is_trusted(entry: ServiceEntry) -> bool:
    """Whether the words of a service are the admin's own."""
    return entry.trust == "trusted"


def proposal(tool: str, definition: Mapping[str, Any], *, trusted: bool) -> tuple[ToolClass, bool]:
    """The proposed class of a tool, and whether its arguments leave the house.

    ``trusted``: the service is, or somebody has looked at the tool.
    """
    annotations = definition.get("annotations")
    proposed = propose(
        tool,
        definition.get("inputSchema"),
        cast("Mapping[str, Any]", annotations) if isinstance(annotations, Mapping) else None,
        trusted=trusted,
    )
    return proposed.tool_class, proposed.outward
