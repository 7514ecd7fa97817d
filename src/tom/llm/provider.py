"""The seam between a run and a language model.

Above: `tom.agent.asking`, which knows runs, attempts and retries. Below: one adapter per wire dialect, the scripted
model, and the unconfigured provider. It is not a chat framework: one request in, a stream of fragments and one
reply out, exactly one attempt. Retrying, falling back and counting attempts belong above.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tom.conversation.message import Message
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolDefinition
from tom.conversation.usage import Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model. ``options``: ``temperature``, ``top_p``, ``max_tokens``, ``thinking`` (off, low, high).

    ``stop``, ``seed``, ``response_format`` and ``parallel_tool_calls`` are those of chat completions.
    ``tool_choice`` among them is the name of a tool on offer that is to be called, or ``required`` for any.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A fragment of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A fragment of what the model says to itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole reply; always the last item of a stream. ``finish_reason``: stop, length, tool_calls, content_filter.

    ``dropped`` names the options of the request that the model does not support.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: Usage
    model: str
    thinking: str = ""
    dropped: tuple[str, ...] = ()


type ModelItem = TextDelta | ThinkingDelta | Reply


class Provider(Protocol):
    """A language model's door."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Ask once. Yields fragments as they arrive and the `Reply` last.

        Raises a `ProviderError` whose ``may_retry`` says whether asking again may help. Closing the generator ends
        the call at once. A reply without text and without a call is `ProviderEmpty` or `ProviderDeclined`, never a
        `Reply`.
        """
        ...

    async def models(self) -> tuple[str, ...]:
        """The names of the models that can be asked. Raises `ProviderError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
