"""Which rows of asks follow from events. Pure, as `projection.py` is.

A row is made by `approval.requested` and `elicitation.requested`. The first answer settles it; so does the end of its
run, and the result of its call, for then nobody waits for the answer any more.
"""

from typing import NamedTuple

from tom.conversation.asks import ALLOW, CANCELLED, EXPIRED
from tom.conversation.event import Event, EventType
from tom.conversation.run import RunState

APPROVAL, ELICITATION = "approval", "elicitation"
PENDING = "pending"

ANSWERABLE = frozenset({RunState.RUNNING, RunState.WAITING})
"""States of a run in which what it asked may be answered."""

_OUTCOMES = {"accept": "accepted", "decline": "declined", "cancel": "cancelled"}
_NOBODYS = {EXPIRED: "expired", CANCELLED: "cancelled"}
_ENDS_RUN = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_ENDS_CALL = frozenset({EventType.TOOL_RETURNED, EventType.TOOL_UNRESOLVED})
_ASKS = frozenset({EventType.APPROVAL_REQUESTED, EventType.ELICITATION_REQUESTED})
_ANSWERS = frozenset({EventType.APPROVAL_ANSWERED, EventType.ELICITATION_ANSWERED})
ABOUT_ASKS = _ENDS_RUN | _ENDS_CALL | _ASKS | _ANSWERS
"""All events of which `ask_changed` has something to say."""


class AskMade(NamedTuple):
    """A row for a new ask; an approval is the only one of its (run, turn, call)."""

    ask_id: str
    kind: str
    conversation_id: str
    run_id: str
    turn: int
    call_id: str
    digest: str
    pin: str
    asked_at: str
    expires_at: str | None


class AskAnswered(NamedTuple):
    """What an answer makes of an ask that is pending while its run has not ended; ``digest`` None: stays."""

    ask_id: str
    run_id: str
    state: str
    decided_at: str
    decided_by: str
    digest: str | None


class AsksCancelled(NamedTuple):
    """The pending asks of a run, or of one of its calls, are asked no more."""

    run_id: str
    call_id: str | None
    decided_at: str


type AskChanged = AskMade | AskAnswered | AsksCancelled


def ask_changed(event: Event) -> AskChanged | None:
    """What an event says about asks."""
    kind = event.type
    if kind not in ABOUT_ASKS:
        return None
    if kind in _ENDS_RUN | _ENDS_CALL:
        return AsksCancelled(event.run_id, event.tool_call_id if kind in _ENDS_CALL else None, event.timestamp)
    extra = event.extra
    call = (event.conversation_id, event.run_id, event.turn, event.tool_call_id or "")
    if kind == EventType.APPROVAL_REQUESTED:
        about = (extra["arguments_digest"], extra["pin"], event.timestamp, extra["expires_at"])
        return AskMade(extra["approval_id"], APPROVAL, *call, *about)
    if kind == EventType.ELICITATION_REQUESTED:
        return AskMade(extra["elicitation_id"], ELICITATION, *call, "", "", event.timestamp, extra["expires_at"])
    by = extra["by"]
    if kind == EventType.APPROVAL_ANSWERED:
        yes = "edited" if "arguments" in extra else "allowed"
        state = yes if extra["decision"] == ALLOW else _NOBODYS.get(by, "denied")
        return AskAnswered(extra["approval_id"], event.run_id, state, event.timestamp, by, extra["arguments_digest"])
    state = _NOBODYS.get(by) or _OUTCOMES[extra["outcome"]]
    return AskAnswered(extra["elicitation_id"], event.run_id, state, event.timestamp, by, None)
