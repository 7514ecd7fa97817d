"""What a service offers to read, asked for over an open connection and put into Tom's words.

Lists are read page by page with a bound; texts are cleaned; what is too large is cut with a mark. Raises what the SDK
raises.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mcp import Client
from mcp_types import (
    CacheableResult,
    ContentBlock,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    Prompt,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from tom.conversation.message import Message, Role
from tom.conversation.part import Part, Text
from tom.services import results
from tom.services.cleaning import clean, clean_within, whole
from tom.services.library import PromptEntry, ResourceContent, ResourceEntry
from tom.services.pictures import PictureFrame
from tom.services.rounds import is_modern

MOST_LISTED = 1000
_MOST_PAGES = 100
_MOST_ARGUMENTS = 50
_TEXT_BYTES = 1000
_LONGEST_NAME = 256
_LONGEST_URI = 2048


@dataclass(frozen=True, slots=True)
class Answer[T]:
    """What a service said, and for how many seconds it holds; None: the service does not say."""

    value: T
    seconds: float | None = None


async def prompts_of(client: Client, service: str) -> Answer[tuple[PromptEntry, ...]]:
    """The service's prompts under their bare names."""
    if client.server_capabilities.prompts is None:
        return Answer(())
    pages = await _pages(lambda cursor: client.list_prompts(cursor=cursor, cache_mode="refresh"))
    entries = {one.name: _prompt_entry(service, one) for page in pages for one in page.prompts if _usable(one.name)}
    return Answer(tuple(entries.values())[:MOST_LISTED], _lifetime(client, pages))


async def resources_of(client: Client, service: str) -> Answer[tuple[ResourceEntry, ...]]:
    """The service's resources and templates."""
    if client.server_capabilities.resources is None:
        return Answer(())
    pages = await _pages(lambda cursor: client.list_resources(cursor=cursor, cache_mode="refresh"))
    entries = {
        one.uri: _resource_entry(service, one.uri, one, one.size)
        for page in pages
        for one in page.resources
        if _usable(one.uri, _LONGEST_URI)
    }
    templates = await _templates(client, service)
    return Answer((*entries.values(), *templates)[:MOST_LISTED], _lifetime(client, pages))


async def prompt_of(client: Client, prompt: str, arguments: dict[str, str]) -> tuple[Message, ...]:
    """The prompt's messages."""
    result = await client.get_prompt(prompt, arguments or None)
    left = results.LONGEST
    frame = PictureFrame()
    messages: list[Message] = []
    for said in result.messages:
        parts = tuple(_parts(said.content, frame, left))
        left -= sum(len(part.text) for part in parts if isinstance(part, Text))
        messages.append(Message(Role.ASSISTANT if said.role == "assistant" else Role.USER, parts))
        if left <= 0:
            break
    return tuple(messages)


async def content_of(client: Client, uri: str) -> Answer[ResourceContent]:
    """What the resource holds."""
    result = await client.read_resource(uri, cache_mode="bypass")
    frame = PictureFrame()
    texts: list[str] = []
    for content in result.contents:
        if isinstance(content, TextResourceContents):
            texts.append(content.text)
        elif not frame.take(content.mime_type or "", content.blob):
            texts.append(f"[Binary content: {results.decoded_size(content.blob)} bytes]")
    outcome = results.outcome_of_text("\n".join(texts))
    mime = clean_within((result.contents[0].mime_type if result.contents else "") or "", 200)
    text = outcome.content if texts else ""
    return Answer(ResourceContent(text, mime, frame.images, outcome.truncated), _lifetime(client, [result]))


async def description_of(client: Client, uri: str) -> Answer[str]:
    """The first text of a resource, as it is; "" when it has none."""
    result = await client.read_resource(uri, cache_mode="bypass")
    texts = (content.text for content in result.contents if isinstance(content, TextResourceContents))
    return Answer(next(texts, ""), _lifetime(client, [result]))


async def _pages[P: ListPromptsResult | ListResourcesResult | ListResourceTemplatesResult](
    ask: Callable[[str | None], Awaitable[P]],
) -> list[P]:
    pages: list[P] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await ask(cursor)
        pages.append(page)
        cursor = page.next_cursor
        if not cursor:
            break
    return pages


async def _templates(client: Client, service: str) -> list[ResourceEntry]:
    try:
        pages = await _pages(lambda cursor: client.list_resource_templates(cursor=cursor, cache_mode="refresh"))
    except Exception:  # noqa: BLE001 - many services have resources and have never heard of templates
        return []
    return [
        _resource_entry(service, one.uri_template, one)
        for page in pages
        for one in page.resource_templates
        if _usable(one.uri_template, _LONGEST_URI)
    ]


def _prompt_entry(service: str, prompt: Prompt) -> PromptEntry:
    arguments = {
        one.name: (clean_within(one.description or one.title or "", _TEXT_BYTES), bool(one.required))
        for one in (prompt.arguments or [])[:_MOST_ARGUMENTS]
        if _usable(one.name)
    }
    title, about = (clean_within(text or "", _TEXT_BYTES) for text in (prompt.title, prompt.description))
    return PromptEntry(service, prompt.name, prompt.name, title, about, arguments)


def _resource_entry(
    service: str, uri: str, described: Resource | ResourceTemplate, size: int | None = None
) -> ResourceEntry:
    texts = (described.name, described.title, described.description, described.mime_type)
    name, title, about, mime = (clean_within(text or "", _TEXT_BYTES) for text in texts)
    return ResourceEntry(service, uri, name, title, about, mime, size)


def _usable(name: str, longest: int = _LONGEST_NAME) -> bool:
    return 0 < len(name) <= longest and clean(name) == name


def _lifetime(client: Client, pages: Sequence[CacheableResult]) -> float | None:
    """How long the service lets its answer be kept, in seconds."""
    return min((page.ttl_ms for page in pages), default=0) / 1000 if is_modern(client) else None


def _parts(block: ContentBlock, frame: PictureFrame, left: int) -> list[Part]:
    if block.type == "image":
        before = len(frame.images)
        if frame.take(block.mime_type, block.data):
            return list[Part](frame.images[before:])
    text = whole(results.rendered(block))
    return [Text(results.cut(text, max(left, results.SHORTEST)))]
