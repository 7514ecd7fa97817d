"""The pieces a message is made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture; ``data`` is the raw file, ``media_type`` e.g. ``image/png``.

    ``file`` names the file of the conversation that holds it, while ``data`` is not loaded yet.
    """

    media_type: str
    data: bytes = b""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A text that came with a message: an attached file or a service's resource. Always somebody else's words.

    ``file`` names the file of the conversation that holds it, while ``text`` is not loaded yet. A prompt turns it into
    fenced `Text`; no provider ever sees one.
    """

    name: str
    text: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model said to itself. Never sent back to another model."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. ``arguments`` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call ``call_id``; ``name`` is the name that the model called."""

    call_id: str
    content: str
    is_error: bool = False
    name: str = ""
    service: str = ""


type Part = Text | Image | Document | Thinking | ToolCall | ToolResult


def attached(described: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts that an event's ``attachments`` describe, not loaded yet.

    Each is ``{"type": "image", "media_type", "file"}`` or ``{"type": "text", "name", "file"}``. Of any other type, such as
    the whole text of a result that was cut, nothing goes into a prompt.
    """
    return tuple(
        Image(attachment["media_type"], file=attachment["file"])
        if attachment["type"] == "image"
        else Document(attachment["name"], file=attachment["file"])
        for attachment in described
        if attachment["type"] in {"image", "text"}
    )
