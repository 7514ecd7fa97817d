"""Asks as doors show them: one object for an approval, one for a service's question."""

from typing import Any

from tom.conversation.event import Event, EventType


def ask_object(asked: Event) -> dict[str, Any]:
    """The object of a stored `approval.requested` or `elicitation.requested`."""
    return approval_object(asked) if asked.type == EventType.APPROVAL_REQUESTED else elicitation_object(asked)


def approval_object(asked: Event) -> dict[str, Any]:
    """What a person is shown of one call: never what a model says about it."""
    extra = asked.extra
    return {
        "approval_id": extra["approval_id"],
        "run_id": asked.run_id,
        "conversation_id": asked.conversation_id,
        "service": extra["service"],
        "tool": extra["tool"],
        "class": extra["class"],
        "arguments": extra["arguments"],
        "arguments_digest": extra["arguments_digest"],
        "hidden": extra.get("hidden", []),
        "reason": extra["reason"],
        "tainted": extra["tainted"],
        "sources": extra["sources"],
        "may_remember": extra["may_remember"],
        "asked_at": asked.timestamp,
        "expires_at": extra["expires_at"],
    }


def elicitation_object(asked: Event) -> dict[str, Any]:
    """What a service wants to know."""
    extra = asked.extra
    shown = {
        "elicitation_id": extra["elicitation_id"],
        "run_id": asked.run_id,
        "conversation_id": asked.conversation_id,
        "service": extra["service"],
        "mode": extra["mode"],
        "message": extra["message"],
        "asked_at": asked.timestamp,
        "expires_at": extra["expires_at"],
    }
    return shown | {name: extra[name] for name in ("schema", "url") if name in extra}
