"""The bounded queue between those who log and the one thread that writes. Putting a record never blocks."""

import contextlib
import sys
import threading
import time
from collections import deque
from typing import Protocol

from tom.telemetry.line import INFO, WARNING, Record
from tom.telemetry.rotation import RotatingFile

LIMIT = 10_000


class Line(Protocol):
    """How a record becomes text."""

    def render(self, record: Record) -> str:
        """The line without its newline."""
        ...


class Writer:
    """Writes records to stderr and a file, in order, from one thread that starts with the first record.

    Full queue: the oldest DEBUG or INFO record goes, then the oldest of all; how many went is itself logged.
    """

    def __init__(self, line: Line, *, file: RotatingFile | None = None, threaded: bool = True, user: str) -> None:
        """``threaded=False`` writes in the caller's thread: for a process that is going to fork."""
        self._line = line
        self._file = file
        self._threaded = threaded
        self._user = user
        # Re-entrant: a finaliser or a signal may log while the lock is held by the same thread.
        self._wake = threading.Condition(threading.RLock())
        self._low: deque[tuple[int, Record]] = deque()
        self._high: deque[tuple[int, Record]] = deque()
        self._number = 0
        self._written = 0
        self._dropped = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def put(self, record: Record) -> None:
        """Take a record; returns at once."""
        if not self._threaded:
            self._write([record])
            return
        with self._wake:
            if len(self._low) + len(self._high) >= LIMIT:
                (self._low or self._high).popleft()
                self._dropped += 1
            self._number += 1
            (self._low if record.level <= INFO else self._high).append((self._number, record))
            if self._thread is None and not self._start():
                self._write(self._take())
                return
            self._wake.notify()

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until everything put so far is written; False when that took longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._wake:
            target = self._number
            return self._wake.wait_for(
                lambda: self._thread is None or self._written >= target, max(0.0, deadline - time.monotonic())
            )

    def close(self, timeout: float = 2.0) -> None:
        """Write what is queued, for at most ``timeout`` seconds, and end the thread and the file."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        if self._file is not None and (thread is None or not thread.is_alive()):
            file, self._file = self._file, None
            file.close()

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="tom-logs", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or the system has no thread left
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._low or self._high or self._stopping)
                number = self._number
                records = self._take()
                if not records and self._stopping:
                    self._thread = None
                    self._wake.notify_all()
                    return
            self._write(records)
            with self._wake:
                self._written = number
                self._wake.notify_all()

    def _take(self) -> list[Record]:
        if not self._high:
            records = [record for _, record in self._low]
        else:
            records = [record for _, record in sorted((*self._low, *self._high), key=lambda pair: pair[0])]
        self._low.clear()
        self._high.clear()
        if self._dropped:
            text = f"⚠️ {self._dropped} log records were dropped: they came faster than they could be written"
            moment = records[0].moment if records else time.time()
            records.insert(0, Record(moment, WARNING, self._user, "system", text, "log_records_dropped"))
            self._dropped = 0
        return records

    def _write(self, records: list[Record]) -> None:
        text = "".join(f"{self._rendered(record)}\n" for record in records)
        # A log that cannot be written must not end what it reports about.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
            sys.stderr.flush()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.write(text)

    def _rendered(self, record: Record) -> str:
        try:
            return self._line.render(record)
        except Exception as error:  # noqa: BLE001 - one bad record must not end the writer
            return f"a log record of module {record.module!r} could not be rendered: {type(error).__name__}"
