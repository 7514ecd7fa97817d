"""The body that a finished run gives on `/process`."""

import json
from collections.abc import Mapping
from typing import Any

from tom.agent.asks import ask_object
from tom.agent.cell import Cell
from tom.agent.speech import plain
from tom.conversation.event import Event, EventType
from tom.conversation.run import RunState, fold_run
from tom.conversation.usage import NOTHING
from tom.errors import (
    ProviderBadAnswer,
    ProviderDeclined,
    ProviderEmpty,
    ProviderError,
    ProviderTooLarge,
    QuotaExceeded,
)
from tom.llm.levels import UNCONFIGURED
from tom.store.eventstore import RunRow

PROVIDER_CODES = frozenset(error.code for error in (ProviderError, ProviderBadAnswer, ProviderEmpty, ProviderTooLarge))
SUMMARY_LENGTH = 200
DAY = 86_400
DAILY = "user."
"""The names of a person's limits, which begin anew every day; those of a run are others."""


CUT = "The answer was cut off at the length limit"


async def process_body(cell: Cell, run: RunRow, *, sound: bool | None = None) -> dict[str, Any]:
    """Render the run that has ended or waits; ``sound`` adds the text to be spoken, None: where its message wished so."""
    events = await cell.conversations.events_of(run)
    if run.state is RunState.WAITING:
        return _waiting(cell, run, events)
    end = events[-1]
    done = end.type == EventType.RUN_COMPLETED and not _stood_in(events, end)
    body: dict[str, Any] = {
        "status": "OK" if done else "ERROR",
        "run_id": run.id,
        "request_id": run.request_id,
        "conversation_id": run.conversation_id,
    }
    selected = _selected(events)
    if done:
        if sound is None:
            sound = "text_tts" in end.extra or bool(events[0].extra.get("options", {}).get("sound"))
        return body | _answered(cell, events, end, selected, sound=sound)
    return body | _unanswered(cell, events, end, selected)


def _stood_in(events: tuple[Event, ...], end: Event) -> bool:
    """Whether the bound of turns was reached and no model wrote the answer."""
    limited = end.extra.get("finish_reason") == "tool_limit_reached"
    return limited and not next(event.model for event in reversed(events) if event.type == EventType.MODEL_REPLIED)


def _limited(cell: Cell) -> str:
    return f"Tool execution reached maximum iterations ({cell.settings.chat.max_tool_hops})"


def _unanswered(cell: Cell, events: tuple[Event, ...], end: Event, selected: list[str]) -> dict[str, Any]:
    reason: str = end.extra.get("reason", "")
    if end.type == EventType.RUN_COMPLETED:
        return {"message": _limited(cell), "selected_modules": selected, "iterations": _iterations(cell, end)}
    if end.type == EventType.RUN_CANCELLED:
        return {"message": "The request was cancelled", "selected_modules": selected}
    code: str = end.extra["code"]
    if code == QuotaExceeded.code and str(end.extra.get("limit", DAILY)).startswith(DAILY):
        left = DAY - int(cell.clock.now().timestamp()) % DAY
        return {"message": "Your daily limit is reached", "retry_after": left, "selected_modules": selected}
    if code == ProviderError.code and cell.models.name == UNCONFIGURED:
        return {"message": "No LLM is configured. Ask your administrator.", "selected_modules": selected}
    failed = [event.extra["code"] for event in events if event.type == EventType.MODEL_FAILED]
    if code in PROVIDER_CODES and failed[-1:] != [ProviderDeclined.code]:
        reason = f"The language model is unavailable: {reason}"
    return {"message": reason, "selected_modules": selected}


def _waiting(cell: Cell, run: RunRow, events: tuple[Event, ...]) -> dict[str, Any]:
    """What the person is asked, and what was said so far."""
    progress = fold_run(run.id, events, cell.settings.chat.max_tool_hops)
    asked = [ask_object(event) for event in progress.open_asks]
    approvals = [_approval(shown) for shown in asked if "approval_id" in shown]
    questions = [shown for shown in asked if "elicitation_id" in shown]
    said = progress.last_reply.content if progress.last_reply is not None else ""
    whom = " and ".join([*(one["summary"] for one in approvals), *(one["message"] for one in questions)])
    body: dict[str, Any] = {
        "status": "OK",
        "state": "waiting",
        "run_id": run.id,
        "request_id": run.request_id,
        "conversation_id": run.conversation_id,
        "response": said or f"Waiting for your answer: {whom}",
        "pending_approvals": approvals,
    }
    return body | ({"pending_elicitations": questions} if questions else {})


def _approval(shown: Mapping[str, Any]) -> dict[str, Any]:
    given = json.dumps(shown["arguments"], ensure_ascii=False)
    summary = f"{shown['service']}.{shown['tool']} {given}"
    if len(summary) > SUMMARY_LENGTH:
        summary = summary[:SUMMARY_LENGTH] + "…"
    return {
        "id": shown["approval_id"],
        "service": shown["service"],
        "tool": shown["tool"],
        "class": shown["class"],
        "summary": summary,
        "expires_at": shown["expires_at"],
    }


def _answered(cell: Cell, events: tuple[Event, ...], end: Event, selected: list[str], *, sound: bool) -> dict[str, Any]:
    replies = [event for event in events if event.type == EventType.MODEL_REPLIED]
    text = replies[-1].content or ""
    chosen = _chosen(events)
    body: dict[str, Any] = {
        "response": text,
        "selected_modules": selected,
        "iterations": _iterations(cell, end),
        "level": chosen["level"],
        "model": replies[-1].model,
        "usage": _usage(end),
    }
    if sound:
        body |= {"text_display": text, "text_tts": end.extra.get("text_tts") or plain(text)}
    if "new_conversation_id" in end.extra:
        body |= {"conversation_reset": True, "conversation_id": end.extra["new_conversation_id"]}
    if "dropped_options" in end.extra:
        body["dropped_options"] = end.extra["dropped_options"]
    unresolved = [event for event in events if event.type == EventType.TOOL_UNRESOLVED]
    if unresolved:
        body["unknown_outcomes"] = [_unknown(event, events) for event in unresolved]
    return body | _warnings(end, selected) | _shortcoming(cell, end)


def _iterations(cell: Cell, end: Event) -> int:
    """The turns taken; the last one without tools, which words the answer at their bound, is not counted."""
    return min(end.extra["hops"], cell.settings.chat.max_tool_hops)


def _shortcoming(cell: Cell, end: Event) -> dict[str, str]:
    match end.extra["finish_reason"]:
        case "tool_limit_reached":
            return {"warning": _limited(cell)}
        case "length":
            return {"warning": CUT}
        case _:
            return {}


def _selected(events: tuple[Event, ...]) -> list[str]:
    return list(_chosen(events).get("services", []))


def _chosen(events: tuple[Event, ...]) -> Mapping[str, Any]:
    """The services and the level: as triage decided, else as the run started with."""
    choices = (EventType.RUN_STARTED, EventType.TRIAGE_DECIDED)
    return next((event.extra for event in reversed(events) if event.type in choices), dict[str, Any]())


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


def _warnings(end: Event, selected: list[str]) -> dict[str, Any]:
    """What the person should know about services that could not be reached."""
    warnings: list[Mapping[str, str]] = end.extra.get("warnings", [])
    failing = {warning["service"] for warning in warnings}
    if selected and failing.issuperset(selected):
        return {"warning": "Selected services unavailable, used general knowledge"}
    return {"warnings": warnings} if warnings else {}
