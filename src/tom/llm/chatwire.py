"""The chat-completions dialect: the shapes that come back. What is sent stands in `chatrequest.py`.

The shapes are looser than OpenAI documents, since every field below has been seen null, missing or of another type
somewhere. Fields that Tom does not read are not declared and cost nothing.
"""

from typing import Any

import msgspec

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
    extra_content: Any = None


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


def is_whole(text: str) -> bool:
    """Whether ``text`` is one complete JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeError):
        return False
