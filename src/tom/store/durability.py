"""Which events are acknowledged only after fsync (FULL) and which may wait for the next one (NORMAL).

FULL is what somebody was told, or what something outside was told to do: losing it would break a promise. Losing the
newest NORMAL events in a power failure costs a repetition only.
"""

from collections.abc import Iterable

from tom.conversation.event import Event, EventType
from tom.conversation.tool import ToolClass

FULL_TYPES = frozenset({
    EventType.CONVERSATION_OPENED,
    EventType.PROMPT_SET,
    EventType.MESSAGE_RECEIVED,
    EventType.RUN_RETRIED,
    EventType.TOOL_CALLED,
    EventType.TOOL_UNRESOLVED,
    EventType.RUN_WAITING,
    EventType.APPROVAL_REQUESTED,
    EventType.APPROVAL_ANSWERED,
    EventType.ELICITATION_ANSWERED,
    EventType.CONVERSATION_CHANGED,
    EventType.RUN_COMPLETED,
    EventType.RUN_FAILED,
    EventType.RUN_CANCELLED,
})  # fmt: skip

WRITING_CLASSES = frozenset({ToolClass.WRITE_OWN, ToolClass.WRITE_EXTERNAL, ToolClass.DESTRUCTIVE})
"""A result of these classes is FULL: repeating the call is not an option."""


def needs_fsync(events: Iterable[Event]) -> bool:
    """Whether one of the events is of the FULL class."""
    for event in events:
        if event.type in FULL_TYPES:
            return True
        if event.type == EventType.TOOL_RETURNED and event.extra.get("class") in WRITING_CLASSES:
            return True
    return False
