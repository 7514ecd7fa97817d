"""Which of a service's tools are on offer, and as what."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolDefinition
from tom.services.arguments import ArgumentRules
from tom.services.cleaning import clean, clean_within, whole_value
from tom.services.definition import LARGEST, canonical
from tom.services.pins import Pin, first_sight, in_force, pin_hash
from tom.services.schema import SchemaUnusable, parameters_for_model

MOST_TOOLS = 128
MOST_PINS = 1024
"""Tools of one service that are remembered, gone ones included."""

LONGEST_NAME = 256
DESCRIPTION_BYTES = 2048


@dataclass(frozen=True, slots=True)
class RawTool:
    """A tool as its service describes it. ``written`` is the whole of it, as `definition.canonical` spells it."""

    name: str
    written: str

    @classmethod
    def of(cls, name: str, **parts: Any) -> "RawTool":
        """A tool whose definition has these further fields."""
        return cls(name, canonical({"name": name, **parts}))

    @classmethod
    def read(cls, written: str) -> "RawTool":
        """The tool of a definition that was kept."""
        return cls(str(json.loads(written)["name"]), written)

    def definition(self) -> Mapping[str, Any]:
        """The fields of the definition."""
        return json.loads(self.written)


@dataclass(frozen=True, slots=True)
class Listing:
    """A service's tools: their definitions under bare names, and the rules for their arguments.

    ``skipped`` says which tools are not on offer and why; ``beyond`` counts those above `MOST_TOOLS`. ``held`` are off
    because they differ from their pin: tool → its definition of now, empty where that is too large to be looked at;
    then ``oversized`` has its hash. ``pins`` are in force; ``fresh`` are those that this listing has made, with what
    they stand for.
    """

    tools: tuple[ToolDefinition, ...] = ()
    rules: Mapping[str, ArgumentRules] = field(default_factory=dict[str, ArgumentRules])
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    beyond: int = 0
    held: Mapping[str, str] = field(default_factory=dict[str, str])
    pins: Mapping[str, Pin] = field(default_factory=dict[str, Pin])
    fresh: tuple[tuple[Pin, str], ...] = ()
    oversized: Mapping[str, str] = field(default_factory=dict[str, str])

    def hash_of(self, tool: str, identity: str) -> str | None:
        """The hash of a tool as it is listed now by the service of that identity; None: there is no such tool."""
        if tool not in self.pins:
            return None
        if tool in self.oversized:
            return self.oversized[tool]
        written = self.held.get(tool)
        return self.pins[tool].hash if written is None else pin_hash(identity, written)

    @property
    def first_lines(self) -> str:
        """The first line of each tool's description: what the service is for, when nobody says so."""
        lines = (tool.description.partition("\n")[0] for tool in self.tools)
        return "; ".join(line for line in lines if line)


def listing_of(
    entry: ServiceEntry,
    described: Iterable[RawTool],
    *,
    identity: str = "",
    pins: Mapping[str, Pin] | None = None,
    now: str = "",
) -> Listing:
    """The tools that the admin's globs leave, in the service's order; one that cannot be used costs only itself.

    ``pins`` are those of this service by tool, ``identity`` is who it is now (`pins.identity_of`). Where there are
    more tools than may be on offer, those that have a pin come first.
    """
    making = _Making(entry, identity, pins or {}, now)
    wanted = [raw for raw in described if is_wanted(entry, raw.name)]
    making.take(wanted)
    return making.listing()


class _Making:
    """One listing in the making."""

    def __init__(self, entry: ServiceEntry, identity: str, pins: Mapping[str, Pin], now: str) -> None:
        self._entry = entry
        self._identity = identity
        self._known = pins
        self._now = now
        self._tools: dict[str, ToolDefinition] = {}
        self._rules: dict[str, ArgumentRules] = {}
        self._skipped: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._oversized: dict[str, str] = {}
        self._pins: dict[str, Pin] = {}
        self._fresh: list[tuple[Pin, str]] = []
        self._beyond = 0

    def take(self, wanted: list[RawTool]) -> None:
        """Decide about every tool that is listed."""
        written: dict[str, set[str]] = {}
        for raw in wanted:
            written.setdefault(raw.name, set()).add(raw.written)
        room = MOST_TOOLS - sum(name in self._known for name in written)
        for name, texts in written.items():
            reason = _unusable(name, texts)
            if reason:
                self._skipped[_shown(name)] = reason
            else:
                self._take(RawTool(name, next(iter(texts))), room)

    def _take(self, raw: RawTool, room: int) -> None:
        pin = self._known.get(raw.name)
        if len(self._tools) >= MOST_TOOLS if pin is not None else len(self._fresh) >= room:
            self._beyond += 1
        elif pin is not None:
            self._compare(raw, pin)
        elif len(self._known) + len(self._fresh) >= MOST_PINS:
            self._skipped[_shown(raw.name)] = f"the service has shown more than {MOST_PINS} tools"
        else:
            self._first(raw)

    def _compare(self, raw: RawTool, pin: Pin) -> None:
        now = pin_hash(self._identity, raw.written)
        if now != pin.hash:
            large = len(raw.written) > LARGEST
            self._held[raw.name] = "" if large else raw.written
            if large:
                self._oversized[raw.name] = now
            self._pins[raw.name] = pin
            return
        definition = raw.definition()
        self._offer(raw, definition, in_force(pin, self._entry, definition))

    def _first(self, raw: RawTool) -> None:
        definition = raw.definition()
        hash_ = pin_hash(self._identity, raw.written)
        pin = first_sight(self._entry, raw.name, definition, identity=self._identity, hash_=hash_, now=self._now)
        if self._offer(raw, definition, pin):
            self._fresh.append((pin, raw.written))

    def _offer(self, raw: RawTool, definition: Mapping[str, Any], pin: Pin) -> bool:
        try:
            parameters = whole_value(parameters_for_model(definition.get("inputSchema")))
        except SchemaUnusable as error:
            self._skipped[_shown(raw.name)] = str(error)
            return False
        entry = self._entry
        self._pins[raw.name] = pin
        self._rules[raw.name] = ArgumentRules(definition.get("inputSchema"))
        self._tools[raw.name] = ToolDefinition(
            name=raw.name,
            service=entry.name,
            tool=raw.name,
            description=clean_within(_text(definition, "description") or _text(definition, "title"), DESCRIPTION_BYTES),
            parameters=parameters,
            tool_class=pin.tool_class,
            pin=pin.hash,
            proposed=pin.proposed,
            outward=pin.outward,
            honours_key=pin.honours_key,
            trusted=entry.trust == "trusted",
        )
        return True

    def listing(self) -> Listing:
        return Listing(
            tuple(self._tools.values()),
            self._rules,
            self._skipped,
            self._beyond,
            self._held,
            self._pins,
            tuple(self._fresh),
            self._oversized,
        )


def is_wanted(entry: ServiceEntry, tool: str) -> bool:
    """Whether the admin's globs leave this tool."""
    if any(fnmatchcase(tool, glob) for glob in entry.deny):
        return False
    return not entry.allow or any(fnmatchcase(tool, glob) for glob in entry.allow)


def _unusable(name: str, texts: set[str]) -> str:
    """Why a tool cannot be on offer that is listed under this name with these definitions; empty when it can."""
    if len(texts) > 1:
        return "the service lists it twice, with different definitions"
    if clean(name) != name or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        return "its name cannot be used"
    return ""


def _shown(name: str) -> str:
    return clean_within(name, 64) or "(no name)"


def _text(definition: Mapping[str, Any], key: str) -> str:
    value = definition.get(key)
    return value if isinstance(value, str) else ""
