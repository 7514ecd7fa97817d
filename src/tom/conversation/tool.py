"""Tools as the kernel knows them: a definition offered to a model, and what a call brought back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tom.conversation.elicitation import InputNeeded
from tom.conversation.part import Image


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
    JSON Schema object. ``pin`` is the hash of the whole definition and of the service's identity, as it was reviewed.
    ``proposed``: nobody has confirmed the class yet. ``outward``: its arguments leave the house. ``honours_key``: it
    may be repeated with the same key. ``trusted``: what it returns is the admin's or the person's own. ``steering``: what
    it stores instructs later runs. ``source`` is the service that it reads from, where that is not ``service``;
    ``origin`` the name of what it returns in labels, where that is not the full name. ``aim`` is there when these
    depend on a call's arguments: it makes the definition for them.
    """

    name: str
    service: str
    tool: str
    description: str
    parameters: Mapping[str, Any]
    tool_class: ToolClass = ToolClass.WRITE_EXTERNAL
    pin: str = ""
    proposed: bool = False
    outward: bool = False
    honours_key: bool = False
    trusted: bool = False
    steering: bool = False
    source: str = ""
    origin: str = ""
    aim: "Callable[[Mapping[str, Any]], ToolDefinition] | None" = field(default=None, compare=False)

    @property
    def reads_from(self) -> str:
        """The service whose matters a call brings."""
        return self.source or self.service

    @property
    def full_name(self) -> str:
        """``service.tool``, the name that pins, rules, audit and people use."""
        return f"{self.service}.{self.tool}"


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call brought back. ``is_error`` is the service's word or Tom's; either way it is a result.

    ``unknown``: the call left, and whether it took effect cannot be known (no answer in time, connection lost).
    ``needs``: the service did not answer but asks its person; the same call is then made again. ``images`` are the
    pictures among what it returned.
    """

    content: str
    is_error: bool = False
    truncated: bool = False
    unknown: bool = False
    needs: InputNeeded | None = None
    images: tuple[Image, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
