"""A message: what one role said, in order of its parts."""

from dataclasses import dataclass
from enum import StrEnum

from tom.conversation.part import Image, Part, Text, ToolCall, ToolResult


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """What one role said; ``tokens`` is the stored count of all its parts."""

    role: Role
    parts: tuple[Part, ...]
    tokens: int = 0

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


def system(text: str, tokens: int = 0) -> Message:
    """An instruction."""
    return Message(Role.SYSTEM, (Text(text),), tokens)


def user(text: str, tokens: int = 0) -> Message:
    """What the person said."""
    return Message(Role.USER, (Text(text),), tokens)


def assistant(text: str, calls: tuple[ToolCall, ...] = (), tokens: int = 0) -> Message:
    """What the model said, with the tool calls it asked for."""
    return Message(Role.ASSISTANT, ((Text(text),) if text else ()) + calls, tokens)


def tool(result: ToolResult, tokens: int = 0) -> Message:
    """What a tool answered."""
    return Message(Role.TOOL, (result,), tokens)
