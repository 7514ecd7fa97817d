"""Messages in the order that strict dialects take: instructions first, then person and model in turns."""

from collections.abc import Sequence

from tom.conversation.message import Message, Role, assistant, system, user
from tom.conversation.part import Text

GO_ON = "(Go on.)"
"""What stands for the person where a dialect wants them to have spoken last, or first."""
NO_ANSWER = "(No answer.)"
"""What stands for a reply that a run ended without."""


def instructions_first(messages: Sequence[Message]) -> tuple[str, tuple[Message, ...]]:
    """The text of all system messages in their order, and the other messages."""
    said = [message.text for message in messages if message.role is Role.SYSTEM and message.text.strip()]
    return "\n\n".join(said), tuple(message for message in messages if message.role is not Role.SYSTEM)


def in_turns(messages: Sequence[Message]) -> tuple[Message, ...]:
    """One system message, then person and model in turns, a tool's results before the next reply, the person last."""
    instructions, rest = instructions_first(messages)
    ordered: list[Message] = [system(instructions)] if instructions else []
    for message in rest:
        before = ordered[-1] if ordered else None
        role = before.role if before is not None else Role.SYSTEM
        if message.role is Role.ASSISTANT and role is Role.SYSTEM:
            ordered.append(user(GO_ON))
        elif message.role is Role.USER and role is Role.TOOL:
            ordered.append(assistant(NO_ANSWER))
        elif before is not None and message.role is role and role is not Role.TOOL and not before.calls:
            ordered[-1] = _joined(before, message)
            continue
        ordered.append(message)
    if not ordered or ordered[-1].role in {Role.ASSISTANT, Role.SYSTEM}:
        ordered.append(user(GO_ON))
    return tuple(ordered)


def _joined(first: Message, second: Message) -> Message:
    return Message(first.role, (*first.parts, Text("\n\n"), *second.parts), first.tokens + second.tokens)
