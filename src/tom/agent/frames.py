"""The server frames of the chat door, one function each; documented keys first.

Every function returns the JSON text of one frame.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tom.agent.calls import masked, parse_arguments
from tom.agent.feed import Delta, Progressed, Restarted, ToolsAnnounced
from tom.agent.recorded import details_of
from tom.agent.shown import event_json
from tom.config.agent import ToolNotices
from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage
from tom.errors import TomError

BESIDES = ("warnings", "text_tts", "new_conversation_id", "dropped_options")
"""What the end of a run tells of its answer, where there is any of it."""

_PLAIN: Mapping[str, frozenset[str]] = {
    "chunk": frozenset({"type", "data", "metadata"}),
    "complete": frozenset({"tokens", "usage", "finish_reason", "cached", "hops", "result"}),
    "error": frozenset({"error"}),
}
"""Status -> what is inside ``chunk``, or of ``complete`` inside ``metadata``."""

_encode = msgspec.json.Encoder().encode


def render(value: Mapping[str, Any]) -> str:
    """Encode one frame."""
    return _encode(value).decode()


def plain(frame: Mapping[str, Any]) -> dict[str, Any] | None:
    """The frame for a client that knows the documented ones and their documented keys only; None: not for it."""
    status = frame["status"]
    if status not in _PLAIN:
        return None
    shown = {name: frame[name] for name in ("request_id", "status", "metadata", "chunk") if name in frame}
    inside = "metadata" if status == "complete" else "chunk"
    return shown | {inside: {name: value for name, value in shown[inside].items() if name in _PLAIN[status]}}


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


def tools_announced(item: ToolsAnnounced, notices: ToolNotices, calls: tuple[ToolCall, ...] = ()) -> dict[str, Any]:
    """Tools are about to be called; ``calls`` are those of their reply, whose arguments are shown where it is wished."""
    count = len(item.tools)
    metadata: dict[str, Any] = {"tool_count": count, "hop": item.turn, "tools": list(item.tools)}
    metadata["lines"] = [_line(notices, name) for name in item.tools]
    if notices.show_args and len(calls) == count:
        metadata["arguments"] = [_shown(call) for call in calls]
    chunk = {"type": "tool_execution", "data": f"Executing {count} tool(s)...", "metadata": metadata}
    return processing(item.request_id, item.conversation_id, item.run_id, chunk)


def _line(notices: ToolNotices, tool: str) -> str:
    return notices.format.replace("{icon}", notices.icon).replace("{tool_name}", tool)


def _shown(call: ToolCall) -> dict[str, Any]:
    try:
        return masked(parse_arguments(call.arguments))
    except ValueError:
        return {}


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


def ended(
    request_id: str | None, event: Event, *, failure: Event | None = None, cached: bool = False
) -> dict[str, Any]:
    """The frame for a stored end of a run: ``complete``, or ``error`` when it failed.

    ``failure`` is the run's last `model.failed`.
    """
    if event.type == EventType.RUN_FAILED:
        details = details_of(event, failure, cached=cached)
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
    metadata |= {name: event.extra[name] for name in BESIDES if name in event.extra}
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


def event(stored: Event, request_id: str | None, *, visitor: bool = False) -> dict[str, Any]:
    """A stored event, for those who asked for events; a ``visitor`` is not told which model spoke."""
    return {
        "request_id": request_id,
        "status": "event",
        "conversation_id": stored.conversation_id,
        "seq": stored.seq,
        "event": event_json(stored, visitor=visitor),
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
