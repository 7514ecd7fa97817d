"""The events by which a run asks its person and is answered: approvals and elicitations.

An ask belongs to one call of one turn. Its answer is an event of its own, written by whichever door the person used,
while the run waits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.conversation.event import Event, EventType
from tom.conversation.label import Label
from tom.conversation.tool import ToolDefinition

ALLOW, DENY = "allow", "deny"
EXPIRED, CANCELLED = "expiry", "cancel"
"""Who answered when nobody did: time ran out, or the run was stopped."""


def approval_requested(
    conversation_id: str,
    *,
    run_id: str,
    turn: int,
    call_id: str,
    approval_id: str,
    tool: ToolDefinition,
    arguments: Mapping[str, Any],
    digest: str,
    reason: str,
    label: Label,
    expires_at: str | None,
    may_remember: bool,
    hidden: Sequence[str] = (),
) -> Event:
    """A call waits for its person's yes. ``arguments`` are masked for display, ``digest`` is over the real ones.

    ``hidden``: the paths of the arguments whose values are masked.
    """
    extra: dict[str, Any] = {
        "run_id": run_id,
        "turn": turn,
        "approval_id": approval_id,
        "service": tool.service,
        "tool": tool.tool,
        "class": str(tool.tool_class),
        "arguments": dict(arguments),
        "arguments_digest": digest,
        "pin": tool.pin,
        "reason": reason,
        "tainted": label.tainted,
        "sources": sorted(label.untrusted),
        "expires_at": expires_at,
        "may_remember": may_remember,
        "hidden": list(hidden),
    }
    return Event(conversation_id=conversation_id, type=EventType.APPROVAL_REQUESTED, tool_call_id=call_id, extra=extra)


def approval_answered(
    asked: Event,
    *,
    decision: str,
    by: str,
    device: str = "",
    digest: str = "",
    arguments: Mapping[str, Any] | None = None,
    note: str = "",
    remember: str = "once",
) -> Event:
    """The answer to one ask; ``arguments`` and ``digest`` are the edited ones where they were edited.

    ``by``: the user, or `EXPIRED` or `CANCELLED`. ``remember``: ``once`` or ``conversation``.
    """
    extra: dict[str, Any] = _same_call(asked, "approval_id") | {
        "service": asked.extra["service"],
        "tool": asked.extra["tool"],
        "pin": asked.extra["pin"],
        "decision": decision,
        "by": by,
        "device": device,
        "arguments_digest": digest or asked.extra["arguments_digest"],
        "remember": remember,
    }
    if arguments is not None:
        extra["arguments"] = dict(arguments)
    if note:
        extra["note"] = note
    return Event(
        conversation_id=asked.conversation_id,
        type=EventType.APPROVAL_ANSWERED,
        tool_call_id=asked.tool_call_id,
        extra=extra,
    )


def elicitation_requested(
    conversation_id: str,
    *,
    run_id: str,
    turn: int,
    call_id: str,
    elicitation_id: str,
    service: str,
    question: Elicitation,
    expires_at: str | None,
    state: str | None = None,
) -> Event:
    """A service asks the person something; ``state`` goes back to it with the answer when ``question.key`` is set."""
    extra: dict[str, Any] = {
        "run_id": run_id,
        "turn": turn,
        "elicitation_id": elicitation_id,
        "service": service,
        "mode": question.mode,
        "message": question.message,
        "expires_at": expires_at,
        "key": question.key,
    }
    if question.schema:
        extra["schema"] = dict(question.schema)
    if question.url:
        extra["url"] = question.url
    if state is not None:
        extra["state"] = state
    return Event(
        conversation_id=conversation_id, type=EventType.ELICITATION_REQUESTED, tool_call_id=call_id, extra=extra
    )


def elicitation_answered(asked: Event, answer: ElicitationAnswer, *, by: str, device: str = "") -> Event:
    """The person's answer. What was typed at a URL never passes through Tom, so it cannot be here."""
    extra: dict[str, Any] = _same_call(asked, "elicitation_id") | {
        "service": asked.extra["service"],
        "outcome": answer.outcome,
        "by": by,
        "device": device,
    }
    if answer.content and asked.extra["mode"] == "form":
        extra["content"] = dict(answer.content)
    return Event(
        conversation_id=asked.conversation_id,
        type=EventType.ELICITATION_ANSWERED,
        tool_call_id=asked.tool_call_id,
        extra=extra,
    )


def run_waiting(conversation_id: str, *, run_id: str, reason: str) -> Event:
    """The run waits for its person; ``reason``: ``approval`` or ``elicitation``."""
    extra = {"run_id": run_id, "reason": reason}
    return Event(conversation_id=conversation_id, type=EventType.RUN_WAITING, extra=extra)


def _same_call(asked: Event, id_name: str) -> dict[str, Any]:
    return {"run_id": asked.run_id, "turn": asked.turn, id_name: asked.extra[id_name]}
