"""Whose turn it is: one run at work per conversation, the others behind it in order, a few at work in all.

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
    """A run that waits for its place, or has it. ``stop_reason``: it is to end as cancelled as soon as it can."""

    row: RunRow
    origin: Origin = field(default_factory=Origin)
    task: asyncio.Task[None] | None = None
    journal: Journal | None = None
    begun: bool = False
    stop_reason: str = ""
    tries: int = 0

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
        self.at_work: dict[str, PendingRun] = {}

    def __len__(self) -> int:
        """Runs at work and waiting."""
        return len(self.at_work) + sum(map(len, self._waiting.values()))

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
        """Give the next run a place; None when none is free or none waits."""
        while self._turns and len(self.at_work) < self._most:
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
