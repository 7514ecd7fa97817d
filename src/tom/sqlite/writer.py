"""The one thread that writes a file, in groups.

What the event loop asks for in one turn is handed over at once; the thread takes whatever has gathered while it was
committing (at most `GROUP_ROWS` rows) and commits it in one transaction. It never waits for company: alone, a write
is committed alone. One FULL write makes its group FULL; ``synchronous`` changes between transactions only.

A group that fails is rolled back and each write is tried in a transaction of its own, so that only the faulty one
fails. What happens when the file itself fails is said in `recovery.py`.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from queue import SimpleQueue
from typing import Any

import apsw

from tom.errors import StorageUnavailable
from tom.sqlite.checkpoints import Checkpoints
from tom.sqlite.connection import FULL, NORMAL
from tom.sqlite.faults import is_everybodys
from tom.sqlite.recovery import Recovery

GROUP_ROWS = 256

_batch_of = attrgetter("batch")


type Batch = Callable[[apsw.Connection, list[Any]], list[Any]]


@dataclass(slots=True, eq=False)
class Write:
    """One unit of work: ``batch`` is called inside a transaction with it and its neighbours that have the same batch.

    It returns one result for each, and is perhaps called a second time, with one of them alone.
    """

    batch: Batch
    item: Any
    full: bool
    rows: int
    answer: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class Alone:
    """Work that runs between transactions: a checkpoint, or the end. The thread ends after ``last``."""

    work: Callable[[apsw.Connection], Any]
    answer: asyncio.Future[Any]
    last: bool = False


class Writer:
    """Queue, thread and connection of one file."""

    def __init__(self, recovery: Recovery, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Write through ``connection``, answering on ``loop``. Starts the thread."""
        self._recovery = recovery
        self._connection = connection
        self._loop = loop
        self._gathered: list[Write | Alone] = []
        self._queue: SimpleQueue[list[Write | Alone]] = SimpleQueue()
        self._synchronous = FULL
        self._checkpoints = Checkpoints(recovery.name, recovery.connect, recovery.explain)
        self._rollback_watchers: list[Callable[[], None]] = []
        self._checkpoints.watch(connection)
        self._thread = threading.Thread(target=self._run, name=f"writer {recovery.name}", daemon=True)
        self._thread.start()

    # --- on the event loop ----------------------------------------------------------------------------------------

    def write(self, batch: Batch, item: Any, *, full: bool, rows: int) -> asyncio.Future[Any]:
        """Ask for a write; the answer comes after the commit that covers it."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._gather(Write(batch, item, full, rows, answer))
        return answer

    def alone(self, work: Callable[[apsw.Connection], Any], *, last: bool = False) -> asyncio.Future[Any]:
        """Ask for work between transactions, after everything that was asked for before."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._gather(Alone(work, answer, last))
        return answer

    def after_rollback(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` in the writer's thread whenever work has run and its rows are not in the file."""
        self._rollback_watchers.append(watcher)

    @property
    def given_up(self) -> bool:
        """Whether an fsync has failed: nothing is written any more."""
        return self._recovery.given_up

    @property
    def lost(self) -> bool:
        """Whether the last write found the file unusable."""
        return self._recovery.broken

    def _gather(self, asked: Write | Alone) -> None:
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(asked)

    def _hand_over(self) -> None:
        self._queue.put(self._gathered)
        self._gathered = []

    # --- in the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        backlog: deque[Write | Alone] = deque()
        while True:
            if not backlog:
                backlog.extend(self._queue.get())
            while not self._queue.empty():
                backlog.extend(self._queue.get())
            first = backlog[0]
            if isinstance(first, Alone):
                backlog.popleft()
                self._run_alone(first)
                if first.last:
                    return
            else:
                self._commit(_take_group(backlog))
                self._checkpoints.after_commit(self._connection)

    def _run_alone(self, asked: Alone) -> None:
        if asked.last:
            self._checkpoints.close()
        self._checkpoints.finish()
        try:
            result = asked.work(self._connection)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            self._answer([(asked.answer, None, self._recovery.explain(error))])
        else:
            self._answer([(asked.answer, result, None)])

    def _commit(self, group: list[Write]) -> None:
        if self._recovery.given_up:
            self._refuse(group, StorageUnavailable())
            return
        try:
            results = self._transaction(group)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            self._failed(group, error)
        else:
            self._recovery.works()
            self._answer([(write.answer, result, None) for write, result in zip(group, results, strict=True)])

    def _transaction(self, group: list[Write]) -> list[Any]:
        connection = self._connection
        wanted = FULL if any(write.full for write in group) else NORMAL
        if wanted != self._synchronous:
            connection.pragma("synchronous", wanted)
            self._synchronous = wanted
        connection.execute("BEGIN IMMEDIATE")
        try:
            results: list[Any] = []
            for batch, writes in groupby(group, _batch_of):
                results += batch(connection, [write.item for write in writes])
            connection.execute("COMMIT")
        except Exception:
            self._rolled_back()
            raise
        return results

    def _rolled_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(apsw.Error):  # the first error is the one that counts
                self._connection.execute("ROLLBACK")
        for watcher in self._rollback_watchers:
            watcher()

    def _failed(self, group: list[Write], error: Exception) -> None:
        if not is_everybodys(error) and len(group) > 1:
            for write in group:
                self._commit([write])
            return
        recovered = self._recovery.again(error, self._reopen, lambda: self._transaction(group))
        if recovered.fault is not None:
            self._failed(group, recovered.fault)
        elif recovered.error is None:
            self._answer([(write.answer, result, None) for write, result in zip(group, recovered.results, strict=True)])
        else:
            self._refuse(group, recovered.error)

    def _reopen(self) -> None:
        with contextlib.suppress(apsw.Error):
            self._connection.close(force=True)
        self._connection = self._recovery.connect()
        self._synchronous = FULL
        self._checkpoints.watch(self._connection)

    def _refuse(self, group: list[Write], error: Exception) -> None:
        self._answer([(write.answer, None, error) for write in group])

    def _answer(self, answers: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, answers)


def one_by_one(connection: apsw.Connection, works: list[Any]) -> list[Any]:
    """The batch of works that have nothing in common."""
    return [work(connection) for work in works]


def _take_group(backlog: deque[Write | Alone]) -> list[Write]:
    group: list[Write] = []
    rows = 0
    while backlog and isinstance(first := backlog[0], Write) and (not group or rows + first.rows <= GROUP_ROWS):
        group.append(first)
        rows += first.rows
        backlog.popleft()
    return group


def _settle(answers: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
    for answer, result, error in answers:
        if answer.done():  # whoever waited was cancelled
            continue
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)
