"""A message: what one role said, in order of its parts."""

from dataclasses import dataclass
from enum import StrEnum

from tom.conversation.label import CLEAN, Label
from tom.conversation.part import Image, Part, Text, ToolCall, ToolResult


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """What one role said; ``tokens`` is the stored count of all its parts, ``label`` says where they came from."""

    role: Role
    parts: tuple[Part, ...]
    tokens: int = 0
    label: Label = CLEAN

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures."""
        return tuple(part for part in self.parts if isinstance(part, Image))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls asked for."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The tool results carried."""
        return tuple(part for part in self.parts if isinstance(part, ToolResult))


def system(text: str, tokens: int = 0, label: Label = CLEAN) -> Message:
    """An instruction."""
    return Message(Role.SYSTEM, (Text(text),), tokens, label)


def user(text: str, tokens: int = 0, label: Label = CLEAN) -> Message:
    """What the person said."""
    return Message(Role.USER, (Text(text),), tokens, label)


def assistant(text: str, calls: tuple[ToolCall, ...] = (), tokens: int = 0, label: Label = CLEAN) -> Message:
    """What the model said, with the tool calls it asked for."""
    return Message(Role.ASSISTANT, ((Text(text),) if text else ()) + calls, tokens, label)


def tool(result: ToolResult, tokens: int = 0, label: Label = CLEAN) -> Message:
    """What a tool answered."""
    return Message(Role.TOOL, (result,), tokens, label)
