"""The chat-completions dialect: the request that is sent, and the shapes that come back.

The shapes are looser than OpenAI documents, since every field below has been seen null, missing or of another type
somewhere. Fields that Tom does not read are not declared and cost nothing.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tom.conversation.message import Message, Role
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolDefinition
from tom.llm.provider import ModelRequest

# --- what comes back ---------------------------------------------------------------------------------------------


class FunctionPiece(msgspec.Struct, gc=False):
    """Name and arguments of a call, or a fragment of them. ``arguments`` is text; some send an object."""

    name: str | None = None
    arguments: Any = None


class CallPiece(msgspec.Struct, gc=False):
    """A tool call, or a fragment of one."""

    index: int | None = None
    id: str | int | None = None
    function: FunctionPiece | None = None


class Said(msgspec.Struct, gc=False):
    """A ``delta`` of a stream, or the ``message`` of a whole answer."""

    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[CallPiece] | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers; Tom asks for one."""

    index: int | None = None
    delta: Said | None = None
    message: Said | None = None
    finish_reason: str | None = None


class Count(msgspec.Struct, gc=False):
    """Tokens used."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class GroqExtra(msgspec.Struct, gc=False):
    """Where Groq keeps its usage."""

    usage: Count | None = None


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream, or a whole answer."""

    choices: list[Choice] | None = None
    usage: Count | None = None
    model: str | None = None
    error: Any = None
    x_groq: GroqExtra | None = None


class ModelName(msgspec.Struct, gc=False):
    """One entry of the model list."""

    id: str


class ModelList(msgspec.Struct, gc=False):
    """``GET /models``."""

    data: list[ModelName]


decode_chunk = msgspec.json.Decoder(Chunk, strict=False).decode
_decode_list = msgspec.json.Decoder(ModelList).decode
_decode_bare_list = msgspec.json.Decoder(list[ModelName]).decode


def decode_models(body: bytes) -> list[ModelName]:
    """Read a model list: OpenAI's object, or the bare list that some servers answer. Raises `msgspec.DecodeError`."""
    return _decode_bare_list(body) if body.lstrip().startswith(b"[") else _decode_list(body).data


# --- what is sent ------------------------------------------------------------------------------------------------

_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")


class Dialect(msgspec.Struct, frozen=True):
    """How a provider differs from the documented dialect."""

    asks_for_usage: bool = True
    short_call_ids: bool = False
    empty_parameters: bool = True
    renames_max_tokens: bool = False


def dialect_of(provider: str, base_url: str) -> Dialect:
    """What is known about a provider, by its name.

    Mistral refuses ``stream_options`` and takes ids of nine letters only; Gemini refuses a schema without properties;
    OpenAI's own newer models refuse ``max_tokens``, and all of them take ``max_completion_tokens``.
    """
    match provider:
        case "mistral":
            return Dialect(asks_for_usage=False, short_call_ids=True)
        case "gemini":
            return Dialect(empty_parameters=False)
        case "openai" if "//api.openai.com" in base_url:
            return Dialect(renames_max_tokens=True)
        case _:
            return Dialect()


def encode_request(request: ModelRequest, options: Mapping[str, Any], dialect: Dialect) -> bytes:
    """Render the body of ``POST /chat/completions``. ``options`` never replace what Tom sets itself."""
    body: dict[str, Any] = {**options, **request.options}
    if dialect.renames_max_tokens and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    for own in ("tools", "tool_choice", "parallel_tool_calls", "stream_options"):
        body.pop(own, None)
    body["model"] = request.model
    body["messages"] = [wire for message in request.messages for wire in _messages(message, dialect)]
    body["stream"] = True
    if dialect.asks_for_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool, dialect) for tool in request.tools]
        body["tool_choice"] = "auto"
    return msgspec.json.encode(body)


def _messages(message: Message, dialect: Dialect) -> Iterator[dict[str, Any]]:
    match message.role:
        case Role.TOOL:
            for result in message.results:
                yield {"role": "tool", "tool_call_id": _call_id(result.call_id, dialect), "content": result.content}
        case Role.ASSISTANT:
            wire: dict[str, Any] = {"role": "assistant", "content": message.text}
            if message.calls:
                wire["content"] = message.text or None
                wire["tool_calls"] = [_call(call, dialect) for call in message.calls]
            yield wire
        case _:
            yield {"role": message.role.value, "content": _content(message)}


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Plain text where there is only text: some servers do not know lists."""
    if not message.images:
        return message.text
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
    for image in message.images:
        url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _call(call: ToolCall, dialect: Dialect) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _arguments(call.arguments)}
    return {"id": _call_id(call.id, dialect), "type": "function", "function": function}


def _arguments(text: str) -> str:
    """The arguments as the model wrote them; servers that parse them refuse the request for what is no JSON object."""
    return text if is_whole(text) else msgspec.json.encode({"invalid_arguments": text}).decode()


def is_whole(text: str) -> bool:
    """Whether ``text`` is one complete JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeError):
        return False


def _call_id(call_id: str, dialect: Dialect) -> str:
    if dialect.short_call_ids and not _MISTRAL_ID.fullmatch(call_id):
        return hashlib.sha256(call_id.encode()).hexdigest()[:9]
    return call_id


def _tool(tool: ToolDefinition, dialect: Dialect) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters.get("properties"):
        function["parameters"] = tool.parameters
    elif dialect.empty_parameters:
        function["parameters"] = {**tool.parameters, "type": "object", "properties": {}}
    return {"type": "function", "function": function}
