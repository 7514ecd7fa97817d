"""Which of a service's tools are on offer, and as what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.classes import class_of
from tom.services.arguments import ArgumentRules
from tom.services.cleaning import clean, clean_within
from tom.services.schema import SchemaUnusable, parameters_for_model

MOST_TOOLS = 128
LONGEST_NAME = 256
DESCRIPTION_BYTES = 2048


@dataclass(frozen=True, slots=True)
class RawTool:
    """A tool as its service describes it."""

    name: str
    description: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Listing:
    """A service's tools: their definitions under bare names, and the rules for their arguments.

    ``skipped`` says which tools are not on offer and why; ``beyond`` counts those above `MOST_TOOLS`.
    """

    tools: tuple[ToolDefinition, ...] = ()
    rules: Mapping[str, ArgumentRules] = field(default_factory=dict[str, ArgumentRules])
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    beyond: int = 0

    @property
    def first_lines(self) -> str:
        """The first line of each tool's description: what the service is for, when nobody says so."""
        lines = (tool.description.partition("\n")[0] for tool in self.tools)
        return "; ".join(line for line in lines if line)


def listing_of(entry: ServiceEntry, described: Iterable[RawTool]) -> Listing:
    """The tools that the admin's globs leave, in the service's order; one that cannot be used costs only itself."""
    classes = {tool: ToolClass(name) for tool, name in entry.classes.items()}
    tools: dict[str, ToolDefinition] = {}
    rules: dict[str, ArgumentRules] = {}
    skipped: dict[str, str] = {}
    beyond = 0
    for raw in described:
        if not _wanted(entry, raw.name):
            continue
        shown = clean_within(raw.name, 64) or "(no name)"
        if raw.name in tools:
            skipped[shown] = "the service lists it twice"
        elif clean(raw.name) != raw.name or not 0 < len(raw.name) <= LONGEST_NAME:
            skipped[shown] = "its name cannot be used"
        elif len(tools) >= MOST_TOOLS:
            beyond += 1
        else:
            try:
                tools[raw.name] = _definition(entry.name, raw, class_of(raw.name, classes))
            except SchemaUnusable as error:
                skipped[shown] = str(error)
                continue
            rules[raw.name] = ArgumentRules(raw.schema)
    return Listing(tuple(tools.values()), rules, skipped, beyond)


def _wanted(entry: ServiceEntry, tool: str) -> bool:
    if any(fnmatchcase(tool, glob) for glob in entry.deny):
        return False
    return not entry.allow or any(fnmatchcase(tool, glob) for glob in entry.allow)


def _definition(service: str, raw: RawTool, tool_class: ToolClass) -> ToolDefinition:
    return ToolDefinition(
        name=raw.name,
        service=service,
        tool=raw.name,
        description=clean_within(raw.description, DESCRIPTION_BYTES),
        parameters=parameters_for_model(raw.schema),
        tool_class=tool_class,
    )
