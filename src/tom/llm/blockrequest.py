"""The messages dialect (Anthropic): the request that is sent.

Roles take turns, the person first and last; instructions stand apart, whatever their place in the prompt was; no text
may be empty; results come first in their message, one for each call of the reply before.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec

from tom.conversation.message import Message, Role
from tom.conversation.part import Image, Text, ToolCall, ToolResult
from tom.conversation.tool import ToolDefinition
from tom.llm.chatrequest import base64_of, seen, unseen
from tom.llm.order import GO_ON
from tom.llm.provider import ModelRequest
from tom.llm.schemas import object_schema

LONGEST_REPLY = 4096
"""Tokens of a reply where nobody says: the dialect wants a number."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN = ("tools", "tool_choice", "parallel_tool_calls", "messages", "model", "stream", "system")

type Echo = Callable[[str], list[dict[str, Any]] | None]
type Block = dict[str, Any]


def encode_messages(request: ModelRequest, fields: Mapping[str, Any], *, vision: bool, echo: Echo) -> bytes:
    """Render the body of ``POST /v1/messages``. ``fields`` never replace what Tom sets itself.

    ``echo`` gives the blocks of thinking that came with a reply, by the id of its first call.
    """
    body: dict[str, Any] = {name: value for name, value in fields.items() if name not in _OWN}
    thinks = "thinking" in body
    body["model"] = request.model
    body.setdefault("max_tokens", LONGEST_REPLY)
    instructions = [message.text for message in request.messages if message.role is Role.SYSTEM]
    system = [{"type": "text", "text": text} for text in instructions if text.strip()]
    if system:
        body["system"] = system
    body["messages"] = _turns(request.messages, vision=vision, echo=echo if thinks else None)
    body["stream"] = True
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _choice(fields.get("tool_choice"), request.tools)
        if fields.get("parallel_tool_calls") is False:
            body["tool_choice"]["disable_parallel_tool_use"] = True
    return msgspec.json.encode(body)


def may_think(messages: Iterable[Message], echo: Echo) -> bool:
    """Whether the model may think in this turn: between calls only when its earlier thinking can be sent back."""
    asked: Message | None = None
    for message in messages:
        if message.role is Role.USER:
            asked = None
        elif message.role is Role.ASSISTANT and message.calls:
            asked = message
    return asked is None or echo(asked.calls[0].id) is not None


def forces_tool(fields: Mapping[str, Any], tools: tuple[ToolDefinition, ...]) -> bool:
    """Whether a tool must be called, which excludes thinking."""
    return bool(tools) and _choice(fields.get("tool_choice"), tools)["type"] != "auto"


def _turns(messages: Iterable[Message], *, vision: bool, echo: Echo | None) -> list[dict[str, Any]]:
    """Person and model in turns: what follows each other from the same side is one message."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        match message.role:
            case Role.SYSTEM:
                continue
            case Role.ASSISTANT:
                role, blocks = "assistant", _said(message, echo)
            case Role.TOOL:
                role, blocks = "user", _results(message, vision=vision)
            case Role.USER:
                role, blocks = "user", _asked(message, vision=vision)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif not turns and role == "assistant":
            turns += [_go_on(), {"role": role, "content": blocks}]
        else:
            turns.append({"role": role, "content": blocks})
    if not turns or turns[-1]["role"] == "assistant":
        turns.append(_go_on())
    return turns


def _go_on() -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": GO_ON}]}


def _asked(message: Message, *, vision: bool) -> list[Block]:
    blocks: list[Block] = []
    for part in message.parts:
        match part:
            case Text(text) if text.strip():
                blocks.append({"type": "text", "text": text})
            case Image():
                blocks.append(_picture(part, vision=vision))
            case _:
                pass
    return blocks or [{"type": "text", "text": "(Nothing.)"}]


def _said(message: Message, echo: Echo | None) -> list[Block]:
    blocks: list[Block] = []
    if message.calls and echo is not None:
        blocks += echo(message.calls[0].id) or []
    if message.text.strip():
        blocks.append({"type": "text", "text": message.text})
    return blocks + [_call(call) for call in message.calls]


def _results(message: Message, *, vision: bool) -> list[Block]:
    pictures = [_picture(image, vision=vision) for image in message.images]
    return [_result(result, pictures) for result in message.results]


def _result(result: ToolResult, pictures: list[Block]) -> Block:
    content: str | list[Block] = result.content or "(Nothing.)"
    if pictures:
        content = [{"type": "text", "text": content}, *pictures]
    block: Block = {"type": "tool_result", "tool_use_id": _call_id(result.call_id), "content": content}
    return {**block, "is_error": True} if result.is_error else block


def _picture(image: Image, *, vision: bool) -> Block:
    if not seen(image, vision=vision):
        return {"type": "text", "text": unseen(image)}
    source = {"type": "base64", "media_type": image.media_type, "data": base64_of(image)}
    return {"type": "image", "source": source}


def _call(call: ToolCall) -> Block:
    return {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": _input(call.arguments)}


def _input(text: str) -> Any:
    try:
        given: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        given = None
    return cast("dict[str, Any]", given) if isinstance(given, dict) else {"invalid_arguments": text}


def _call_id(call_id: str) -> str:
    return call_id if _ID.fullmatch(call_id) else f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:24]}"


def _choice(wish: Any, tools: tuple[ToolDefinition, ...]) -> dict[str, Any]:
    if wish == "required":
        return {"type": "any"}
    if any(tool.name == wish for tool in tools):
        return {"type": "tool", "name": wish}
    return {"type": "auto"}


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": object_schema(tool.parameters)}
