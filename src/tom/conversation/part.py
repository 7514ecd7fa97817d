"""The pieces a message is made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture; ``data`` is the raw file, ``media_type`` e.g. ``image/png``."""

    media_type: str
    data: bytes


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


type Part = Text | Image | Thinking | ToolCall | ToolResult
