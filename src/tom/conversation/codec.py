"""Events as rows and as JSON.

The row is the table's: JSON columns as text, null where there is nothing. A version stands in ``extra.v`` once an
event's shape has changed (absent means 1); `UPCASTS` lifts an older shape to today's when it is read, so nothing
else ever sees an old one.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tom.conversation.event import Event
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage

COLUMNS = (
    "id", "conversation_id", "seq", "timestamp", "type", "role", "content",
    "tool_calls", "tool_call_id", "model", "usage", "extra", "token_count", "request_id",
)  # fmt: skip
"""The columns of ``chat_events``, in order; a row is a tuple in this order."""

type Row = tuple[Any, ...]
type Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: Mapping[tuple[str, int], Upcast] = {}
"""(event type, version) -> a function from that version's JSON object to the next version's."""


class CodecError(ValueError):
    """A stored event cannot be read."""


def encode_row(event: Event) -> Row:
    """Render as a row of ``chat_events``."""
    return (
        event.id,
        event.conversation_id,
        event.seq,
        event.timestamp,
        str(event.type),
        event.role,
        event.content,
        _dump([_call_json(call) for call in event.tool_calls]) if event.tool_calls else None,
        event.tool_call_id,
        event.model,
        _dump(event.usage.as_json()) if event.usage is not None else None,
        _dump(event.extra) if event.extra else None,
        event.token_count,
        event.request_id,
    )


def decode_row(row: Row, upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS) -> Event:
    """Read a row. Raises `CodecError` when it is not one that Tom wrote."""
    try:
        *plain, extra, token_count, request_id = row
        calls, usage = plain[7], plain[10]
        plain[7] = _load(calls) if calls is not None else None
        plain[10] = _load(usage) if usage is not None else None
        values: tuple[Any, ...] = (*plain, _load(extra) if extra is not None else None, token_count, request_id)
        if not upcasts:
            return _build(*values)
        value: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        message = f"a stored event cannot be read: {error!r}"
        raise CodecError(message) from error
    return from_json(value, upcasts)


def to_json(event: Event) -> dict[str, Any]:
    """The event JSON of the chat door: the columns, JSON columns decoded, nulls kept."""
    return {
        "id": event.id,
        "conversation_id": event.conversation_id,
        "seq": event.seq,
        "timestamp": event.timestamp,
        "type": str(event.type),
        "role": event.role,
        "content": event.content,
        "tool_calls": [_call_json(call) for call in event.tool_calls] or None,
        "tool_call_id": event.tool_call_id,
        "model": event.model,
        "usage": event.usage.as_json() if event.usage is not None else None,
        "extra": dict(event.extra) or None,
        "token_count": event.token_count,
        "request_id": event.request_id,
    }


def from_json(value: Mapping[str, Any], upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS) -> Event:
    """Read what `to_json` rendered. Raises `CodecError`."""
    current = dict(value)
    extra: Mapping[str, Any] = current.get("extra") or {}
    version: int = extra.get("v", 1)
    while (lift := upcasts.get((current.get("type", ""), version))) is not None:
        current = lift(current)
        version += 1
    try:
        return _build(*(current[column] for column in COLUMNS))
    except (KeyError, TypeError, AttributeError) as error:
        message = f"a stored event cannot be read: {error!r}"
        raise CodecError(message) from error


def _build(
    event_id: str,
    conversation_id: str,
    seq: int,
    timestamp: str,
    event_type: str,
    role: str | None,
    content: str | None,
    tool_calls: Any,
    tool_call_id: str | None,
    model: str | None,
    usage: Any,
    extra: Any,
    token_count: int | None,
    request_id: str | None,
) -> Event:
    """An event from the values of its columns, JSON decoded."""
    return Event(
        id=event_id,
        conversation_id=conversation_id,
        seq=seq,
        timestamp=timestamp,
        type=event_type,
        role=role,
        content=content,
        tool_calls=tuple(
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in tool_calls
        )
        if tool_calls
        else (),
        tool_call_id=tool_call_id,
        model=model,
        usage=Usage.from_json(usage) if usage else None,
        extra=extra or {},
        token_count=token_count or 0,
        request_id=request_id,
    )


def _call_json(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""One encoder for all: making one costs more than most values."""

_load = json.JSONDecoder().decode
