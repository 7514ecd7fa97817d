"""Whose turn it is: one run at work per conversation, the others behind it in order, a few at work in all.

A run that waits for its person keeps its conversation, so that order is kept, but no place among those at work.

Plain bookkeeping without a task or a wait, so that it is never seen half changed.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from tom.agent.journal import Journal
from tom.agent.transcript import Origin
from tom.store.eventstore import RunRow


@dataclass(slots=True, eq=False)
class PendingRun:
    """A run that waits for its place, or has it. ``stop_reason``: it is to end as cancelled as soon as it can.

    ``replaced``: another stands in its place. ``resting``: it waits for its person; with a ``task`` when the call that asks waits on its connection. ``worked`` is
    how many seconds it has been at work, ``rested`` how many of them its worker waited for its person, ``paused`` when
    that began and where its end was then.
    """

    row: RunRow
    origin: Origin = field(default_factory=Origin)
    task: asyncio.Task[None] | None = None
    journal: Journal | None = None
    begun: bool = False
    stop_reason: str = ""
    tries: int = 0
    resting: bool = False
    replaced: bool = False
    worked: float = 0.0
    rested: float = 0.0
    paused: tuple[float, float] = (0.0, 0.0)

    @property
    def ended(self) -> bool:
        """Whether its end is recorded."""
        return self.journal is not None and self.journal.progress.state.ended


class Places:
    """The runs of one person that have not ended."""

    def __init__(self, most: int) -> None:
        """At most ``most`` are at work at once."""
        self._most = most
        self._waiting: dict[str, deque[PendingRun]] = {}
        self._turns: deque[str] = deque()
        self._woken: deque[PendingRun] = deque()
        self.at_work: dict[str, PendingRun] = {}

    def __len__(self) -> int:
        """Runs that have not ended."""
        return len(self.at_work) + sum(map(len, self._waiting.values()))

    @property
    def busy(self) -> int:
        """Runs at work that do not wait for their person."""
        return sum(not pending.resting for pending in self.at_work.values())

    @property
    def going_on(self) -> int:
        """Runs that are at work, hold a connection open for an answer, or are queued behind such a one."""
        moving = {name for name, pending in self.at_work.items() if not pending.resting or pending.task is not None}
        queued = sum(len(queue) for name, queue in self._waiting.items() if name in moving or name not in self.at_work)
        return len(moving) + queued

    def ahead(self, conversation_id: str) -> int:
        """How many a new run in this conversation would wait for; one whose end is recorded is not ahead."""
        at_work = self.at_work.get(conversation_id)
        return len(self._waiting.get(conversation_id, ())) + (at_work is not None and not at_work.ended)

    def put(self, pending: PendingRun, *, first: bool = False) -> None:
        """Let it wait behind the others of its conversation, or in front of them."""
        conversation_id = pending.row.conversation_id
        queue = self._waiting.setdefault(conversation_id, deque())
        if first:
            queue.appendleft(pending)
        else:
            queue.append(pending)
        if conversation_id not in self.at_work:
            self._turns.append(conversation_id)

    def take(self) -> PendingRun | None:
        """Give the next run a place, those first that their person has answered; None when none is free or none waits."""
        while self._woken and self.busy < self._most:
            woken = self._woken.popleft()
            if woken.resting and self.at_work.get(woken.row.conversation_id) is woken:
                woken.resting = False
                return woken
        while self._turns and self.busy < self._most:
            conversation_id = self._turns.popleft()
            queue = self._waiting.get(conversation_id)
            # A conversation may have had its turn already, or its runs may have been withdrawn.
            if not queue or conversation_id in self.at_work:
                continue
            pending = self.at_work[conversation_id] = queue.popleft()
            if not queue:
                del self._waiting[conversation_id]
            return pending
        return None

    def rest(self, pending: PendingRun) -> None:
        """It waits for its person, in its conversation; a run found waiting at the start takes that place, too."""
        pending.resting = True
        self.at_work.setdefault(pending.row.conversation_id, pending)

    def wake(self, pending: PendingRun) -> None:
        """Its person has answered: it is to have a place again."""
        if pending.resting and pending not in self._woken:
            self._woken.append(pending)

    def leave(self, pending: PendingRun) -> None:
        """Free its place."""
        conversation_id = pending.row.conversation_id
        if self.at_work.get(conversation_id) is pending:
            del self.at_work[conversation_id]
        if conversation_id in self._waiting:
            self._turns.append(conversation_id)

    def withdraw(self, conversation_id: str, run_id: str | None = None) -> list[PendingRun]:
        """Take the waiting runs of a conversation out, or only the one named."""
        queue = self._waiting.pop(conversation_id, deque[PendingRun]())
        gone = [pending for pending in queue if run_id in {None, pending.row.id}]
        kept = deque(pending for pending in queue if pending not in gone)
        if kept:
            self._waiting[conversation_id] = kept
        return gone
