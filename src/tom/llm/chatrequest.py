"""The chat-completions dialect: the request that is sent."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tom.conversation.message import Message, Role
from tom.conversation.part import Image, Text, ToolCall
from tom.conversation.tool import ToolDefinition
from tom.llm.chatwire import is_whole
from tom.llm.dialects import Dialect
from tom.llm.order import in_turns
from tom.llm.provider import ModelRequest
from tom.llm.schemas import has_choices, object_schema

_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")
_OWN = ("tools", "tool_choice", "parallel_tool_calls", "stream_options")

_REMEMBERED = 4096
_renderings: dict[tuple[int, bool], tuple[ToolDefinition, msgspec.Raw]] = {}
"""What is sent of each known definition, by identity (kept with it, so that no other takes its place) and dialect."""

type Echo = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Manner:
    """How one request is put: the provider's ``dialect``, whether pictures are sent, and what it wants back."""

    dialect: Dialect
    vision: bool = True
    echo: Echo = lambda call_id: None  # noqa: ARG005


def encode_request(request: ModelRequest, options: Mapping[str, Any], manner: Manner) -> bytes:
    """Render the body of ``POST /chat/completions``. ``options`` never replace what Tom sets itself."""
    dialect = manner.dialect
    body = {name: value for name, value in options.items() if name not in _OWN}
    if dialect.renames_max_tokens and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    messages = in_turns(request.messages) if dialect.strict_order else request.messages
    body["model"] = request.model
    body["messages"] = list(_all(messages, manner))
    body["stream"] = True
    if dialect.asks_for_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_rendered(tool, dialect) for tool in request.tools]
        body["tool_choice"] = _choice(options.get("tool_choice"), request.tools)
        if "parallel_tool_calls" in options:
            body["parallel_tool_calls"] = options["parallel_tool_calls"]
    return msgspec.json.encode(body)


def seen(image: Image, *, vision: bool) -> bool:
    """Whether a picture is sent as one."""
    return vision and bool(image.data)


def unseen(image: Image) -> str:
    """What a model that cannot see a picture gets to read."""
    return f"[Image: {image.media_type}, {len(image.data)} bytes]" if image.data else f"[Image: {image.media_type}]"


def base64_of(image: Image) -> str:
    """The picture's bytes as text."""
    return base64.b64encode(image.data).decode()


def _all(messages: Iterable[Message], manner: Manner) -> Iterator[dict[str, Any]]:
    """All messages; pictures of results follow the last result of their turn, since a result is text here."""
    pictures: list[Image] = []
    for message in messages:
        if message.role is not Role.TOOL and pictures:
            yield _shown(pictures)
            pictures = []
        yield from _messages(message, manner)
        if message.role is Role.TOOL:
            pictures += [image for image in message.images if seen(image, vision=manner.vision)]
    if pictures:
        yield _shown(pictures)


def _messages(message: Message, manner: Manner) -> Iterator[dict[str, Any]]:
    if len(message.parts) == 1 and isinstance(only := message.parts[0], Text):  # as almost all of a long prompt
        yield {"role": message.role.value, "content": only.text}
        return
    match message.role:
        case Role.TOOL:
            dialect = manner.dialect
            blind = "".join(f"\n{unseen(image)}" for image in message.images if not seen(image, vision=manner.vision))
            for result in message.results:
                content = result.content + blind
                yield {"role": "tool", "tool_call_id": _call_id(result.call_id, dialect), "content": content}
        case Role.ASSISTANT:
            yield _said(message, manner)
        case _:
            yield {"role": message.role.value, "content": _content(message, manner)}


def _said(message: Message, manner: Manner) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": "assistant", "content": message.text}
    if not message.calls:
        return wire
    dialect = manner.dialect
    wire["content"] = message.text or None
    wire["tool_calls"] = [_call(call, dialect) for call in message.calls]
    echo = manner.echo(message.calls[0].id)
    if dialect.echoes_thinking:
        wire["reasoning_content"] = echo or ""
    elif echo is not None:
        wire["tool_calls"][0]["extra_content"] = echo
    return wire


def _content(message: Message, manner: Manner) -> str | list[dict[str, Any]]:
    """Plain text where there is only text: some servers do not know lists."""
    if not any(seen(image, vision=manner.vision) for image in message.images):
        return message.text + "".join(f"\n{unseen(image)}" for image in message.images)
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case Text(text) if text:
                parts.append({"type": "text", "text": text})
            case Image():
                sent = seen(part, vision=manner.vision)
                parts.append(_picture(part) if sent else {"type": "text", "text": unseen(part)})
            case _:
                pass
    return parts


def _shown(pictures: list[Image]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "[Pictures that the tools returned]"}]
    return {"role": "user", "content": parts + [_picture(image) for image in pictures]}


def _picture(image: Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{base64_of(image)}"}}


def _call(call: ToolCall, dialect: Dialect) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _arguments(call.arguments)}
    return {"id": _call_id(call.id, dialect), "type": "function", "function": function}


def _arguments(text: str) -> str:
    """The arguments as the model wrote them; servers that parse them refuse the request for what is no JSON object."""
    return text if is_whole(text) else msgspec.json.encode({"invalid_arguments": text}).decode()


def _call_id(call_id: str, dialect: Dialect) -> str:
    if dialect.short_call_ids and not _MISTRAL_ID.fullmatch(call_id):
        return hashlib.sha256(call_id.encode()).hexdigest()[:9]
    return call_id


def _choice(wish: Any, tools: tuple[ToolDefinition, ...]) -> str | dict[str, Any]:
    """Which tool the model is to call: as it likes, any, or the one named."""
    if wish == "required":
        return "required"
    if any(tool.name == wish for tool in tools):
        return {"type": "function", "function": {"name": wish}}
    return "auto"


def _rendered(tool: ToolDefinition, dialect: Dialect) -> msgspec.Raw:
    """The tool as it is sent, rendered once: a hundred schemas take longer than the rest of a question."""
    place = (id(tool), dialect.empty_parameters)
    known = _renderings.get(place)
    if known is not None and known[0] is tool:
        return known[1]
    rendering = msgspec.Raw(msgspec.json.encode(_tool(tool, dialect)))
    if len(_renderings) >= _REMEMBERED:
        _renderings.clear()
    _renderings[place] = (tool, rendering)
    return rendering


def _tool(tool: ToolDefinition, dialect: Dialect) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description}
    schema = object_schema(tool.parameters) if has_choices(tool.parameters) else tool.parameters
    if schema.get("properties"):
        function["parameters"] = schema
    elif dialect.empty_parameters:
        function["parameters"] = {**schema, "type": "object", "properties": {}}
    return {"type": "function", "function": function}
