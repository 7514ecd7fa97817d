"""Events as clients see them: never which provider answered, nor the house's own instructions; to a visitor no model."""

from typing import Any

from tom.conversation import codec
from tom.conversation.event import Event, EventType

_PROVIDERS = ("from", "to")


def event_json(event: Event, *, visitor: bool = False) -> dict[str, Any]:
    """The event JSON of the chat door. An instruction that was not sent as a message has no content."""
    value = codec.to_json(event)
    if visitor:
        value["model"] = None
    if event.type == EventType.LLM_FELL_BACK:  # entries may be called as their providers are
        value["extra"] = {name: told for name, told in event.extra.items() if name not in _PROVIDERS}
    elif event.type == EventType.PROMPT_SET and (visitor or not event.run_id):
        value["content"] = None
    return value
