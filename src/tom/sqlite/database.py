"""One SQLite file: the door of this package."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

import apsw

from tom.clock import Clock, SystemClock
from tom.errors import StorageUnavailable
from tom.sqlite.connection import check_version, connect_reader
from tom.sqlite.migrations import load_migrations
from tom.sqlite.readers import READERS, Readers
from tom.sqlite.recovery import Recovery, end_process
from tom.sqlite.source import Opened, Source
from tom.sqlite.writer import Writer, one_by_one


class Database:
    """A file that this process alone writes, used from the event loop that opened it."""

    def __init__(self, source: Source, opened: Opened, writer: Writer, readers: Readers) -> None:
        """Use `open`."""
        self._source = source
        self._opened = opened
        self._writer = writer
        self._readers = readers
        self._ended: asyncio.Future[Any] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        migrations: Traversable,
        clock: Clock | None = None,
        on_fatal: Callable[[], None] = end_process,
        boot_id: str | None = None,
        vfs: str | None = None,
    ) -> Self:
        """Open ``path``, creating or migrating it; its directory exists. ``migrations``: a folder of ``0001_name.sql``.

        ``on_fatal`` is called in the writer's thread after a failed fsync. ``boot_id`` stands for the machine's.
        Raises `StoreInUse`, `StoreTooNew`, `OperatorError` (an SQLite that is too old, a file that is not Tom's),
        `StorageFull`, `StorageUnavailable`.
        """
        check_version()
        clock = clock or SystemClock()
        loop = asyncio.get_running_loop()
        source = Source(path, load_migrations(migrations), clock, boot_id, vfs)
        threads = ThreadPoolExecutor(READERS, thread_name_prefix=f"reader {path.name}")
        try:
            opened = await loop.run_in_executor(threads, source.open)
        except BaseException:
            threads.shutdown(wait=False)
            raise
        readers = Readers(path.name, lambda: connect_reader(path, vfs=vfs), threads)
        recovery = Recovery(path.name, source.reconnect, clock=clock, loop=loop, on_fatal=on_fatal)
        return cls(source, opened, Writer(recovery, opened.connection, loop), readers)

    @property
    def epoch(self) -> str:
        """The random name of the numbering in the file; see `opening.py` for when it changes."""
        return self._opened.opening.epoch

    @property
    def boot_epoch(self) -> int:
        """The number of this opening, from 1."""
        return self._opened.opening.boot_epoch

    @property
    def lost(self) -> bool:
        """Whether the last write found the file unusable; the next that works ends it."""
        return self._writer.lost

    async def write[T](self, work: Callable[[apsw.Connection], T], *, full: bool = True, rows: int = 1) -> T:
        """Run ``work`` in the writer's thread inside a transaction; return what it returned, after the commit.

        ``full``: with fsync. ``rows``: about how many rows it writes; a transaction has at most 256. What ``work``
        raises is raised here, and nothing of it is stored. It may be run twice, so it only writes rows.
        Raises `StorageFull`, `StorageUnavailable`.
        """
        self._check_open()
        return await self._writer.write(one_by_one, work, full=full, rows=rows)

    def write_together[I, R](
        self, batch: Callable[[apsw.Connection, list[I]], list[R]], item: I, *, full: bool = True, rows: int = 1
    ) -> Awaitable[R]:
        """As `write`, for work that is cheaper done for several at once.

        Items that were asked for with the same ``batch`` and share a transaction are handed to it in one call, in
        order; it returns a result for each. If it raises, each item is tried alone in a transaction of its own.
        """
        self._check_open()
        return self._writer.write(batch, item, full=full, rows=rows)

    async def read[T](self, work: Callable[[apsw.Connection], T]) -> T:
        """Run ``work`` with a read-only connection, beside the writer. Raises `StorageUnavailable`."""
        self._check_open()
        return await self._readers.read(work)

    async def truncate(self) -> None:
        """Move the write-ahead log into the file and empty it, so that nothing erased is left in either.

        Raises `StorageUnavailable` where a reader is in the way for longer than the busy timeout.
        """
        self._check_open()
        await self._writer.alone(lambda connection: connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE))

    def after_rollback(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` in the writer's thread whenever rows that ``work`` wrote did not stay."""
        self._writer.after_rollback(watcher)

    async def close(self, *, erase: bool = False) -> None:
        """Finish what was asked for, mark a clean close, checkpoint, release the lock. Idempotent.

        ``erase``: remove the file and what lies beside it, under the lock.
        """
        if self._ended is None:
            self._ended = self._writer.alone(partial(self._finish, erase=erase), last=True)
        await asyncio.shield(self._ended)

    def _finish(self, connection: apsw.Connection, *, erase: bool) -> None:
        self._readers.close()
        self._source.close(connection, self._opened, trusted=not self._writer.given_up, erase=erase)

    def _check_open(self) -> None:
        if self._ended is not None:
            raise StorageUnavailable("The database is closed.")
