"""Whose call it is: arguments that name the caller are filled in by Tom and not shown to a model.

Identity comes from the door. A model that could write a ``user_id`` could write somebody else's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolDefinition

CALLER = frozenset({"user_id", "tenant", "sender", "sender_username", "owner", "username"})
"""Parameters that mean the caller, in the tools of `PERSONAL` services."""

ALWAYS = frozenset({"user_id", "tenant"})
"""Those that mean the caller in any built-in tool; elsewhere an ``owner`` may be that of a file."""

PERSONAL = frozenset({"memory", "notifications", "behavior"})


def caller_parameters(entry: ServiceEntry | None) -> frozenset[str]:
    """The names of parameters that mean Tom's user in this service's tools; none for a service that is not built in.

    A service named `memory` counts as the built-in one, whose contract it speaks, wherever it runs.
    """
    if entry is None:
        return frozenset()
    if entry.builtin in PERSONAL or entry.name == "memory":
        return CALLER
    return ALWAYS if entry.builtin else frozenset()


def hidden(tool: ToolDefinition, names: frozenset[str]) -> ToolDefinition:
    """The tool without its parameters of these ``names``; the same one where it has none."""
    properties = _properties(tool)
    ours = names & properties.keys()
    if not ours:
        return tool
    shown = {name: schema for name, schema in properties.items() if name not in ours}
    required = [name for name in tool.parameters.get("required", ()) if name not in ours]
    parameters = {**tool.parameters, "properties": shown, "required": required}
    if not required:
        del parameters["required"]
    return replace(tool, parameters=parameters)


def filled(tool: ToolDefinition, arguments: Mapping[str, Any], names: frozenset[str], user: str) -> dict[str, Any]:
    """The arguments with ``user`` in every parameter of ``tool`` among ``names``, whatever a model wrote there."""
    given = {name: value for name, value in arguments.items() if name not in names}
    return given | dict.fromkeys(sorted(names & _properties(tool).keys()), user)


def _properties(tool: ToolDefinition) -> Mapping[str, Any]:
    found: Any = tool.parameters.get("properties", {})
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
