"""The messages dialect (Anthropic): the shapes that come back. What is sent stands in `blockrequest.py`.

One loose shape stands for all events of a stream and for a whole answer; fields that Tom does not read cost nothing.
"""

from typing import Any

import msgspec


class BlockPiece(msgspec.Struct, gc=False):
    """A content block, or what a delta adds to one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    partial_json: str | None = None
    stop_reason: str | None = None


class BlockCount(msgspec.Struct, gc=False):
    """Tokens used; what was written to or read from the vendor's cache is counted apart there."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class BlockMessage(msgspec.Struct, gc=False):
    """The ``message`` of a ``message_start``."""

    model: str | None = None
    usage: BlockCount | None = None


class BlockEvent(msgspec.Struct, gc=False):
    """One event of a stream, or a whole answer (``type`` message)."""

    type: str = ""
    index: int | None = None
    message: BlockMessage | None = None
    content_block: BlockPiece | None = None
    delta: BlockPiece | None = None
    usage: BlockCount | None = None
    error: Any = None
    content: list[BlockPiece] | None = None
    stop_reason: str | None = None
    model: str | None = None


decode_event = msgspec.json.Decoder(BlockEvent, strict=False).decode
