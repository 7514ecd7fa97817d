"""Events as clients see them: never which provider answered, and to a visitor not which model."""

from typing import Any

from tom.conversation import codec
from tom.conversation.event import Event, EventType

_PROVIDERS = ("from", "to")


def event_json(event: Event, *, visitor: bool = False) -> dict[str, Any]:
    """The event JSON of the chat door."""
    value = codec.to_json(event)
    if visitor:
        value["model"] = None
    if event.type == EventType.LLM_FELL_BACK:  # entries may be called as their providers are
        value["extra"] = {name: told for name, told in event.extra.items() if name not in _PROVIDERS}
    return value
