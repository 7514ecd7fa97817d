"""Moving the write-ahead log into the file, in a thread and with a connection of its own.

A checkpoint takes as long as several groups. Made beside the writer it holds nobody up; but while writes keep coming
the log cannot begin anew, so once it is `LONGEST_LOG` pages long the writer makes one itself, of the few pages that
are left, and the next write begins at the log's start.

SQLite's own automatic checkpoints are replaced by these because they hide a failed fsync.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import apsw

from tom.sqlite.connection import CHECKPOINT_PAGES
from tom.telemetry import logs

log = logs.get("history")

LONGEST_LOG = 12 * CHECKPOINT_PAGES
"""Pages; 48 MiB, below ``journal_size_limit``."""


class Checkpoints:
    """When and where the checkpoints of one file are made. Used by the writer's thread."""

    def __init__(
        self, name: str, connect: Callable[[], apsw.Connection], explain: Callable[[Exception], object]
    ) -> None:
        """``connect`` opens the file once more for writing; ``explain`` is told of every error."""
        self._connect = connect
        self._explain = explain
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"checkpoint {name}")
        self._under_way: Future[None] | None = None
        self._connection: apsw.Connection | None = None
        self._pages = 0
        self._beside_at = CHECKPOINT_PAGES
        self._inline_at = LONGEST_LOG

    def watch(self, connection: apsw.Connection) -> None:
        """Count the log's pages after each commit of the writer's ``connection``."""

        def count(_connection: apsw.Connection, _name: str, pages: int) -> int:
            if pages < self._pages:
                self._beside_at, self._inline_at = CHECKPOINT_PAGES, LONGEST_LOG
            self._pages = pages
            return apsw.SQLITE_OK

        connection.set_wal_hook(count)

    def after_commit(self, connection: apsw.Connection) -> None:
        """Begin or make a checkpoint if one is due; called when the commit has been answered."""
        if self._pages >= self._inline_at:
            self._inline_at = self._pages + CHECKPOINT_PAGES
            self.finish()
            self._make(connection)
        elif self._pages >= self._beside_at and (self._under_way is None or self._under_way.done()):
            self._beside_at = self._pages + CHECKPOINT_PAGES
            self._under_way = self._threads.submit(self._beside)

    def close(self) -> None:
        """Finish what is under way."""
        self._threads.shutdown()
        self._drop()

    def finish(self) -> None:
        """Wait for the checkpoint that is under way: SQLite makes one at a time, and refuses a second at once."""
        if self._under_way is not None:
            self._under_way.result()

    def _beside(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
        except apsw.Error as error:
            self._failed(error)
        else:
            self._make(self._connection)

    def _make(self, connection: apsw.Connection) -> None:
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._explain(error)
        log.warning("⚠️ The write-ahead log could not be checkpointed", event="checkpoint_failed", error=error)
        self._drop()

    def _drop(self) -> None:
        """Let go of the own connection, which may be broken; the next checkpoint opens another."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None
