"""Retention: where a conversation may be cut, and where a policy wants it cut. Pure.

A cut is the seq of the first event that stays. It falls only between runs: before an event that makes a run, where no
other run is under way, and never between a run and the one that repeats it.
"""

from collections.abc import Sequence

from tom.conversation.event import Event, EventType
from tom.conversation.run import BEGINNINGS

_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


def borders(events: Sequence[Event]) -> tuple[int, ...]:
    """The seqs before which ``events``, a stretch of one conversation in order, may be cut; in front of them there is a run to go.

    Of runs that began before the stretch it is known that they did, because events of theirs are in it.
    """
    began = {event.run_id: event.seq for event in events if event.type in BEGINNINGS and event.run_id}
    under_way = {event.run_id for event in events if event.run_id and event.run_id not in began}
    found: list[int] = []
    anything = False
    for event in events:
        if event.type in BEGINNINGS and (event.run_id or event.type != EventType.PROMPT_SET):
            origin = event.extra.get("retry_of")
            if origin is not None:
                found = [seq for seq in found if seq <= began.get(origin, 0)]
            elif anything and not under_way:
                found.append(event.seq)
            anything = True
            under_way |= {event.run_id} - {""}
        elif event.run_id:
            anything = True
            if event.type in _ENDS:
                under_way.discard(event.run_id)
    return tuple(found)


def within_tokens(events: Sequence[Event], limit: int) -> int:
    """The seq from which on ``events`` have at most ``limit`` tokens together; beyond the last when none has."""
    room = limit
    wanted = events[-1].seq + 1
    for event in reversed(events):
        room -= event.token_count
        if room < 0:
            break
        wanted = event.seq
    return wanted


def within_messages(events: Sequence[Event], limit: int) -> int | None:
    """The seq of the ``limit``-th newest user or assistant message; None when there are fewer.

    A reply that only calls does not count.
    """
    left = limit
    for event in reversed(events):
        if event.role == "user" or (event.role == "assistant" and (event.content or not event.tool_calls)):
            left -= 1
            if not left:
                return event.seq
    return None


def younger_than(events: Sequence[Event], moment: str) -> int | None:
    """The seq of the first event that is not older than ``moment`` (RFC 3339 UTC); None when all are."""
    return next((event.seq for event in events if event.timestamp >= moment), None)


def cut_at(events: Sequence[Event], wanted: int, *, whole: bool, floor: int | None) -> int | None:
    """The cut among ``events`` that comes nearest to ``wanted``; None when there is none.

    ``whole``: a run in which ``wanted`` lies stays whole; else it goes whole, but never the newest. What comes from
    ``floor`` on (an unfinished run) stays in any case.
    """
    possible = borders(events)
    if not possible:
        return None
    if not whole:
        wanted = min((seq for seq in possible if seq >= wanted), default=possible[-1])
    most = wanted if floor is None else min(wanted, floor)
    return max((seq for seq in possible if seq <= most), default=None)
