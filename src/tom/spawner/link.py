"""The spawner's end of one zygote: starts that program, asks it for agents, hears which of them ended."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tom.errors import AgentFailed
from tom.spawner import wire
from tom.telemetry import logs

log = logs.get("pool")

INHERITED_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TOM_ALL_DATADIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PYTHONDONTWRITEBYTECODE",
)
STATUS_UNKNOWN = -signal.SIGTERM
STOP_SECONDS = 40.0
_CLOSE_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Child:
    """A running agent: its pid, a descriptor that stands for exactly this process, and its end."""

    pid: int
    pidfd: int
    ended: asyncio.Future[int] = field(repr=False)

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it has ended (never somebody else who got its number)."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def end(self, status: int) -> None:
        """Note its exit status and give back the descriptor."""
        if not self.ended.done():
            self.ended.set_result(status)
            os.close(self.pidfd)


class ZygoteLink:
    """One zygote. Made by `launch`; useless once `gone` is set."""

    def __init__(self, channel: socket.socket, program: subprocess.Popen[bytes]) -> None:
        """Speak to ``program`` over ``channel``."""
        self._channel = channel
        self._program = program
        self._asked: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Future[None] | None = None
        self.gone = False
        self.warm_up_milliseconds: int | None = None

    @classmethod
    def launch(cls, preload: Sequence[str], later: Sequence[str]) -> "ZygoteLink":
        """Start the program; it imports while the caller goes on. Needs no event loop. Raises `AgentFailed`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "tom.spawner.zygote", str(theirs.fileno())]
        try:
            program = subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
                command,
                env=environment(os.environ),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise AgentFailed(f"The agents' parent process could not be started: {error.strerror}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        with contextlib.suppress(OSError):
            wire.send(ours, {"preload": list(preload), "later": list(later)})
        return cls(ours, program)

    @property
    def pid(self) -> int:
        """The zygote's pid."""
        return self._program.pid

    async def ready(self, seconds: float) -> None:
        """Wait until it can fork. Raises `AgentFailed` when it cannot, or not in time."""
        self._attach()
        assert self._ready is not None  # noqa: S101 - made by _attach
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise AgentFailed(f"The agents' parent process is not ready after {seconds:g} s") from None

    async def start(self, user: str, entry: str, descriptors: Sequence[int], seconds: float) -> Child:
        """Fork an agent for ``user``; the descriptors stay the caller's. Raises `AgentFailed`."""
        await self.ready(seconds)
        if self.gone:
            raise AgentFailed("The agents' parent process has ended; try again")
        self._number += 1
        number = self._number
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            wire.send(self._channel, {"start": number, "user": user, "entry": entry}, descriptors)
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise AgentFailed(f"The agents' parent process did not answer within {seconds:g} s") from None
        except OSError as error:
            raise AgentFailed(f"The agents' parent process cannot be asked: {error.strerror}") from error
        finally:
            self._asked.pop(number, None)

    async def close(self) -> None:
        """Let the zygote end (it stops agents that are left) and reap it; after a bound it is ended."""
        self._hang_up()
        try:
            await asyncio.to_thread(self._program.wait, STOP_SECONDS if self._children else _CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._program.kill()
            await asyncio.to_thread(self._program.wait, _CLOSE_SECONDS)
        self._lose_everyone()

    def reaped(self) -> bool:
        """Whether the program has ended and left nothing, not even a zombie."""
        return self._program.poll() is not None

    def _hang_up(self) -> None:
        if self._loop is not None and not self.gone:
            self._loop.remove_reader(self._channel)
        self._channel.close()

    def _attach(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._ready = self._loop.create_future()
            self._loop.add_reader(self._channel, self._receive)

    def _receive(self) -> None:
        while not self.gone:
            try:
                received = wire.receive(self._channel)
            except BlockingIOError:
                return
            if received is None:
                self._lost("The agents' parent process has ended")
                return
            self._take(*received)

    def _take(self, packet: dict[str, Any], descriptors: list[int]) -> None:
        assert self._ready is not None  # noqa: S101 - made by _attach, which made us listen
        match packet:
            case {"ready": int(milliseconds)}:
                self.warm_up_milliseconds = milliseconds
                self._ready.set_result(None)
                log.debug(
                    f"🚀 Agents' parent process is warm after {milliseconds} ms", event="zygote.ready", pid=self.pid
                )
            case {"unusable": str(reason)}:
                self._lost(f"The agents' parent process cannot be used: {reason}")
            case {"started": int(number), "pid": int(pid)}:
                self._started(number, pid, descriptors[0])
            case {"refused": int(number), "reason": str(reason)}:
                answer = self._asked.get(number)
                if answer is not None and not answer.done():
                    answer.set_exception(AgentFailed(f"The agent could not be started: {reason}"))
            case {"exited": int(pid), "status": int(status)}:
                child = self._children.pop(pid, None)
                if child is not None:
                    child.end(status)
            case _:
                log.warning("⚠️ The agents' parent process sent an unknown packet", event="zygote.unknown_packet")

    def _started(self, number: int, pid: int, pidfd: int) -> None:
        child = Child(pid, pidfd, asyncio.get_running_loop().create_future())
        self._children[pid] = child
        answer = self._asked.get(number)
        if answer is None or answer.done():
            child.send(signal.SIGKILL)  # nobody waits for it any more, so nobody would ever stop it
        else:
            answer.set_result(child)

    def _lost(self, reason: str) -> None:
        """The zygote is gone. Its agents were told to stop by the kernel: each is watched until it has."""
        if self.gone:
            return
        assert self._loop is not None  # noqa: S101 - set by _attach, which made us listen
        assert self._ready is not None  # noqa: S101
        self._hang_up()
        self.gone = True
        failure = AgentFailed(reason)
        for waiting in (self._ready, *self._asked.values()):
            if not waiting.done():
                waiting.set_exception(failure)
                waiting.exception()  # seen: whether anybody waits is not known here
        for child in self._children.values():
            self._loop.add_reader(child.pidfd, self._orphan_ended, child)

    def _orphan_ended(self, child: Child) -> None:
        assert self._loop is not None  # noqa: S101
        self._loop.remove_reader(child.pidfd)
        self._children.pop(child.pid, None)
        child.end(STATUS_UNKNOWN)

    def _lose_everyone(self) -> None:
        for child in self._children.values():
            if self.gone and self._loop is not None and not child.ended.done():
                self._loop.remove_reader(child.pidfd)
            child.end(STATUS_UNKNOWN)
        self._children.clear()


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What the zygote and its agents inherit of ``ours``: no key, token or setting of Tom's."""
    return {name: ours[name] for name in INHERITED_VARIABLES if name in ours}
