"""What is put into a conversation with a message: its attachments, resources of services, a prompt in front of it.

All of it is somebody else's words. It is fetched and kept as files before the message is stored, so that the event
can name it, and only for a message that is not a repetition.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tom.agent.attachments import MAX_BYTES, Attachment, Enclosed, ResourceWish
from tom.agent.ending import first_of
from tom.agent.files import Files
from tom.agent.options import did_you_mean, nearest
from tom.agent.prompting import PromptWish, find_prompt, told_by, typed_prompt
from tom.agent.submission import Submission
from tom.conversation.label import CLEAN, Label, union
from tom.conversation.part import Image
from tom.errors import AttachmentTooLarge, ServiceUnavailable, ToolAmbiguous, ToolNotFound
from tom.services.library import Library, PromptEntry
from tom.services.toolbox import Toolbox

READ_SECONDS = 15.0
"""So long services may take over all that comes with a message while it waits to be accepted."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """What a message's event says beside its text; ``text`` stands for it where the person wrote none."""

    text: str
    attachments: tuple[Mapping[str, Any], ...] = ()
    label: Label = CLEAN
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came with a message, in memory only."""

    text: str
    found: tuple[Enclosed, ...]
    options: Mapping[str, Any]


class Enclosing:
    """Fetches and keeps what comes with messages of one person."""

    def __init__(
        self,
        toolbox: Toolbox,
        library: Library,
        files: Files,
        *,
        services: Collection[str],
        trusted: Collection[str] = (),
    ) -> None:
        """``services`` are the enabled ones, ``trusted`` those whose words are the admin's or the person's own."""
        self._toolbox = toolbox
        self._library = library
        self._files = files
        self._services = services
        self._trusted = trusted

    def wanted(self, message: Submission) -> bool:
        """Whether anything is to be fetched, kept or looked up for ``message``. Raises `InvalidArguments`."""
        if message.attachments or message.prompt is not None or "tool_name" in message.options:
            return True
        return typed_prompt(message.text, self._services) is not None

    async def fetch(self, message: Submission) -> Fetched:
        """Fetch what ``message`` asks for, all of it at once and within `READ_SECONDS`. Nothing is kept yet.

        Raises `PromptNotFound`, `InvalidArguments`, `ResourceNotFound`, `ServiceUnavailable`, `ToolNotFound`,
        `ToolAmbiguous` or `AttachmentTooLarge`; then nothing of the message may be stored.
        """
        wish = message.prompt or typed_prompt(message.text, self._services)
        try:
            async with asyncio.TaskGroup() as group:
                naming = group.create_task(self._options(message.options))
                prompting = None if wish is None else group.create_task(self._prompt(wish))
                reading = [group.create_task(self._attached(attachment)) for attachment in message.attachments]
        except ExceptionGroup as failed:
            raise first_of(failed) from None
        text, found = message.text, list[Enclosed]()
        if wish is not None and prompting is not None:
            entry, prompted = prompting.result()
            found += prompted
            if message.prompt is not None and text == wish.typed():
                text = PromptWish(f"{entry.service}:{entry.prompt}", wish.arguments).typed()
        for attached in reading:
            found += attached.result()
        return Fetched(text, tuple(found), naming.result())

    async def keep(self, conversation_id: str, fetched: Fetched) -> Enclosure:
        """Keep it as files of the conversation. Raises a storage error; then nothing of the message may be stored."""
        found = fetched.found
        described = [one.described(await self._files.write(conversation_id, one.content)) for one in found]
        return Enclosure(fetched.text, tuple(described), union(map(_label, found)), fetched.options)

    async def _options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if "tool_name" not in options:
            return dict(options)
        try:
            async with asyncio.timeout(READ_SECONDS):
                name = await self._tool(options["tool_name"], options.get("services"))
        except TimeoutError:
            message = f"The services did not answer within {READ_SECONDS:g} s."
            raise ServiceUnavailable(message) from None
        return {**options, "tool_name": name}

    async def _attached(self, attachment: Attachment) -> tuple[Enclosed, ...]:
        return await self._resource(attachment) if isinstance(attachment, ResourceWish) else (attachment.enclosed,)

    # --- prompts and resources ---------------------------------------------------------------------------------

    async def _prompt(self, wish: PromptWish) -> tuple[PromptEntry, tuple[Enclosed, ...]]:
        among = [wish.service] if wish.service in self._services else None
        try:
            async with asyncio.timeout(READ_SECONDS):
                entries = await self._library.prompts(among)
                if not entries:
                    self._check_reachable(wish.service)
                entry = find_prompt(wish, entries, self._services)
                messages = await self._library.prompt(entry.service, entry.prompt, wish.arguments)
        except TimeoutError:
            message = f"The service did not answer within {READ_SECONDS:g} s."
            raise ServiceUnavailable(message) from None
        text, images = told_by(messages)
        name = f"prompt:{entry.service}.{entry.prompt}"
        asked = {"service": entry.service, "prompt": entry.prompt, "arguments": dict(wish.arguments)}
        return entry, self._from_service(entry.service, name, text, images, {"prompt": asked})

    async def _resource(self, wish: ResourceWish) -> tuple[Enclosed, ...]:
        try:
            async with asyncio.timeout(READ_SECONDS):
                content = await self._library.read(wish.service, wish.uri, timeout=READ_SECONDS)
        except TimeoutError:
            message = f"The service '{wish.service}' did not answer within {READ_SECONDS:g} s."
            raise ServiceUnavailable(message) from None
        name = f"resource:{wish.service}::{wish.uri}"
        read = {"service": wish.service, "uri": wish.uri, "truncated": content.truncated}
        return self._from_service(wish.service, name, content.text, content.images, {"resource": read})

    def _from_service(
        self, service: str, name: str, text: str, images: tuple[Image, ...], more: Mapping[str, Any]
    ) -> tuple[Enclosed, ...]:
        source = "" if service in self._trusted else name
        enclosed = [Enclosed("image", image.data, name, source, service, image.media_type, more) for image in images]
        if text or not enclosed:
            enclosed.insert(0, Enclosed("text", text.encode("utf-8", "replace"), name, source, service, more=more))
        for one in enclosed:
            if len(one.content) > MAX_BYTES:
                message = f"{name} is larger than {MAX_BYTES} bytes."
                raise AttachmentTooLarge(message, limit=MAX_BYTES)
        return tuple(enclosed)

    def _check_reachable(self, service: str) -> None:
        for status in self._toolbox.status():
            if status.name == service and status.status == "error":
                message = f"Service '{service}' is not reachable: {status.error}"
                raise ServiceUnavailable(message)

    # --- a tool by name ----------------------------------------------------------------------------------------

    async def _tool(self, wanted: str, services: Collection[str] | None) -> str:
        """The full name of the tool that the person wants to be called."""
        service, dot, _ = wanted.partition(".")
        among = [service] if dot and service in self._services else services
        tools = (await self._toolbox.tools(among)).tools
        found = {tool.full_name for tool in tools if wanted in {tool.full_name, tool.tool, tool.name}}
        if wanted in found:
            return wanted
        if len(found) > 1:
            message = f"Several services have a tool '{wanted}': {', '.join(sorted(found))}. Name the service too."
            raise ToolAmbiguous(message, tools=sorted(found))
        if not found:
            known = [tool.full_name for tool in tools] + [tool.tool for tool in tools]
            near = nearest(wanted, known)
            message = f"Tool '{wanted}' not found.{did_you_mean(wanted, known)}"
            raise ToolNotFound(message, **({"nearest": near} if near else {}))
        return found.pop()


def _label(one: Enclosed) -> Label:
    untrusted = frozenset({one.source}) if one.source else frozenset[str]()
    return Label(untrusted, frozenset({one.private}) if one.private else frozenset[str]())
