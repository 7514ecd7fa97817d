"""Which run goes when: one per conversation, the others in the order of acceptance, a few at once per person.

Runs belong to the agent, not to a socket. Each is a task here; it ends by itself, by `stop`, or is parked by `drain`
and resumed by `recover` at the next start.
"""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tom.agent.ending import end_badly, end_cancelled
from tom.agent.feed import Feed
from tom.agent.journal import Journal
from tom.agent.transcript import Origin
from tom.agent.worker import Worker
from tom.clock import Clock
from tom.conversation import event as happened
from tom.conversation.run import RunProgress, RunState, fold_run
from tom.conversation.usage import NOTHING
from tom.errors import StorageFull, StorageUnavailable, Superseded
from tom.store.eventstore import EventStore, RunFilter, RunRow
from tom.telemetry import logs

log = logs.get("agent")

UNFINISHED = (RunState.QUEUED, RunState.RUNNING, RunState.WAITING)
LONGEST_STORAGE_WAIT = 30.0


@dataclass(slots=True)
class PendingRun:
    """A run that waits for its place, or has it."""

    row: RunRow
    origin: Origin = field(default_factory=Origin)
    task: asyncio.Task[None] | None = None
    journal: Journal | None = None
    stop_reason: str = ""
    tries: int = 0


