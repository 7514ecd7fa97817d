"""The body that a finished run gives on `/process`."""

import re
from typing import Any

from tom.agent.cell import Cell
from tom.conversation.event import Event, EventType
from tom.conversation.usage import NOTHING
from tom.errors import ProviderBadAnswer, ProviderEmpty, ProviderError, ProviderTooLarge
from tom.store.eventstore import RunRow

PROVIDER_CODES = frozenset(error.code for error in (ProviderError, ProviderBadAnswer, ProviderEmpty, ProviderTooLarge))
SPOKEN_LENGTH = 200

_MARKUP = re.compile(r"```.*?```|`|\*\*|__|^#+\s*|^\s*[-*+]\s+|^\s*>\s?|\[open:[^\]]*\]", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_URL = re.compile(r"https?://\S+")


async def process_body(cell: Cell, run: RunRow, *, sound: bool = False) -> dict[str, Any]:
    """Render the run that has ended; ``sound`` adds the text to be spoken."""
    events = await cell.conversations.events_of(run)
    end = events[-1]
    body: dict[str, Any] = {
        "status": "OK" if end.type == EventType.RUN_COMPLETED else "ERROR",
        "run_id": run.id,
        "request_id": run.request_id,
        "conversation_id": run.conversation_id,
    }
    selected = _selected(events)
    if end.type == EventType.RUN_COMPLETED:
        return body | _answered(cell, events, end, selected, sound=sound)
    reason: str = end.extra.get("reason", "")
    if end.type == EventType.RUN_CANCELLED:
        return body | {"message": "The request was cancelled", "selected_modules": selected}
    if end.extra["code"] in PROVIDER_CODES:
        reason = f"The language model is unavailable: {reason}"
    return body | {"message": reason, "selected_modules": selected}


def _answered(cell: Cell, events: tuple[Event, ...], end: Event, selected: list[str], *, sound: bool) -> dict[str, Any]:
    replies = [event for event in events if event.type == EventType.MODEL_REPLIED]
    text = replies[-1].content or ""
    started = next(event for event in events if event.type == EventType.RUN_STARTED)
    body: dict[str, Any] = {
        "response": text,
        "selected_modules": selected,
        "iterations": end.extra["hops"],
        "level": started.extra["level"],
        "model": replies[-1].model,
        "usage": _usage(end),
    }
    if sound:
        body |= {"text_display": text, "text_tts": spoken(text)}
    if end.extra["finish_reason"] == "tool_limit_reached":
        body["warning"] = f"Tool execution reached maximum iterations ({cell.settings.chat.max_tool_hops})"
    unresolved = [event for event in events if event.type == EventType.TOOL_UNRESOLVED]
    if unresolved:
        body["unknown_outcomes"] = [_unknown(event, events) for event in unresolved]
    return body | _warnings(cell, selected)


def _selected(events: tuple[Event, ...]) -> list[str]:
    for event in events:
        if event.type == EventType.RUN_STARTED:
            return event.extra["services"]
    return []


def _usage(end: Event) -> dict[str, int]:
    usage = end.usage or NOTHING
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _unknown(event: Event, events: tuple[Event, ...]) -> dict[str, str]:
    called = next(
        (
            earlier.timestamp
            for earlier in events
            if earlier.type == EventType.TOOL_CALLED and earlier.tool_call_id == event.tool_call_id
        ),
        event.timestamp,
    )
    return {"service": event.extra["service"], "tool": event.extra["tool"], "called_at": called}


def _warnings(cell: Cell, selected: list[str]) -> dict[str, Any]:
    """What the person should know about services that could not be reached."""
    failing = [status for status in cell.toolbox.status() if status.name in selected and status.status == "error"]
    if not failing:
        return {}
    if len(failing) == len(selected):
        return {"warning": "Selected services unavailable, used general knowledge"}
    return {"warnings": [{"service": status.name, "message": status.error or ""} for status in failing]}


def spoken(text: str) -> str:
    """The answer without markup and addresses, cut at a word after at most 200 characters."""
    plain = " ".join(_URL.sub("", _LINK.sub(r"\1", _MARKUP.sub("", text))).split())
    if len(plain) <= SPOKEN_LENGTH:
        return plain
    cut = plain[:SPOKEN_LENGTH].rpartition(" ")[0] or plain[:SPOKEN_LENGTH]
    return cut + "…"
