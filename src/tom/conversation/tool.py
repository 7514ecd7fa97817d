"""Tools as the kernel knows them: a definition offered to a model, and what a call brought back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ToolClass(StrEnum):
    """What a call of a tool can do. Set by the admin or proposed by `policy`, never by the service."""

    READ_PUBLIC = "read_public"
    READ_PRIVATE = "read_private"
    WRITE_OWN = "write_own"
    WRITE_EXTERNAL = "write_external"
    DESTRUCTIVE = "destructive"

    @property
    def reads_only(self) -> bool:
        """Whether a call may be repeated without harm, and run beside others."""
        return self in {ToolClass.READ_PUBLIC, ToolClass.READ_PRIVATE}


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """One tool of one service.

    ``name`` is what the model sees and calls; ``service`` and ``tool`` are what is dispatched; ``parameters`` is a
    JSON Schema object.
    """

    name: str
    service: str
    tool: str
    description: str
    parameters: Mapping[str, Any]
    tool_class: ToolClass = ToolClass.WRITE_EXTERNAL

    @property
    def full_name(self) -> str:
        """``service.tool``, the name that pins, rules, audit and people use."""
        return f"{self.service}.{self.tool}"


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call brought back. ``is_error`` is the service's word or Tom's; either way it is a result.

    ``unknown``: the call left, and whether it took effect cannot be known (no answer in time, connection lost).
    """

    content: str
    is_error: bool = False
    truncated: bool = False
    unknown: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
