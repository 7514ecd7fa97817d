"""What an OpenAI client gets to read of a run: its texts joined, and the words for a run that waits for its person."""

import json
from collections.abc import Iterable, Sequence

from tom.agent.asks import ask_object
from tom.conversation.event import Event

BETWEEN = "\n\n"
"""Stands between the texts of two turns: a client shows one message."""

LONGEST_ARGUMENTS = 500
"""Characters of a call's arguments that the words for an approval repeat."""


def joined_texts(replies: Iterable[Event]) -> str:
    """The texts of a run's replies as one message."""
    return BETWEEN.join(reply.content for reply in replies if reply.content)


def waiting_text(said: str, asked: Sequence[Event]) -> str:
    """What was said so far, and what its person is asked. Nothing of it is a model's words but ``said``."""
    return BETWEEN.join([*([said] if said else []), *map(_asking, asked)])


def _asking(asked: Event) -> str:
    shown = ask_object(asked)
    if "approval_id" not in shown:
        question = f"{shown['service']} asks: {shown['message']}"
        return f"⏳ Waiting for your answer. {question}\nAnswer it in Tom (question {shown['elicitation_id']})."
    arguments = json.dumps(shown["arguments"], ensure_ascii=False)
    if len(arguments) > LONGEST_ARGUMENTS:
        arguments = arguments[:LONGEST_ARGUMENTS] + "…"
    return (
        f"⏳ Waiting for your yes: {shown['service']}.{shown['tool']} {arguments}\n"
        f"{shown['reason']} Answer it in Tom (approval {shown['approval_id']}); nothing is done before."
    )
