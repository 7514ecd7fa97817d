"""The seam between a run and what its person's MCP services offer to read: prompts, resources, descriptions.

Above: `tom.agent`, which lists them, puts them into prompts as somebody else's words, and answers its doors. Below:
the same `registry.py` and `memory.py` as `toolbox.py`. It is not a store and decides nothing about trust.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tom.conversation.message import Message
from tom.conversation.part import Image


@dataclass(frozen=True, slots=True)
class PromptEntry:
    """One prompt. ``name`` is unique among all services (``service__name`` where two share one).

    ``arguments``: name -> (description, required).
    """

    service: str
    prompt: str
    name: str
    title: str = ""
    description: str = ""
    arguments: Mapping[str, tuple[str, bool]] = field(default_factory=dict[str, tuple[str, bool]])


@dataclass(frozen=True, slots=True)
class ResourceEntry:
    """One resource, or a template when ``uri`` contains ``{…}``."""

    service: str
    uri: str
    name: str
    title: str = ""
    description: str = ""
    mime_type: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ResourceContent:
    """What a resource held: all its text contents joined by newlines, and its pictures. ``mime_type`` of the first."""

    text: str
    mime_type: str = ""
    images: tuple[Image, ...] = ()
    truncated: bool = False


class Library(Protocol):
    """What the services of one person offer to read."""

    async def prompts(self, services: Collection[str] | None = None) -> tuple[PromptEntry, ...]:
        """The prompts of the named services (default: all enabled), by service and name. A dead service has none."""
        ...

    async def prompt(self, service: str, prompt: str, arguments: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages of a prompt with its arguments filled in.

        Raises `PromptNotFound`, `InvalidArguments` naming what is missing or unknown, `ServiceUnavailable`.
        """
        ...

    async def resources(self, services: Collection[str] | None = None, *, query: str = "") -> tuple[ResourceEntry, ...]:
        """The resources and templates whose name, title, description or URI contain ``query``."""
        ...

    async def read(self, service: str, uri: str, *, timeout: float | None = None) -> ResourceContent:
        """Read a resource. Raises `ResourceNotFound` or `ServiceUnavailable`."""
        ...

    async def description(self, service: str, kind: str, *, timeout: float) -> str | None:
        """The text of ``description://<kind>`` at this service, cleaned; None when it has none or fails.

        Cached until ``resources/updated``, for the service's ``ttlMs``, else for 300 s. Kinds: ``prompt_consign``,
        ``response_consign``, ``tom_notification``, ``behavior_prompts``.
        """
        ...
