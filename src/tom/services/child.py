"""A service's own process: started by argument vector, spoken to in lines, ended with everything it started.

The child leads a session and process group of its own, so that ending the group ends its children too. It inherits
nothing but the environment it is given. It is started and collected here and not by the event loop, because event
loops differ in what a child inherits and in what a cancelled start leaves behind: here nothing waits.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from tom.services.cleaning import clean_within
from tom.services.command import Command
from tom.services.groups import group_lives, how_it_ended, signal_group
from tom.services.pipes import Inflow, Outflow, close_all, three_pipes
from tom.services.unreachable import Unreachable

LONGEST_LINE = 16 * 1024 * 1024

_QUEUED_LINES = 1000
_QUEUED_BYTES = 4 * 1024 * 1024
_STDERR_TAIL = 2048
_LAST_WORDS = 200
_AFTER_EXIT = 0.2
"""Seconds that output may still come after the process has ended: what it wrote last is read, a grandchild that holds
the pipe is not waited for."""

_BEFORE_EXIT = 0.05
"""Seconds that the exit status may come after the pipes have closed: it says more than that they have."""

_POLL = 0.02
_COLLECT = 0.2
"""Seconds, at most, that the loop waits for a killed process: it is a millisecond unless the kernel holds it."""

_KILL_TAKES = 1.0


@dataclass(frozen=True, slots=True)
class Grace:
    """Seconds after the child's input was closed: until its group is asked to end, and until it is made to."""

    terminate: float = 2.0
    kill: float = 5.0


