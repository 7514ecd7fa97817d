"""What was said elsewhere, as events of this store; pure.

Replies that another process got are as untrusted here as what a client tells: nobody can say what was in their prompts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tom import ids
from tom.agent.sharedkeys import Kept, Said
from tom.conversation import event as happened
from tom.conversation.event import Event, EventType
from tom.conversation.label import CLEAN, Label
from tom.conversation.usage import NOTHING
from tom.store.mirrored import ADOPTED

SURFACE = "rest"
ELSEWHERE = Label(untrusted=frozenset({"redis"}))
_SAID = frozenset({EventType.MESSAGE_RECEIVED, EventType.MODEL_REPLIED})


def said_in(events: Sequence[Event]) -> tuple[Said, ...]:
    """The messages among events, without instructions and calls."""
    return tuple(
        Said(event.role or "", event.content, event.timestamp)
        for event in events
        if event.type in _SAID and event.role != "system" and event.content
    )


def missing(here: Sequence[Said], there: Sequence[Said]) -> tuple[Said, ...]:
    """What was said there after the last message that is known here; nothing when the two have nothing in common.

    Where they have parted, what is stored here holds, and what was said only there since is taken over after it.
    """
    if not here:
        return tuple(there)
    known = [one.same for one in here]
    told = [one.same for one in there]
    for end in range(len(told), 0, -1):
        common = min(end, len(known))
        if told[end - common : end] == known[-common:]:
            return tuple(there[end:])
    for end in range(len(told), 0, -1):
        for at in range(len(known) - end, -1, -1):
            if known[at : at + end] == told[:end]:
                return _surplus(there[end:], here[at + end :])
    return ()


def _surplus(there: Sequence[Said], here: Sequence[Said]) -> tuple[Said, ...]:
    """The exchanges that are there and not here, each as often as it is there more often."""
    left = Counter(_words(exchange) for exchange in _exchanges(here))
    found: list[Said] = []
    for exchange in _exchanges(there):
        if left[_words(exchange)]:
            left[_words(exchange)] -= 1
        else:
            found += [one for one in exchange if one is not None]
    return tuple(found)


def _words(exchange: tuple[Said, Said | None]) -> tuple[tuple[str, str], tuple[str, str] | None]:
    message, reply = exchange
    return message.same, None if reply is None else reply.same


def opened(conversation_id: str, kept: Kept) -> tuple[Event, ...]:
    """A session that began elsewhere."""
    beginning = happened.conversation_opened(
        conversation_id, surface=SURFACE, memory_limit=kept.limit, metadata=kept.metadata
    )
    return (beginning, *told(conversation_id, kept.window))


def told(conversation_id: str, window: Sequence[Said]) -> tuple[Event, ...]:
    """Messages as runs that are over: each of a person's with the reply that followed it."""
    return tuple(event for message, reply in _exchanges(window) for event in _run(conversation_id, message, reply))


def _exchanges(window: Sequence[Said]) -> Iterator[tuple[Said, Said | None]]:
    """Each message with its reply; a reply that follows none stands alone, as a message of its own."""
    answered = False
    for one, following in pairwise((*window, None)):
        if one is None:
            return
        if one.role == "user":
            answered = following is not None and following.role == "assistant"
            yield one, following if answered else None
        elif answered:
            answered = False
        else:
            yield one, None


def _run(conversation_id: str, message: Said, reply: Said | None) -> Iterator[Event]:
    run_id = ids.ulid()
    yield happened.message_received(
        conversation_id,
        message.content,
        run_id=run_id,
        request_id=f"adopted-{run_id}",
        payload_digest="",
        surface=SURFACE,
        metadata={"said_at": message.created_at} if message.created_at else None,
        role=message.role,
        label=CLEAN if message.role == "user" else ELSEWHERE,
    )
    yield happened.run_started(conversation_id, run_id=run_id, level=0, services=())
    if reply is not None:
        yield happened.model_replied(
            conversation_id,
            reply.content,
            run_id=run_id,
            turn=0,
            attempt=1,
            finish_reason="stop",
            model="",
            usage=NOTHING,
            label=ELSEWHERE,
        )
    hops = 0 if reply is None else 1
    yield happened.run_completed(
        conversation_id, run_id=run_id, usage=NOTHING, finish_reason="stop", hops=hops, more={ADOPTED: True}
    )
