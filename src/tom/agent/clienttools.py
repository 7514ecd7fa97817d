"""The tools that a client of `/v1` calls itself: on offer to the model beside Tom's own, never called here."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tom.conversation.history import CLIENT
from tom.conversation.tool import ToolDefinition
from tom.services.naming import LONGEST, allowed

NONE, REQUIRED = "none", "required"
"""A client's choice that is no tool's name: its tools are not on offer, or one of them is to be called."""


def definitions(told: Iterable[Mapping[str, Any]]) -> tuple[ToolDefinition, ...]:
    """The tools as a message tells them (``{"name", "description", "parameters"}``)."""
    return tuple(
        ToolDefinition(
            name=tool["name"],
            service=CLIENT,
            tool=tool["name"],
            description=tool["description"],
            parameters=tool["parameters"],
        )
        for tool in told
    )


def beside(tools: Iterable[ToolDefinition], taken: Iterable[str]) -> tuple[ToolDefinition, ...]:
    """Tom's ``tools`` under names that are not ``taken``: those that would be are called ``<service>__<tool>``."""
    listed, names = tuple(tools), set(taken)
    if not any(tool.name in names for tool in listed):
        return listed
    names |= {tool.name for tool in listed}
    given: list[ToolDefinition] = []
    clashing = set(taken)
    for tool in listed:
        if tool.name not in clashing:
            given.append(tool)
            continue
        name = allowed(f"{tool.service}__{tool.tool}")
        while name in names:
            name = f"_{name}"[:LONGEST]
        names.add(name)
        given.append(replace(tool, name=name))
    return tuple(given)