class Child:
    """A started process, leader of the group ``pid``. ``ended`` says why it can no longer be spoken to, else None."""

    def __init__(self, process: subprocess.Popen[bytes], pipes: list[int], grace: Grace) -> None:
        """Use `start`."""
        self.ended: str | None = None
        self.pid = process.pid
        self.on_end: Callable[[], None] = _nobody
        self._process = process
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._lines: deque[bytes] = deque()
        self._queued = 0
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._discarding = False
        self._read_out = False
        self._reader: asyncio.Future[None] | None = None
        self._exited = asyncio.Event()
        self._complaints = b""
        self._stdin = Outflow(pipes[0], self._no_longer_reads)
        self._stdout = Inflow(pipes[1], self.heard, self._closed_its_output)
        self._stderr = Inflow(pipes[2], self._complained, _nobody)
        self._pidfd: int | None = None
        self._watch()

    @classmethod
    def start(cls, command: Command, grace: Grace | None = None) -> Self:
        """Start the process, which takes a millisecond. Raises `Unreachable` when it cannot be."""
        program = command.found()
        try:
            theirs, ours = three_pipes()
        except OSError as error:
            raise Unreachable(command.why_not(error)) from None
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is the admin's
                [program, *command.arguments],
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                cwd=command.cwd or None,
                env=dict(command.environment),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            close_all(ours)
            raise Unreachable(command.why_not(error)) from None
        finally:
            close_all(theirs)
        return cls(process, ours, grace or Grace())

    @property
    def last_words(self) -> str:
        """The last line it wrote to stderr, cleaned and cut."""
        lines = self._complaints.decode(errors="replace").strip().splitlines()
        return clean_within(lines[-1], _LAST_WORDS) if lines else ""

    # --- speaking ------------------------------------------------------------------------------------------------

    async def send(self, line: bytes, *, urgent: bool = False) -> None:
        """Write one line (with its newline). Waits while the child does not read, unless it is ``urgent``.

        An urgent line is dropped when much is waiting already. Raises ConnectionError when the child has ended.
        """
        if urgent and self._stdin.waiting > _QUEUED_BYTES:
            return
        if not urgent:
            await self._stdin.writable.wait()
        if self.ended is not None:
            raise ConnectionError(self.ended)
        self._stdin.write(line)

    async def receive(self) -> bytes:
        """The next line, without its newline. Raises EOFError when there will be none. For one reader only."""
        while not self._lines:
            if self.ended is not None:
                raise EOFError(self.ended)
            self._reader = self._loop.create_future()
            await self._reader
        line = self._lines.popleft()
        self._queued -= len(line)
        if self._queued < _QUEUED_BYTES // 2 and len(self._lines) < _QUEUED_LINES // 2:
            self._stdout.read_on(wanted=True)
        return line

    # --- ending --------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Close its input, then SIGTERM, then SIGKILL to the whole group; returns when all of it is gone."""
        self._end("stopped")
        self._discarding = True
        self._stdout.read_on(wanted=True)
        try:
            self._stdin.close()
            await self._leave_time_to_end()
        finally:
            self._abandon()
        await self._group_gone(_KILL_TAKES)

    async def _leave_time_to_end(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace.terminate):
                await self._exited.wait()
        if self._lives():
            signal_group(self.pid, signal.SIGTERM)
            await self._group_gone(max(0.0, self._grace.kill - self._grace.terminate))

    async def _group_gone(self, seconds: float) -> None:
        """Poll, at most ``seconds``, for nobody tells when the last member of a group ends."""
        deadline = self._loop.time() + seconds
        while self._lives() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    def _lives(self) -> bool:
        return not self._exited.is_set() or group_lives(self.pid)

    def _abandon(self) -> None:
        """Kill what is left of the group, collect the process, let go of the pipes, all without waiting."""
        if self._lives():
            signal_group(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_COLLECT)
        self._look()
        self._stdin.abort()
        self._stdout.close()
        self._stderr.close()

    # --- what the event loop reports -----------------------------------------------------------------------------

    def _watch(self) -> None:
        """Hear of the process's end: by its descriptor where the kernel has such, else by looking."""
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._look()
        else:
            self._loop.add_reader(self._pidfd, self._look)

    def _look(self) -> None:
        if self._exited.is_set():
            return
        if self._process.poll() is None:
            if self._pidfd is None:
                self._loop.call_later(_POLL, self._look)
            return
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._exited.set()
        if self._read_out:
            self._end("it ended")
        else:  # what it wrote last may still be in the pipe
            self._loop.call_later(_AFTER_EXIT, self._end, "it ended")

    def heard(self, written: bytes) -> None:
        """It wrote something to its stdout."""
        if not self._discarding:
            self._split(written)

    def _complained(self, written: bytes) -> None:
        self._complaints = (self._complaints + written)[-_STDERR_TAIL:]

    def _closed_its_output(self) -> None:
        self._read_out = True
        self._loop.call_later(_BEFORE_EXIT, self._end, "it closed its output")

    def _no_longer_reads(self) -> None:
        self._loop.call_later(_BEFORE_EXIT, self._end, "it no longer reads")

    # -------------------------------------------------------------------------------------------------------------

    def _split(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if not self._keep(piece):
                return
            line = b"".join(self._partial)
            self._partial, self._partial_size = [], 0
            self._lines.append(line)
            self._queued += len(line)
        if self._keep(rest) and (self._queued > _QUEUED_BYTES or len(self._lines) > _QUEUED_LINES):
            self._stdout.read_on(wanted=False)
        if whole:
            self._wake_reader()

    def _keep(self, piece: bytes) -> bool:
        """Keep a piece of a line; False when the line has become too long, which ends the conversation."""
        self._partial.append(piece)
        self._partial_size += len(piece)
        if self._partial_size <= LONGEST_LINE:
            return True
        self._partial, self._partial_size = [], 0
        self._discarding = True
        self._end(f"it sent a line of more than {LONGEST_LINE // 1024 // 1024} MiB")
        return False

    def _end(self, reason: str) -> None:
        if self.ended is not None:
            return
        status = self._process.returncode
        self.ended = reason if status is None else how_it_ended(status)
        self._stdin.writable.set()
        self._wake_reader()
        self.on_end()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _nobody() -> None:
    """Nobody asks."""
