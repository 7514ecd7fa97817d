"""The two ends of a child's pipes, read and written when the event loop says that it can be done.

Opened and closed at once and without waiting, so that nothing can be left half open by a cancellation; the event
loops' own pipe transports cannot promise that.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable

_READ_SIZE = 256 * 1024
_MUCH = 64 * 1024
_LITTLE = 16 * 1024


class Inflow:
    """Bytes that the child writes. Owns its descriptor."""

    def __init__(self, descriptor: int, heard: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        """Call ``heard`` with what comes, and ``ended`` once when no more will."""
        self._descriptor = descriptor
        self._heard = heard
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._reading = True
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def read_on(self, *, wanted: bool) -> None:
        """Stop reading, so that the child has to wait, or go on."""
        if self._is_open and self._reading != wanted:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._descriptor, self._read)
            else:
                self._loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Let go; ``ended`` is not called."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _read(self) -> None:
        try:
            written = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            written = b""
        if written:
            self._heard(written)
        elif self._is_open:
            self.close()
            self._ended()


class Outflow:
    """Bytes for the child. Owns its descriptor. ``writable`` is set while not much is waiting."""

    def __init__(self, descriptor: int, broken: Callable[[], None]) -> None:
        """Call ``broken`` once when the child no longer reads."""
        self.writable = asyncio.Event()
        self.writable.set()
        self.waiting = 0
        self._descriptor = descriptor
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[memoryview] = deque()
        self._is_open = True
        self._closing = False
        os.set_blocking(descriptor, False)

    def write(self, piece: bytes) -> None:
        """Write now what the pipe takes, and the rest when it takes more."""
        if not self._is_open or self._closing:
            return
        self._pieces.append(memoryview(piece))
        self.waiting += len(piece)
        if len(self._pieces) == 1:
            self._write()
            if self._is_open and self._pieces:
                self._loop.add_writer(self._descriptor, self._write)
        if self.waiting > _MUCH:
            self.writable.clear()

    def close(self) -> None:
        """Let go when everything has been written."""
        self._closing = True
        if not self._pieces:
            self.abort()

    def abort(self) -> None:
        """Let go now."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._pieces.clear()
            self.waiting = 0
            self.writable.set()

    def _write(self) -> None:
        while self._pieces:
            try:
                written = os.write(self._descriptor, self._pieces[0])
            except BlockingIOError:
                break
            except OSError:
                self.abort()
                self._broken()
                return
            self.waiting -= written
            if written == len(self._pieces[0]):
                self._pieces.popleft()
            else:
                self._pieces[0] = self._pieces[0][written:]
        if not self._pieces:
            self._loop.remove_writer(self._descriptor)
            if self._closing:
                self.abort()
        if self.waiting < _LITTLE:
            self.writable.set()


def three_pipes() -> tuple[list[int], list[int]]:
    """Pipes for a child's stdin, stdout and stderr: the child's ends, and ours. Raises OSError."""
    theirs: list[int] = []
    ours: list[int] = []
    try:
        for stream in range(3):
            reading, writing = os.pipe()
            theirs.append(writing if stream else reading)
            ours.append(reading if stream else writing)
    except OSError:
        close_all(theirs + ours)
        raise
    return theirs, ours


def close_all(descriptors: Iterable[int]) -> None:
    """Close each."""
    for descriptor in descriptors:
        os.close(descriptor)
