"""A library whose prompts and resources are given in Python: no process, no protocol, the same contract."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from tom.conversation.message import Message, user
from tom.errors import PromptNotFound, ResourceNotFound, ServiceUnavailable
from tom.services import results
from tom.services.entries import found_in, named_prompts
from tom.services.library import PromptEntry, ResourceContent, ResourceEntry
from tom.services.shelf import check_arguments, cleaned_description

type Filled = Callable[[Mapping[str, str]], tuple[Message, ...] | str]
"""Makes a prompt's messages, or the text of its only one, of the arguments."""


class MemoryLibrary:
    """Prompts, resources and descriptions of services that exist only here."""

    def __init__(self) -> None:
        self._unavailable: dict[str, str] = {}
        self._prompts: dict[tuple[str, str], tuple[PromptEntry, Filled]] = {}
        self._resources: dict[tuple[str, str], tuple[ResourceEntry, ResourceContent]] = {}
        self._closed = False

    def add_prompt(
        self,
        prompt: str,
        filled: Filled | str,
        *,
        service: str = "memory",
        title: str = "",
        description: str = "",
        arguments: Mapping[str, tuple[str, bool]] | None = None,
    ) -> None:
        """Offer a prompt; ``arguments`` as in `PromptEntry`."""
        entry = PromptEntry(service, prompt, prompt, title, description, dict(arguments or {}))
        self._prompts[service, prompt] = (entry, filled if callable(filled) else lambda _given: filled)

    def add_resource(
        self,
        uri: str,
        content: str | ResourceContent,
        *,
        service: str = "memory",
        name: str = "",
        description: str = "",
        mime_type: str = "text/plain",
    ) -> None:
        """Offer a resource, or change one. A URI with ``{…}`` is a template: any URI that begins alike can be read."""
        entry = ResourceEntry(service, uri, name or uri, "", description, mime_type)
        held = ResourceContent(content, mime_type) if isinstance(content, str) else content
        self._resources[service, uri] = (entry, held)

    def set_description(self, service: str, kind: str, text: str) -> None:
        """Let the service say ``text`` under ``description://<kind>``."""
        self.add_resource(f"description://{kind}", text, service=service)

    def set_unavailable(self, service: str, reason: str | None) -> None:
        """Report ``service`` as unreachable; None: it can be reached again."""
        if reason is None:
            self._unavailable.pop(service, None)
        else:
            self._unavailable[service] = reason

    async def prompts(self, services: Collection[str] | None = None) -> tuple[PromptEntry, ...]:
        """The prompts of the named services (default: all)."""
        known = [entry for entry, _filled in self._prompts.values()]
        return named_prompts((entry for entry in known if self._offers(entry.service, services)), known)

    async def prompt(self, service: str, prompt: str, arguments: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages of a prompt. Raises `PromptNotFound`, `InvalidArguments`, `ServiceUnavailable`."""
        self._check(service)
        if (service, prompt) not in self._prompts:
            raise PromptNotFound(f"Prompt '{prompt}' not found")
        entry, filled = self._prompts[service, prompt]
        check_arguments(entry, arguments)
        made = filled(arguments)
        return (user(made),) if isinstance(made, str) else made

    async def resources(self, services: Collection[str] | None = None, *, query: str = "") -> tuple[ResourceEntry, ...]:
        """The resources and templates whose name, title, description or URI contain ``query``."""
        entries = (entry for entry, _content in self._resources.values() if self._offers(entry.service, services))
        return found_in(entries, query)

    async def read(self, service: str, uri: str, *, timeout: float | None = None) -> ResourceContent:
        """Read a resource. Raises `ResourceNotFound` or `ServiceUnavailable`."""
        del timeout  # nothing here takes time
        self._check(service)
        content = self._content(service, uri)
        if content is None:
            raise ResourceNotFound(f"Resource '{uri}' not found")
        if len(content.text) <= results.LONGEST:
            return content
        return replace(content, text=results.cut(content.text, results.LONGEST), truncated=True)

    async def description(self, service: str, kind: str, *, timeout: float) -> str | None:
        """The text of ``description://<kind>`` at this service, cleaned; None when it has none or fails."""
        del timeout  # as above
        content = None if service in self._unavailable else self._content(service, f"description://{kind}")
        return cleaned_description(kind, content.text) or None if content is not None else None

    def _content(self, service: str, uri: str) -> ResourceContent | None:
        for (owner, known), (_entry, content) in self._resources.items():
            if owner == service and (known == uri or ("{" in known and uri.startswith(known.partition("{")[0]))):
                return content
        return None

    def _offers(self, service: str, services: Collection[str] | None) -> bool:
        return not self._closed and service not in self._unavailable and (services is None or service in services)

    def _check(self, service: str) -> None:
        known = {owner for owner, _ in (*self._prompts, *self._resources)}
        if self._closed or service in self._unavailable or service not in known:
            reason = self._unavailable.get(service, "it is not configured")
            raise ServiceUnavailable(f"Service '{service}' is not reachable: {reason}")
