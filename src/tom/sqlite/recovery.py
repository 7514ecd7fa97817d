"""What is done when a file cannot be written.

- A failed fsync ends the process: what the disk was given may be gone, and asking again would answer "done".
- A full disk, a lock that is not released, a damaged file: the write is refused, reading goes on, the next is tried.
- Any other I/O error: the file is opened anew, in up to three tries (at once, after 1 s, after 2 s more), and the
  writes are tried again at most twice. Then they are refused; until the file works again, later ones get one try.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apsw

from tom.clock import Clock
from tom.errors import StorageUnavailable
from tom.sqlite.faults import explained, is_failed_sync, is_lost
from tom.telemetry import logs

log = logs.get("history")

EXIT_STATUS = 74
"""EX_IOERR of sysexits.h."""

REOPEN_TRIES = 3
MOST_REPETITIONS = 2
LONGEST_WAIT = 10.0


def end_process() -> None:
    """Write the log and end, without any clean-up that might say "stored"."""
    logs.flush()
    os._exit(EXIT_STATUS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``results`` of the repeated work, or the ``error`` it is refused with.

    ``fault``: the file works again, but the work has a fault of its own.
    """

    results: list[Any] = field(default_factory=list[Any])
    error: Exception | None = None
    fault: Exception | None = None


class Recovery:
    """Used by the writer's thread only."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], apsw.Connection],
        *,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        on_fatal: Callable[[], None],
    ) -> None:
        """``connect`` opens the file ``name`` for writing; waiting is done on ``clock``."""
        self.name = name
        self.connect = connect
        self.given_up = False
        self._clock = clock
        self._loop = loop
        self._on_fatal = on_fatal
        self._broken = False

    @property
    def broken(self) -> bool:
        """Whether the file could not be written when it was last tried; readable from any thread."""
        return self._broken or self.given_up

    def explain(self, error: Exception) -> Exception:
        """The error for whoever asked. A failed fsync ends the process here."""
        if is_failed_sync(error):
            self.given_up = True
            log.error(
                "❌ The disk did not take what was written (fsync failed); ending", event="fsync_failed", error=error
            )
            self._on_fatal()
        return explained(error, self.name)

    def works(self) -> None:
        """A write was committed in the ordinary way."""
        self._broken = False

    def again(self, error: Exception, reopen: Callable[[], None], work: Callable[[], list[Any]]) -> Outcome:
        """Get the work done after ``error``, or say with which error it is refused."""
        explanation = self.explain(error)
        if self.given_up or not is_lost(error):
            return Outcome(error=explanation)
        log.warning("⚠️ Writing failed; opening the file again", event="storage_lost", file=self.name, error=error)
        repetitions = 0
        for attempt in range(1 if self._broken else REOPEN_TRIES):
            if repetitions == MOST_REPETITIONS:
                break
            self._wait(attempt)
            try:
                reopen()
                repetitions += 1
                results = work()
            except Exception as failed:  # noqa: BLE001 - whoever asked is told
                explanation = self.explain(failed)
                if self.given_up:
                    return Outcome(error=explanation)
                if not is_lost(failed):
                    return Outcome(fault=failed)
            else:
                self.works()
                return Outcome(results)
        self._broken = True
        log.error("❌ The file cannot be written", event="storage_unavailable", file=self.name, error=error)
        return Outcome(error=explanation if isinstance(explanation, StorageUnavailable) else StorageUnavailable())

    def _wait(self, attempt: int) -> None:
        if attempt:
            seconds = min(2.0 ** (attempt - 1), LONGEST_WAIT)
            asyncio.run_coroutine_threadsafe(_sleep(self._clock, seconds), self._loop).result()


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
