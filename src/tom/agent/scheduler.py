"""Which run goes when: one per conversation, the others in the order of acceptance, a few at once per person.

Runs belong to the agent, not to a socket. Each is a task here; it ends by itself, by `stop`, or is parked by `drain`
and resumed by `recover` at the next start. `places.py` keeps the order.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from tom.agent.ending import end_badly, end_cancelled, first_of
from tom.agent.feed import Feed
from tom.agent.journal import Journal
from tom.agent.places import PendingRun, Places
from tom.agent.reception import Reception
from tom.agent.worker import Worker
from tom.clock import Clock
from tom.config.secret import Secret
from tom.conversation import event as happened
from tom.conversation.codec import CodecError
from tom.conversation.event import Event
from tom.conversation.run import InvalidTransition, RunProgress, RunState, fold_run
from tom.conversation.usage import NOTHING
from tom.errors import StorageFull, StorageUnavailable, Superseded
from tom.store.eventstore import EventStore, RunFilter, RunRow
from tom.telemetry import logs

log = logs.get("agent")

UNFINISHED = (RunState.QUEUED, RunState.RUNNING, RunState.WAITING)
LONGEST_STORAGE_WAIT = 30.0
AGAIN_SECONDS = 30.0
STOPPED = "stopped by the user"


class Scheduler:
    """The runs of one person."""

    def __init__(
        self,
        store: EventStore,
        feed: Feed,
        worker: Worker | Reception,
        clock: Clock,
        *,
        parallel: int,
        max_turns: int,
        deadline: float,
        secret: Secret,
    ) -> None:
        """At most ``parallel`` runs at once; each at most ``deadline`` seconds. ``secret`` keys their calls.

        ``found_waiting`` is told of each run that waits at the start, and says whether something is still asked;
        ``known_waiting`` is told what a run asks whose worker leaves;
        ``beside`` runs as long as the scheduler serves.
        """
        self._store = store
        self._feed = feed
        self._worker = worker
        self._clock = clock
        self._max_turns = max_turns
        self._deadline = deadline
        self._secret = secret
        self._places = Places(parallel)
        self._group: asyncio.TaskGroup | None = None
        self.draining = False
        self.found_waiting: Callable[[Journal], bool] = _nobody_to_ask
        self.known_waiting: Callable[[Sequence[Event]], None] = _nobody_to_tell
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []

    # --- what is going on --------------------------------------------------------------------------------------

    @property
    def active_runs(self) -> int:
        """Runs that are being worked on."""
        return self._places.busy

    @property
    def queued_runs(self) -> int:
        """Runs that wait for their turn."""
        return len(self._places) - len(self._places.at_work)

    @property
    def waiting_runs(self) -> int:
        """Runs that wait for their person."""
        return len(self._places.at_work) - self._places.busy

    @property
    def unfinished_runs(self) -> int:
        """Runs that are being worked on or queued; those that wait for their person, and behind them, need no agent."""
        return self._places.going_on

    def ahead(self, conversation_id: str) -> int:
        """How many runs a new one in this conversation would wait for."""
        return self._places.ahead(conversation_id)

    def active_run(self, conversation_id: str) -> str | None:
        """The id of the run being worked on in a conversation; one whose end is recorded is not any more."""
        pending = self._places.at_work.get(conversation_id)
        return None if pending is None or pending.ended else pending.row.id

    # --- coming and going --------------------------------------------------------------------------------------

    async def serve(self, ready: asyncio.Event, stopped: asyncio.Event) -> None:
        """Own the tasks of all runs until ``stopped``; what is unfinished is taken up before ``ready``."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self.recover()
            ready.set()
            beside = [group.create_task(self._kept_up(work)) for work in self.beside]
            await stopped.wait()
            for task in beside:
                task.cancel()

    async def _kept_up(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What runs beside the runs must never end them: after a defect it begins again."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - as above
                log.error("❌ A defect beside the runs", event="internal_error", exception=error)
                await self._clock.sleep(AGAIN_SECONDS)
            else:
                return

    async def recover(self) -> None:
        """Queue every run that has not ended, in the order of acceptance, those that had begun first."""
        rows = await self._store.runs(RunFilter(states=UNFINISHED), limit=100_000)
        for row in sorted(rows, key=lambda row: row.state is RunState.QUEUED):
            if not await self._waits_on(row):
                self.enqueue(PendingRun(row))
        if rows:
            log.info("🔁 Unfinished runs are taken up again", event="runs_recovered", count=len(rows))

    async def _waits_on(self, row: RunRow) -> bool:
        """Give a run that still waits for its person its conversation, but no place at work."""
        if row.state is not RunState.WAITING:
            return False
        try:
            journal = await self._open_journal(row)
        except (InvalidTransition, CodecError):
            return False  # it is ended as unreadable when it is worked on
        if not self.found_waiting(journal):
            return False
        self._places.rest(PendingRun(row))
        return True

    # --- waiting for the person --------------------------------------------------------------------------------

    def journal_of(self, run_id: str) -> Journal | None:
        """The journal of a run that has a worker now."""
        for pending in self._places.at_work.values():
            if pending.row.id == run_id and pending.task is not None:
                return pending.journal
        return None

    def wake(self, run_id: str) -> None:
        """Everything that the run asked is answered. Does nothing for a run whose worker waits with it."""
        for pending in self._places.at_work.values():
            if pending.row.id == run_id and pending.task is None:
                self._places.wake(pending)
        self._fill()

    def enqueue(self, pending: PendingRun) -> int:
        """Give the run its place; returns how many are ahead of it. It begins in a later turn of the event loop."""
        before = self._places.ahead(pending.row.conversation_id)
        self._places.put(pending)
        self._fill()
        return before

    def _fill(self) -> None:
        while not self.draining and self._group is not None and (pending := self._places.take()) is not None:
            self._begin(pending, self._group)

    def _begin(self, pending: PendingRun, group: asyncio.TaskGroup) -> None:
        pending.begun = False
        pending.task = group.create_task(self._run(pending), name=f"run {pending.row.id}")

    # --- one run -----------------------------------------------------------------------------------------------

    async def _run(self, pending: PendingRun) -> None:
        pending.begun = True
        with logs.bind(run_id=pending.row.id, conversation_id=pending.row.conversation_id):
            try:
                await self._work(pending)
            except Superseded:
                log.warning("⚠️ This run is not this process's any more", event="run_superseded")
            except (StorageFull, StorageUnavailable) as error:
                await self._wait_for_storage(pending, error.code)
            except Exception as error:  # noqa: BLE001 - one run must not end the agent with all others
                log.error("❌ A defect left a run without an end", event="internal_error", exception=error)
            finally:
                self._feed.end(pending.row.id)
                self._set_down(pending)
                self._fill()

    def _set_down(self, pending: PendingRun) -> None:
        """The worker is done: the run has ended, is parked, or waits for its person without one."""
        journal, pending.task = pending.journal, None
        waits = journal is not None and journal.progress.state is RunState.WAITING
        if journal is None or not waits or pending.replaced or self.draining:
            self._places.leave(pending)
            return
        self.known_waiting(journal.progress.open_asks)
        pending.row = replace(pending.row, state=RunState.WAITING)
        pending.journal = None
        self._places.rest(pending)
        if not journal.progress.open_asks:  # answered before the worker was out of the door
            self._places.wake(pending)

    async def _work(self, pending: PendingRun) -> None:
        """Work until the run ends, is stopped or parked. Raises what only a later try can mend."""
        try:
            async with self._wall_time(pending) as limit:
                journal = pending.journal = await self._open_journal(pending.row)
                journal.on_rest = partial(self._rest, pending, limit)
                if not pending.stop_reason:
                    await self._worker.work(journal, pending.origin)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            # Stopped: see below. Else parked: nothing is recorded, and it goes on at the next start.
        except Exception as error:  # noqa: BLE001 - a run ends with a recorded reason, whatever went wrong
            await self._end_badly(pending, first_of(error))
        if pending.stop_reason:
            journal = pending.journal = pending.journal or await self._open_journal(pending.row)
            await end_cancelled(journal, self._feed, pending.stop_reason)
        if pending.journal is not None and pending.ended:
            log.info("📤 Run finished", event="run_finished", state=str(pending.journal.progress.state))

    @asynccontextmanager
    async def _wall_time(self, pending: PendingRun) -> AsyncGenerator[asyncio.Timeout]:
        """Bound the time that a run is at work, waiting for its person not counted."""
        began = self._clock.monotonic()
        pending.rested = 0.0
        try:
            async with asyncio.timeout(max(0.0, self._deadline - pending.worked)) as limit:
                yield limit
        finally:
            pending.worked += self._clock.monotonic() - began - pending.rested

    def _rest(self, pending: PendingRun, limit: asyncio.Timeout, resting: bool) -> None:
        """A call of the run begins or ends to wait for the person on its open connection."""
        now = asyncio.get_running_loop().time()
        if resting and not pending.resting:
            pending.paused = (now, limit.when() or now)
            limit.reschedule(None)
            self._places.rest(pending)
            self._fill()
        elif not resting and pending.resting:
            began, end = pending.paused
            pending.rested += now - began
            pending.resting = False
            limit.reschedule(end + now - began)

    async def _end_badly(self, pending: PendingRun, error: Exception) -> None:
        if isinstance(error, (Superseded, StorageFull, StorageUnavailable)):
            raise error
        if pending.journal is not None:
            await end_badly(pending.journal, self._feed, error)
            return
        if not isinstance(error, (InvalidTransition, CodecError)):
            raise error
        # Its events cannot be read as a run: it ends here, or every start would stumble over it again.
        row = pending.row
        log.error("❌ The events of a run cannot be read", event="internal_error", exception=error)
        taken = happened.run_resumed(row.conversation_id, run_id=row.id)
        reason = "The history of this run cannot be read."
        failed = happened.run_failed(
            row.conversation_id, run_id=row.id, usage=NOTHING, code="internal_error", reason=reason
        )
        await self._store.append((taken, failed) if row.state is not RunState.QUEUED else (failed,))

    async def _open_journal(self, row: RunRow) -> Journal:
        progress = RunProgress(row.id, self._max_turns)
        after = row.first_seq - 1
        while row.state is not RunState.QUEUED and (
            events := await self._store.read(row.conversation_id, after=after, limit=2000)
        ):
            progress = fold_run(row.id, events, self._max_turns, progress)
            after = events[-1].seq
        return Journal(row, progress, self._store, self._feed, self._secret)

    async def _wait_for_storage(self, pending: PendingRun, code: str) -> None:
        """The disk is full or away: the run is not lost, it goes on (or is stopped) when writing works again."""
        log.error("❌ The history cannot be written; the run waits", event="history_store_failed", code=code)
        wait = min(2.0**pending.tries, LONGEST_STORAGE_WAIT)
        rows: tuple[RunRow, ...] | None = None
        while rows is None and not self.draining:
            try:
                await self._clock.sleep(wait)
                rows = await self._store.runs(RunFilter(run_id=pending.row.id))
            except StorageUnavailable:
                wait = min(wait * 2, LONGEST_STORAGE_WAIT)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
        if rows and not rows[0].state.ended and not self.draining:
            again = PendingRun(rows[0], pending.origin, stop_reason=pending.stop_reason, tries=pending.tries + 1)
            self._places.put(again, first=True)
            pending.replaced = True

    # --- stopping ----------------------------------------------------------------------------------------------

    async def stop(self, conversation_id: str, run_id: str | None = None, *, queued: bool = False) -> str | None:
        """Cancel the active run (or the named one, also when it is queued) and wait until that is recorded.

        With ``queued`` the waiting runs of the conversation are cancelled first. Returns the id of the run that was
        stopped, None when there was nothing to stop. Raises `StorageUnavailable` when the end could not be recorded
        now; it is as soon as writing works again.
        """
        dropped = await self._drop(conversation_id, None if queued else run_id) if queued or run_id else None
        pending = self._places.at_work.get(conversation_id)
        if pending is None or self._group is None or run_id not in {None, pending.row.id} or pending.ended:
            return dropped
        pending.stop_reason = pending.stop_reason or STOPPED
        if pending.task is None:  # it waits for its person; to end it needs no free place
            pending.resting = False
            self._begin(pending, self._group)
        task = pending.task
        assert task is not None  # noqa: S101 - begun just now
        if pending.begun:  # a task that was cancelled before its first step would never leave its place
            task.cancel()
        await asyncio.wait([task])
        if not pending.ended:
            raise StorageUnavailable
        return pending.row.id

    async def _drop(self, conversation_id: str, run_id: str | None) -> str | None:
        """Cancel waiting runs; returns the last of them."""
        gone = self._places.withdraw(conversation_id, run_id)
        while gone:
            journal = await self._open_journal(gone[0].row)
            try:
                await end_cancelled(journal, self._feed, STOPPED)
            except (StorageFull, StorageUnavailable):
                for pending in reversed(gone):
                    self._places.put(pending, first=True)
                self._fill()
                raise
            dropped = gone.pop(0)
            if not gone:
                return dropped.row.id
        return None

    def forget(self, conversation_id: str) -> None:
        """Keep nothing in memory of a conversation that is erased."""
        self._worker.forget(conversation_id)

    async def drain(self, grace: float, last: float) -> None:
        """Start nothing new; let running turns end within ``grace`` seconds, then park what is left.

        What does not react to being parked within ``last`` seconds is left to be found unresolved at the next start.
        """
        self.draining = True
        tasks = [pending.task for pending in self._places.at_work.values() if pending.task is not None]
        for pending in self._places.at_work.values():
            if pending.journal is not None:
                pending.journal.parked = True
            if pending.resting and pending.task is not None:
                pending.task.cancel()  # it waits for a person, who will not come within the grace
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=last)


def _nobody_to_ask(run: Journal) -> bool:  # noqa: ARG001
    return False


def _nobody_to_tell(asked: Sequence[Event]) -> None:  # noqa: ARG001
    return
