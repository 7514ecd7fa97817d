"""A service's own process: started by argument vector, spoken to in lines, ended with everything it started.

The child leads a session and process group of its own, so that ending the group ends its children too. It inherits
nothing but the environment it is given.
"""

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from tom.services.cleaning import clean_within
from tom.services.unreachable import Unreachable

LONGEST_LINE = 16 * 1024 * 1024
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TOM_ALL_DATADIR")

_QUEUED_LINES = 1000
_QUEUED_BYTES = 4 * 1024 * 1024
_STDERR_TAIL = 2048
_LAST_WORDS = 200
_AFTER_EXIT = 0.2
"""Seconds that output may still come after the process has ended: what it wrote last is read, a grandchild that holds
the pipe is not waited for."""

_BEFORE_EXIT = 0.05
"""Seconds that the exit status may come after the pipes have closed: it says more than that they have."""

_POLL = 0.01
_KILL_TAKES = 1.0
_PIPES_CLOSE = 1.0


@dataclass(frozen=True, slots=True)
class Command:
    """What is started. ``environment`` is all the child gets; ``cwd`` empty: where the agent is."""

    program: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str = ""


@dataclass(frozen=True, slots=True)
class Grace:
    """Seconds after the child's input was closed: until its group is asked to end, and until it is made to."""

    terminate: float = 2.0
    kill: float = 5.0


class Child(asyncio.SubprocessProtocol):
    """A started process, leader of the group ``pid``. ``ended`` says why it can no longer be spoken to, None while it can."""

    def __init__(self, grace: Grace) -> None:
        """Use `start`."""
        self.ended: str | None = None
        self.pid = 0
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._stdin: Any = None
        self._stdout: Any = None
        self._lines: deque[bytes] = deque()
        self._queued = 0
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._reading = True
        self._discarding = False
        self._read_out = False
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._exited = asyncio.Event()
        self._lost = asyncio.Event()
        self._complaints = b""
        self.on_end = _nobody

    @classmethod
    async def start(cls, command: Command, grace: Grace | None = None) -> Self:
        """Start the process. Raises `Unreachable` when it cannot be."""
        child = cls(grace or Grace())
        try:
            await child._loop.subprocess_exec(
                lambda: child,
                _found(command),
                *command.arguments,
                env=dict(command.environment),
                cwd=command.cwd or None,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(_why_not_started(command, error)) from None
        except ValueError:
            raise Unreachable(f"Command '{command.program}' has a NUL character in its arguments") from None
        return child

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
        if urgent and not self._writable.is_set() and self._stdin.get_write_buffer_size() > _QUEUED_BYTES:
            return
        if not urgent:
            await self._writable.wait()
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
        if not self._reading and self._queued < _QUEUED_BYTES // 2 and len(self._lines) < _QUEUED_LINES // 2:
            self._read_on(wanted=True)
        return line

    # --- ending --------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Close its input, then SIGTERM, then SIGKILL to the whole group; returns when all of it is gone."""
        self._end("stopped")
        self._discarding = True
        self._read_on(wanted=True)
        try:
            self._stdin.close()
            await self._leave_time_to_end()
        finally:
            if self._group_lives():
                self._signal(signal.SIGKILL)
            self._transport.close()
        await self._group_gone(_KILL_TAKES)
        await self._within(_PIPES_CLOSE, self._lost)

    async def _leave_time_to_end(self) -> None:
        await self._within(self._grace.terminate, self._exited)
        if self._group_lives():
            self._signal(signal.SIGTERM)
            await self._group_gone(max(0.0, self._grace.kill - self._grace.terminate))

    async def _group_gone(self, seconds: float) -> None:
        """Poll, at most ``seconds``, for nobody tells when the last member of a group ends."""
        deadline = self._loop.time() + seconds
        while self._group_lives() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    def _group_lives(self) -> bool:
        if not self._exited.is_set():
            return True
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _has_living_member(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    async def _within(self, seconds: float, event: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    # --- what the event loop reports -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()
        self._stdin = self._transport.get_pipe_transport(0)
        self._stdout = self._transport.get_pipe_transport(1)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        if fd == 2:
            self._complaints = (self._complaints + data)[-_STDERR_TAIL:]
        elif not self._discarding:
            self._split(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        """It closed one of its streams."""
        if fd == 1:
            self._read_out = True
        if fd != 2:
            reason = "it closed its output" if fd == 1 else "it no longer reads"
            self._loop.call_later(_BEFORE_EXIT, self._end, reason)

    def process_exited(self) -> None:
        """It ended; what it wrote last may still be in the pipe."""
        self._exited.set()
        if self._read_out:
            self._end("it ended")
        else:
            self._loop.call_later(_AFTER_EXIT, self._end, "it ended")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Process and pipes are gone."""
        self._lost.set()

    def pause_writing(self) -> None:
        """It does not read as fast as we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable.set()

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
            self._read_on(wanted=False)
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

    def _read_on(self, *, wanted: bool) -> None:
        if self._reading == wanted or self._stdout is None or self._stdout.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._stdout.resume_reading()
        else:
            self._stdout.pause_reading()

    def _end(self, reason: str) -> None:
        if self.ended is not None:
            return
        status = self._transport.get_returncode()
        self.ended = reason if status is None else _how_it_ended(status)
        self._writable.set()
        self._wake_reader()
        self.on_end()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def child_environment(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What a child may see: the few inherited names that are set in ``own``, then those ``given`` to it."""
    inherited = {name: own[name] for name in INHERITED if own.get(name)}
    return {"PATH": os.defpath, **inherited, **given}


def _found(command: Command) -> str:
    """The program's absolute path. Raises `Unreachable` when there is none."""
    program = command.program
    if os.sep in program and not Path(program).is_absolute():
        found = None  # relative to what, would be a guess
    else:
        found = shutil.which(program, path=command.environment.get("PATH", os.defpath))
    if found is None:
        raise Unreachable(f"Command '{program}' not found in PATH")
    return found


def _why_not_started(command: Command, error: OSError) -> str:
    if command.cwd and not Path(command.cwd).is_dir():
        return f"Directory '{command.cwd}' not found"
    return f"Command '{command.program}' could not be started: {error.strerror}"


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"it ended with status {status}"
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was ended by signal {-status}"


def _has_living_member(group: int) -> bool:
    """Whether a process of ``group`` is more than a zombie that init has not collected yet."""
    processes = Path("/proc")
    if not (processes / "self/stat").exists():
        return True
    for entry in processes.iterdir():
        if entry.name.isdigit():
            try:
                state, _parent, member_of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(member_of) == group and state not in {"Z", "X"}:
                return True
    return False


def _nobody() -> None:
    """Nobody has asked to hear of the end."""
