"""The server frames of the chat door, one function each; documented keys first.

Every function returns the JSON text of one frame.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tom.agent.feed import Delta, Progressed, Restarted, ToolsAnnounced
from tom.conversation import codec
from tom.conversation.event import Event, EventType
from tom.conversation.usage import Usage
from tom.errors import TomError

_encode = msgspec.json.Encoder().encode


def render(value: Mapping[str, Any]) -> str:
    """Encode one frame."""
    return _encode(value).decode()


def accepted(
    request_id: str, *, conversation_id: str, run_id: str, seq: int, durable: bool, queued: int
) -> dict[str, Any]:
    """The message is on disk; ``queued`` runs are ahead of it."""
    return {
        "request_id": request_id,
        "status": "accepted",
        "conversation_id": conversation_id,
        "run_id": run_id,
        "seq": seq,
        "durable": durable,
        "queued": queued,
    }


def processing(
    request_id: str | None, conversation_id: str, run_id: str, chunk: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The run starts, or ``chunk`` says what it is doing."""
    return {
        "request_id": request_id,
        "status": "processing",
        "chunk": chunk or {"metadata": {"processing": True}},
        "conversation_id": conversation_id,
        "run_id": run_id,
    }


def tools_announced(item: ToolsAnnounced) -> dict[str, Any]:
    """Tools are about to be called."""
    count = len(item.tools)
    chunk = {
        "type": "tool_execution",
        "data": f"Executing {count} tool(s)...",
        "metadata": {"tool_count": count, "hop": item.turn, "tools": list(item.tools)},
    }
    return processing(item.request_id, item.conversation_id, item.run_id, chunk)


def progressed(item: Progressed) -> dict[str, Any]:
    """A tool call is on its way; ``data`` is the service's own sentence."""
    chunk = {
        "type": "tool_progress",
        "data": item.message,
        "metadata": {
            "hop": item.turn,
            "tool": f"{item.service}.{item.tool}",
            "call_id": item.call_id,
            "done": item.done,
            "total": item.total,
        },
    }
    return processing(item.request_id, item.conversation_id, item.run_id, chunk)


def waiting(request_id: str | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The run waits for its person; ``asked`` is the object of the approval or elicitation (`asks.ask_object`)."""
    kind = "approval" if "approval_id" in asked else "elicitation"
    chunk = {"type": "waiting", "data": kind, "metadata": asked}
    return processing(request_id, asked["conversation_id"], asked["run_id"], chunk)


def restarted(item: Restarted) -> dict[str, Any]:
    """The text of this turn is withdrawn and begins again."""
    chunk = {"type": "attempt", "data": "restarted", "metadata": {"attempt": item.attempt, "discard": True}}
    return processing(item.request_id, item.conversation_id, item.run_id, chunk) | {"turn": item.turn}


def chunk(item: Delta, *, replay: bool = False) -> dict[str, Any]:
    """A fragment of a reply."""
    frame: dict[str, Any] = {
        "request_id": item.request_id,
        "status": "chunk",
        "chunk": {"type": item.kind, "data": item.text, "metadata": {"type": "delta", "hop": item.turn}},
        "conversation_id": item.conversation_id,
        "run_id": item.run_id,
        "turn": item.turn,
        "attempt": item.attempt,
        "offset": item.offset,
    }
    return frame | {"replay": True} if replay else frame


def whole_text(request_id: str | None, reply: Event, *, replay: bool = False) -> dict[str, Any]:
    """A stored reply as one fragment; ``replay``: in place of what was shown of it."""
    return chunk(
        Delta(
            reply.conversation_id,
            reply.run_id,
            request_id,
            reply.turn,
            reply.extra.get("attempt", 1),
            0,
            reply.content or "",
        ),
        replay=replay,
    )


def ended(request_id: str | None, event: Event, *, cached: bool = False) -> dict[str, Any]:
    """The frame for a stored end of a run: ``complete``, or ``error`` when it failed."""
    if event.type == EventType.RUN_FAILED:
        details: dict[str, Any] = {"cached": True} if cached else {}
        return failed(request_id, event.extra["code"], event.extra["reason"], details) | {
            "conversation_id": event.conversation_id,
            "run_id": event.run_id,
            "seq": event.seq,
        }
    usage = event.usage or Usage()
    cancelled = event.type == EventType.RUN_CANCELLED
    metadata = {
        "tokens": usage.total_tokens,
        "usage": usage.as_json(),
        "finish_reason": "cancelled" if cancelled else event.extra["finish_reason"],
        "cached": cached,
        "hops": event.extra.get("hops", 0),
    }
    return {
        "request_id": request_id,
        "status": "complete",
        "metadata": metadata,
        "chunk": {},
        "conversation_id": event.conversation_id,
        "run_id": event.run_id,
        "seq": event.seq,
    }


def done(request_id: str, result: str, *, conversation_id: str | None = None, **metadata: Any) -> dict[str, Any]:
    """An action other than `chat` was carried out."""
    frame: dict[str, Any] = {
        "request_id": request_id,
        "status": "complete",
        "metadata": {"tokens": 0, "result": result} | metadata,
        "chunk": {},
    }
    return frame | {"conversation_id": conversation_id} if conversation_id else frame


def cleared(request_id: str, *, new: str | None, old: str | None, wiped: bool) -> dict[str, Any]:
    """`clear` and `new` were carried out."""
    metadata = {"new_conversation_id": new, "old_conversation_id": old, "full_wipe_occurred": wiped}
    return {
        "request_id": request_id,
        "status": "complete",
        "chunk": {"type": "session_cleared", "metadata": metadata},
        "metadata": {"tokens": 0},
    }


def failed(request_id: str | None, code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Anything refused or failed."""
    return {
        "request_id": request_id or "unknown",
        "status": "error",
        "chunk": {"error": message},
        "error": {"code": code, "message": message, "details": details},
    }


def refused(request_id: str | None, error: TomError) -> dict[str, Any]:
    """An error of ours in this door's dialect."""
    return failed(request_id, error.code, error.message, error.details)


def event(stored: Event, request_id: str | None) -> dict[str, Any]:
    """A stored event, for those who asked for events."""
    return {
        "request_id": request_id,
        "status": "event",
        "conversation_id": stored.conversation_id,
        "seq": stored.seq,
        "event": codec.to_json(stored),
    }


def retired(conversation_id: str, first_seq: int) -> dict[str, Any]:
    """Events before ``first_seq`` are no longer kept."""
    return {
        "request_id": None,
        "status": "event",
        "conversation_id": conversation_id,
        "event": {"type": "history.retired", "extra": {"first_seq": first_seq}},
    }


def pong(request_id: str, time: str) -> dict[str, Any]:
    """Alive."""
    return {"request_id": request_id, "status": "pong", "chunk": {}, "time": time}
