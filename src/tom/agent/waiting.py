"""What a socket tells of runs that wait or work long: the open asks, and the progress of calls, thinned."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tom.agent import frames
from tom.agent.approvals import Answering
from tom.agent.conversations import Conversations
from tom.agent.feed import ALL, Progressed
from tom.conversation.event import Event, EventType
from tom.errors import RunNotFound

PROGRESS_INTERVAL = 0.25
"""Seconds between two frames about the progress of one call."""

ASKED = frozenset({EventType.APPROVAL_REQUESTED, EventType.ELICITATION_REQUESTED})
ANSWERED = frozenset({EventType.APPROVAL_ANSWERED, EventType.ELICITATION_ANSWERED})


class Pace:
    """How often the progress of calls is told: a few times a second, and the end of each once."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._told: dict[str, dict[str, float]] = {}

    def is_due(self, item: Progressed, now: float) -> bool:
        """Whether it is to be told at ``now`` (seconds)."""
        told = self._told.setdefault(item.run_id, {})
        last = told.get(item.call_id, -math.inf)
        if last == math.inf or (now - last < PROGRESS_INTERVAL and not item.finished):
            return False
        told[item.call_id] = math.inf if item.finished else now
        return True

    def forget(self, run_id: str) -> None:
        """The run is over."""
        self._told.pop(run_id, None)


async def open_asks(approvals: Answering, conversations: Conversations, topic: str) -> list[dict[str, Any]]:
    """The frames of what waits for the person in a conversation, or in all of them."""
    requests: dict[str, str] = {}
    for asked in await approvals.pending():
        if topic in {ALL, asked["conversation_id"]} and asked["run_id"] not in requests:
            try:
                requests[asked["run_id"]] = (await conversations.run(asked["run_id"])).request_id
            except RunNotFound:  # erased meanwhile
                continue
    # Read once more: what was answered during those reads does not wait any more.
    return [
        frames.waiting(requests[asked["run_id"]], asked)
        for asked in await approvals.pending()
        if asked["run_id"] in requests
    ]


def still_open(events: Iterable[Event]) -> list[Event]:
    """The asks among the events of a run that none of them answers."""
    waiting: dict[str, Event] = {}
    for event in events:
        if event.type in ASKED:
            waiting[ask_id(event.extra)] = event
        elif event.type in ANSWERED:
            waiting.pop(ask_id(event.extra), None)
    return list(waiting.values())


def ask_id(asked: Mapping[str, Any]) -> str:
    """The id in the object of an ask, or in the extra of its events."""
    return asked.get("approval_id") or asked["elicitation_id"]
