"""What a service answered, as the text that the model reads."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tom.conversation.part import Image
from tom.conversation.tool import ToolOutcome
from tom.services.cleaning import whole
from tom.services.pictures import PictureFrame

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock

LONGEST = 100_000
"""Characters of a result that reach the model, the mark included."""

SHORTEST = 100
"""Characters that a text is never cut below, so that the mark has room."""

NOTHING = "✓ done"
NOTHING_WRONG = "The tool reported an error and did not say which."


def outcome_of(result: "CallToolResult") -> ToolOutcome:
    """Render a result. ``isError`` is a result like any other."""
    blocks = list(result.content or ())
    lines = [rendered(block) for block in blocks]
    if result.structured_content is not None and not any(block.type == "text" and block.text for block in blocks):
        lines.insert(0, json.dumps(result.structured_content, ensure_ascii=False))
    failed = bool(result.is_error)
    outcome = outcome_of_text("\n".join(line for line in lines if line), failed=failed)
    images = _images_among(blocks)
    return replace(outcome, images=images) if images else outcome


def outcome_of_text(text: str, *, failed: bool = False) -> ToolOutcome:
    """An outcome of this text, cut to `LONGEST` with a mark; empty text says that there was none.

    ``extra["whole"]`` of one that was cut is the whole text.
    """
    text = whole(text)
    if not text:
        return ToolOutcome(NOTHING_WRONG if failed else NOTHING, is_error=failed)
    if len(text) <= LONGEST:
        return ToolOutcome(text, is_error=failed)
    return ToolOutcome(cut(text, LONGEST), is_error=failed, truncated=True, extra={"whole": text})


def cut(text: str, longest: int) -> str:
    """``text`` in at most ``longest`` characters (not less than `SHORTEST`), with a mark where something is missing."""
    if len(text) <= longest:
        return text
    mark = f"\n[… cut here: {len(text)} characters in all]"
    return text[: longest - len(mark)] + mark


def failure(reason: str, *, unknown: bool = False) -> ToolOutcome:
    """The outcome of a call that brought nothing back; ``unknown``: it left, and may have taken effect."""
    return replace(outcome_of_text(reason, failed=True), unknown=unknown)


def held(reason: str) -> ToolOutcome:
    """The outcome of a call that was not made because the tool differs from its pin."""
    return replace(outcome_of_text(reason, failed=True), extra={"held": reason})


def outcome_of_value(value: object) -> ToolOutcome:
    """What a Python function returned: an outcome as it is, text as text, anything else as JSON."""
    if isinstance(value, ToolOutcome):
        return value
    if value is None or isinstance(value, str):
        return outcome_of_text(value or "")
    return outcome_of_text(json.dumps(value, ensure_ascii=False))


def _images_among(blocks: "Sequence[ContentBlock]") -> tuple[Image, ...]:
    frame = PictureFrame()
    for block in blocks:
        if block.type == "image":
            frame.take(block.mime_type, block.data)
        elif block.type == "resource":
            frame.take(block.resource.mime_type or "", getattr(block.resource, "blob", ""))
    return frame.images


def rendered(block: "ContentBlock") -> str:
    """One piece of content as text; for what is no text, a placeholder."""
    match block.type:
        case "text":
            return block.text
        case "image":
            return f"[Image: {block.mime_type}, {decoded_size(block.data)} bytes]"
        case "audio":
            return f"[Binary content: {decoded_size(block.data)} bytes]"
        case "resource":
            return _embedded(block.resource.uri, getattr(block.resource, "text", None))
        case "resource_link":
            return f"[Resource link: {block.uri}]"


def _embedded(uri: str, text: str | None) -> str:
    """The mark, and the text of a resource that has one: the model could not ask for it."""
    mark = f"[Embedded resource: {uri}]"
    return f"{mark}\n{text}" if text else mark


def decoded_size(base64_text: str) -> int:
    """How many bytes this base64 stands for, without decoding it."""
    significant = len(base64_text.rstrip("=\r\n "))
    return significant * 3 // 4
