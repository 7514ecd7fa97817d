"""The warm parent: a program of its own that imports what an agent needs, once, and forks agents on request.

`ProcessSpawner` starts it with ``python -m tom.spawner.zygote <descriptor>`` and speaks to it over that socket (see
`wire.py`). It has one thread and, before a fork, no event loop, database, network socket or secret: the listening
socket and the pipe with the agent's document pass through it unread. When its socket closes it asks its agents to
stop, waits for them and ends.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from tom.spawner import cell, wire
from tom.spawner.immortal import Immortality
from tom.spawner.orphans import Orphans

DRAIN_SECONDS = 32.0
IDLE_BEFORE_LATER_SECONDS = 0.5
SLICE_SECONDS = 0.02
_PAUSE_MILLISECONDS = 5


class Zygote:
    """One warm parent on one socket."""

    def __init__(self, channel: socket.socket) -> None:
        """Serve ``channel``; nothing happens before `run`."""
        self._channel = channel
        self._children: set[int] = set()
        self._orphans = Orphans()
        self._later: list[str] = []
        self._immortality: Immortality | None = None
        self._preparing = True
        self._stopping = False
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Import, serve until the socket closes or SIGTERM comes, drain. Returns the exit status."""
        self._listen_to_signals()
        if not self._warm_up():
            return 1
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(self._woken, select.POLLIN)
        pause = IDLE_BEFORE_LATER_SECONDS * 1000
        while not self._stopping:
            ready = {descriptor for descriptor, _ in poller.poll(self._patience(pause))}
            if self._woken in ready or not ready:
                self._reap()
            if self._channel.fileno() in ready:
                self._serve_one()
                pause = IDLE_BEFORE_LATER_SECONDS * 1000
            elif not ready and self._preparing:
                self._prepare_further()
                pause = _PAUSE_MILLISECONDS
        self._drain()
        return 0

    def _patience(self, pause: float) -> float | None:
        """Milliseconds to wait for something to happen; None: as long as it takes."""
        orphans = self._orphans.wait(time.monotonic())
        waits = ([pause] if self._preparing else []) + ([] if orphans is None else [orphans * 1000 + 1])
        return min(waits, default=None)

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._note_child)
        signal.signal(signal.SIGTERM, self._note_end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _note_child(self, *_: object) -> None:
        """Nothing: a signal with a handler wakes the loop through its pipe, an ignored one would not."""

    def _note_end(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopping = True

    def _warm_up(self) -> bool:
        """Import the preload list, so that every agent shares these pages. False: the spawner was told why not."""
        first = wire.receive(self._channel)
        if first is None:
            return False
        began = time.monotonic()
        gc.disable()
        try:
            for name in first[0]["preload"]:
                importlib.import_module(name)
            _refuse_threads()
        except Exception as error:  # noqa: BLE001 - whatever an import raises is the reason to tell
            self._send({"unusable": f"{type(error).__name__}: {error}"})
            return False
        self._later = list(first[0]["later"])
        _freeze()
        self._send({"ready": round((time.monotonic() - began) * 1000)})
        return True

    def _prepare_further(self) -> None:
        """A little of what makes later forks cheaper; a request in between waits for this little only."""
        if self._later:
            self._import_one_more()
            return
        if self._immortality is None:
            self._immortality = Immortality()
        self._preparing = self._immortality.go_on(SLICE_SECONDS)

    def _import_one_more(self) -> None:
        name = self._later.pop(0)
        try:
            importlib.import_module(name)
            _refuse_threads()
        except Exception as error:  # noqa: BLE001 - an agent imports it itself, and then says what is wrong
            print(f"zygote: {name} was not preloaded: {error}", file=sys.stderr)  # noqa: T201 - it has no log
        _freeze()

    def _serve_one(self) -> None:
        received = wire.receive(self._channel)
        if received is None:
            self._stop()
            return
        packet, descriptors = received
        try:
            self._start(packet, descriptors)
        except OSError as error:
            self._send({"refused": packet["start"], "reason": f"fork failed: {error.strerror}"})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _start(self, packet: dict[str, Any], descriptors: list[int]) -> None:
        zygote = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, cell.HELD_BACK)  # one for the child must not meet our handler there
        try:
            pid = os.fork()
            if pid == 0:
                self._channel.detach()  # its number is closed below; the object must not close it a second time
                cell.enter(packet["user"], packet["entry"], descriptors[0], descriptors[1], zygote)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, cell.HELD_BACK)
        self._children.add(pid)
        process = os.pidfd_open(pid)
        try:
            self._send({"started": packet["start"], "pid": pid}, process)
        finally:
            os.close(process)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in self._children:
                    self._children.discard(pid)
                    self._send({"exited": pid, "status": os.waitstatus_to_exitcode(status)})
        self._orphans.look(self._children, time.monotonic())

    def _send(self, packet: dict[str, Any], *descriptors: int) -> None:
        try:
            wire.send(self._channel, packet, descriptors)
        except OSError:
            self._stop()  # the spawner is gone; agents end with it

    def _drain(self) -> None:
        """Ask every agent to stop, wait for them, end those that do not."""
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._children and (left := deadline - time.monotonic()) > 0:
            select.select([self._woken], [], [], left)
            self._reap()
        self._signal_all(signal.SIGKILL)
        self._orphans.look(self._children, time.monotonic())
        self._orphans.kill_all()

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._children:
            os.kill(pid, number)  # not reaped yet, so the number is still that child's


def _freeze() -> None:
    """Keep the collector away from what was imported, so that the pages stay shared after a fork.

    Nothing is collected first: that would leave holes in shared pages, which every agent would fill and so copy.
    """
    gc.freeze()


def _refuse_threads() -> None:
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - threads that Python does not know count as well
    if threads != 1:
        raise RuntimeError(f"importing it started a thread ({threads} run): a fork would lose it")


def main() -> int:
    """Run on the descriptor that the first argument names."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    return Zygote(channel).run()


if __name__ == "__main__":
    sys.exit(main())
