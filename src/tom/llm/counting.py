"""Tokens counted by Tom where a provider does not say."""

from collections.abc import Iterable

import msgspec

from tom.conversation.event import MESSAGE_OVERHEAD
from tom.conversation.message import Message
from tom.conversation.part import Image, Text, Thinking, ToolCall
from tom.conversation.usage import Usage, estimate_tokens
from tom.llm.provider import ModelRequest

IMAGE_TOKENS = 765
"""What a picture of ordinary size costs with most providers."""


def estimate_usage(request: ModelRequest, reply: str) -> Usage:
    """Count what was asked and ``reply``, everything the model wrote."""
    prompt = sum(message.tokens or _count(message) for message in request.messages)
    if request.tools:
        offered = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
        prompt += estimate_tokens(msgspec.json.encode(offered).decode())
    return Usage(prompt, estimate_tokens(reply), estimated=True)


def _count(message: Message) -> int:
    return MESSAGE_OVERHEAD + sum(_part_counts(message))


def _part_counts(message: Message) -> Iterable[int]:
    for part in message.parts:
        match part:
            case Text(text) | Thinking(text):
                yield estimate_tokens(text)
            case Image():
                yield IMAGE_TOKENS
            case ToolCall(name=name, arguments=arguments):
                yield estimate_tokens(name + arguments)
            case _:
                yield estimate_tokens(part.content)