class Scheduler:
    """The runs of one person."""

    def __init__(
        self,
        store: EventStore,
        feed: Feed,
        worker: Worker,
        clock: Clock,
        *,
        parallel: int,
        max_turns: int,
        deadline: float,
    ) -> None:
        """At most ``parallel`` runs at once; each at most ``deadline`` seconds."""
        self._store = store
        self._feed = feed
        self._worker = worker
        self._clock = clock
        self._parallel = parallel
        self._max_turns = max_turns
        self._deadline = deadline
        self._queues: defaultdict[str, deque[PendingRun]] = defaultdict(deque)
        self._active: dict[str, PendingRun] = {}
        self._ready: deque[str] = deque()
        self._group: asyncio.TaskGroup | None = None
        self.draining = False

    # --- what is going on --------------------------------------------------------------------------------------

    @property
    def active_runs(self) -> int:
        """Runs that are being worked on."""
        return len(self._active)

    @property
    def unfinished_runs(self) -> int:
        """Runs that are being worked on or queued."""
        return len(self._active) + sum(map(len, self._queues.values()))

    def ahead(self, conversation_id: str) -> int:
        """How many runs a new one in this conversation would wait for."""
        return len(self._queues.get(conversation_id, ())) + (self.active_run(conversation_id) is not None)

    def active_run(self, conversation_id: str) -> str | None:
        """The id of the run being worked on in a conversation; one whose end is recorded is not any more."""
        pending = self._active.get(conversation_id)
        if pending is None or (pending.journal is not None and pending.journal.progress.state.ended):
            return None
        return pending.row.id

    # --- coming and going --------------------------------------------------------------------------------------

    async def serve(self, ready: asyncio.Event, stopped: asyncio.Event) -> None:
        """Own the tasks of all runs until ``stopped``; what is unfinished is taken up before ``ready``."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self.recover()
            ready.set()
            await stopped.wait()

    async def recover(self) -> None:
        """Queue every run that has not ended, in the order of acceptance, those that had begun first."""
        rows = await self._store.runs(RunFilter(states=UNFINISHED), limit=100_000)
        for row in sorted(rows, key=lambda row: row.state is RunState.QUEUED):
            self.enqueue(PendingRun(row))
        if rows:
            log.info("🔁 Unfinished runs are taken up again", event="runs_recovered", count=len(rows))

    def enqueue(self, pending: PendingRun) -> int:
        """Give the run its place; returns how many are ahead of it. It begins in a later turn of the event loop."""
        conversation_id = pending.row.conversation_id
        before = self.ahead(conversation_id)
        free = conversation_id not in self._active and conversation_id not in self._queues
        self._queues[conversation_id].append(pending)
        if free:
            self._ready.append(conversation_id)
            self._fill()
        return before

    def _fill(self) -> None:
        while self._ready and len(self._active) < self._parallel and not self.draining and self._group is not None:
            conversation_id = self._ready.popleft()
            queue = self._queues[conversation_id]
            pending = queue.popleft()
            if not queue:
                del self._queues[conversation_id]
            self._active[conversation_id] = pending
            pending.task = self._group.create_task(self._run(pending), name=f"run {pending.row.id}")

    def _leave(self, pending: PendingRun) -> None:
        conversation_id = pending.row.conversation_id
        self._active.pop(conversation_id, None)
        self._feed.end(pending.row.id)
        if conversation_id in self._queues:
            self._ready.append(conversation_id)
        self._fill()

    # --- one run -----------------------------------------------------------------------------------------------

    async def _run(self, pending: PendingRun) -> None:
        with logs.bind(run_id=pending.row.id, conversation_id=pending.row.conversation_id):
            try:
                await self._work(pending)
            except Superseded:
                log.warning("⚠️ Another process has taken over this run", event="run_superseded")
            except (StorageFull, StorageUnavailable) as error:
                await self._wait_for_storage(pending, error.code)
            finally:
                self._leave(pending)

    async def _work(self, pending: PendingRun) -> None:
        journal = pending.journal = await self._open_journal(pending.row)
        try:
            async with asyncio.timeout(self._deadline):
                await self._worker.work(journal, pending.origin)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            if pending.stop_reason:
                await end_cancelled(journal, self._feed, pending.stop_reason)
            # Otherwise it is parked: nothing is recorded, and it goes on at the next start.
        except (Superseded, StorageFull, StorageUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - a run ends with a recorded reason, whatever went wrong
            await end_badly(journal, self._feed, error)
        if journal.progress.state.ended:
            log.info("📤 Run finished", event="run_finished", state=str(journal.progress.state))

    async def _open_journal(self, row: RunRow) -> Journal:
        progress = RunProgress(row.id, self._max_turns)
        if row.state is not RunState.QUEUED:
            progress = await self._progress_of(row)
        return Journal(row, progress, self._store, self._feed)

    async def _progress_of(self, row: RunRow) -> RunProgress:
        progress = RunProgress(row.id, self._max_turns)
        after = row.first_seq - 1
        while events := await self._store.read(row.conversation_id, after=after, limit=2000):
            progress = fold_run(row.id, events, self._max_turns, progress)
            after = events[-1].seq
        return progress

    async def _wait_for_storage(self, pending: PendingRun, code: str) -> None:
        """The disk is full or away: the run is not lost, it goes on when writing works again."""
        log.error("❌ The history cannot be written; the run waits", event="history_store_failed", code=code)
        wait = min(2.0**pending.tries, LONGEST_STORAGE_WAIT)
        try:
            await self._clock.sleep(wait)
            rows = await self._store.runs(RunFilter(run_id=pending.row.id))
        except StorageUnavailable:
            rows = (pending.row,)
        except asyncio.CancelledError:
            return
        if rows and not rows[0].state.ended and not self.draining:
            again = PendingRun(rows[0], pending.origin, tries=pending.tries + 1)
            self._queues[pending.row.conversation_id].appendleft(again)

    # --- stopping ----------------------------------------------------------------------------------------------

    async def stop(self, conversation_id: str, run_id: str | None = None, *, queued: bool = False) -> str | None:
        """Cancel the active run (or the named one, also when it is queued) and wait until that is recorded.

        With ``queued`` the waiting runs of the conversation are cancelled first. Returns the id of the run that was
        stopped, None when there was nothing to stop.
        """
        dropped = await self._drop_queued(conversation_id, None if queued else run_id, everything=queued)
        pending = self._active.get(conversation_id)
        if pending is None or pending.task is None or (run_id is not None and pending.row.id != run_id):
            return dropped
        pending.stop_reason = pending.stop_reason or "stopped by the user"
        pending.task.cancel()
        await asyncio.wait([pending.task])
        return pending.row.id

    async def _drop_queued(self, conversation_id: str, run_id: str | None, *, everything: bool) -> str | None:
        dropped: str | None = None
        for pending in list(self._queues.get(conversation_id, ())):
            if not everything and pending.row.id != run_id:
                continue
            self._queues[conversation_id].remove(pending)
            journal = await self._open_journal(pending.row)
            if not journal.progress.state.ended:
                usage = journal.progress.usage if journal.progress.events else NOTHING
                await journal.record(
                    happened.run_cancelled(
                        conversation_id, run_id=pending.row.id, usage=usage, reason="stopped by the user"
                    )
                )
            dropped = pending.row.id
        if not self._queues.get(conversation_id, True):
            del self._queues[conversation_id]
        return dropped

    async def drain(self, grace: float, last: float) -> None:
        """Start nothing new; let running turns end within ``grace`` seconds, then park what is left.

        What does not react to being parked within ``last`` seconds is left to be found unresolved at the next start.
        """
        self.draining = True
        tasks = [pending.task for pending in self._active.values() if pending.task is not None]
        for pending in self._active.values():
            if pending.journal is not None:
                pending.journal.parked = True
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=last)
