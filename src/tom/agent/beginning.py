"""How a run begins: the event that makes it, and its row. Pure."""

from tom import ids
from tom.agent.enclosing import Enclosure
from tom.agent.submission import Submission
from tom.conversation import event as happened
from tom.conversation.event import Event, EventType
from tom.conversation.run import RunState
from tom.store.eventstore import RunRow


def received(conversation_id: str, message: Submission, enclosure: Enclosure) -> Event:
    """The event that makes the run: an instruction is a fact of its own kind."""
    options = {**message.chosen, **enclosure.options}
    if message.role == "system":
        return happened.prompt_set(
            conversation_id,
            enclosure.text,
            run_id=ids.ulid(),
            request_id=message.request_id,
            payload_digest=message.digest,
            surface=message.surface,
            options=options,
        )
    return happened.message_received(
        conversation_id,
        enclosure.text,
        run_id=ids.ulid(),
        request_id=message.request_id,
        payload_digest=message.digest,
        surface=message.surface,
        options=options,
        metadata=message.metadata,
        attachments=enclosure.attachments,
        label=enclosure.label,
        role=message.role,
        prior=message.prior,
        client_tools=message.client_tools,
    )


def beginning_of(stored: tuple[Event, ...]) -> tuple[bool, tuple[Event, ...]]:
    """Whether these events are a conversation's first, and the instructions among them."""
    instructions = tuple(event for event in stored if event.type == EventType.PROMPT_SET)
    return stored[0].type == EventType.CONVERSATION_OPENED, instructions


def row_of(beginning: Event, digest: str) -> RunRow:
    """The run that an event made, as the store's projection has it."""
    return RunRow(
        id=beginning.run_id,
        conversation_id=beginning.conversation_id,
        request_id=beginning.request_id or "",
        payload_digest=digest,
        state=RunState.QUEUED,
        lease=0,
        first_seq=beginning.seq,
        created_at=beginning.timestamp,
    )
