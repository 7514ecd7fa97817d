"""The events of choosing, falling back, and of looking after a conversation: its title, its summary, its end that is cut."""

from collections.abc import Mapping, Sequence
from typing import Any

from tom.conversation.event import MESSAGE_OVERHEAD, Event, EventType
from tom.conversation.label import CLEAN, Label
from tom.conversation.usage import Usage, estimate_tokens


def triage_decided(
    conversation_id: str,
    *,
    run_id: str,
    services: Sequence[str],
    level: int,
    ms: int,
    how: str,
    reason: str = "",
    fresh_start: bool = False,
    usage: Usage | None = None,
) -> Event:
    """The services and the level of a run were chosen.

    ``how``: ``model``, ``skipped`` (few services), ``pinned``, ``asked`` (the request named them) or ``fallback``.
    ``fresh_start``: the person wished to begin anew.
    """
    extra: dict[str, Any] = {
        "run_id": run_id,
        "services": list(services),
        "level": level,
        "ms": ms,
        "how": how,
    }
    if reason:
        extra["reason"] = reason
    if fresh_start:
        extra["fresh_start"] = True
    return Event(conversation_id=conversation_id, type=EventType.TRIAGE_DECIDED, extra=extra, usage=usage)


def llm_fell_back(
    conversation_id: str, *, run_id: str, turn: int, attempt: int, source: str, target: str, reason: str
) -> Event:
    """The LLM entry ``source`` failed and ``target`` is asked for attempt ``attempt``; ``reason`` is a code."""
    extra = {"run_id": run_id, "turn": turn, "attempt": attempt, "from": source, "to": target, "reason": reason}
    return Event(conversation_id=conversation_id, type=EventType.LLM_FELL_BACK, extra=extra)


def history_compacted(
    conversation_id: str,
    summary: str,
    *,
    first_seq: int,
    through_seq: int,
    label: Label = CLEAN,
    model: str = "",
    usage: Usage | None = None,
) -> Event:
    """``summary`` stands for the runs that began at seqs ``first_seq`` to ``through_seq``; they stay on disk."""
    extra: dict[str, Any] = {"first_seq": first_seq, "through_seq": through_seq, "taint": label.tainted}
    if label != CLEAN:
        extra["label"] = label.as_json()
    return Event(
        conversation_id=conversation_id,
        type=EventType.HISTORY_COMPACTED,
        role="system",
        content=summary,
        model=model or None,
        usage=usage,
        extra=extra,
        token_count=estimate_tokens(summary) + MESSAGE_OVERHEAD,
    )


def history_retired(conversation_id: str, *, first_seq: int, events: int) -> Event:
    """``events`` of the oldest events were erased by retention; the conversation now begins at ``first_seq``."""
    extra = {"first_seq": first_seq, "events": events}
    return Event(conversation_id=conversation_id, type=EventType.HISTORY_RETIRED, extra=extra)


def conversation_changed(conversation_id: str, change: Mapping[str, Any]) -> Event:
    """What is known about a conversation has changed.

    ``change`` holds any of ``title`` with ``title_by`` (``person``, ``model``), ``pinned``, ``metadata``,
    ``memory_limit``, ``services`` (pinned for triage; null: none), ``allowed`` (a standing yes: full tool name ->
    pin; null revokes it).
    """
    return Event(conversation_id=conversation_id, type=EventType.CONVERSATION_CHANGED, extra=dict(change))
