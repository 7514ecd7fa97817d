"""Reading beside the writer: a few threads, each with a read-only connection that sees the last commit."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import apsw

from tom.sqlite.faults import explained, is_everybodys

READERS = 2


class Readers:
    """A pool of read-only connections of one file, opened when they are first needed."""

    def __init__(self, name: str, connect: Callable[[], apsw.Connection], threads: ThreadPoolExecutor) -> None:
        """``connect`` opens the file ``name`` read-only; ``threads`` has `READERS` of them."""
        self._name = name
        self._connect = connect
        self._threads = threads
        self._idle: deque[apsw.Connection] = deque()

    async def read[T](self, work: Callable[[apsw.Connection], T]) -> T:
        """Run ``work`` with a connection of its own. Raises `StorageUnavailable` when the file cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._serve, work)

    def _serve[T](self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                result = work(connection)
            except BaseException as error:
                if is_everybodys(error) if isinstance(error, Exception) else True:
                    connection.close(force=True)
                else:
                    self._idle.append(connection)
                raise
        except apsw.Error as error:
            raise explained(error, self._name) from error
        self._idle.append(connection)
        return result

    def close(self) -> None:
        """End the threads and close the connections; reads that are under way are finished first."""
        self._threads.shutdown()
        while self._idle:
            self._idle.pop().close(force=True)
