"""What an agent leaves behind when it is killed: its services' processes, which fall to the zygote.

The zygote is their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): a process whose parent has died becomes its child
instead of init's. A service that takes the end of its standard input as a sign has `GRACE_SECONDS` to end by itself,
then its whole process group is killed. Linux only, as the zygote is.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

GRACE_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36


class Orphans:
    """Processes of agents that are gone. A number stays theirs until the zygote has reaped them."""

    def __init__(self) -> None:
        """None yet; from now on they come to this process."""
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._until: dict[int, float] = {}

    def look(self, agents: set[int], now: float) -> None:
        """Find those that came since the last look, and end those whose time is over."""
        children = _children()
        self._until = {pid: self._until.get(pid, now + GRACE_SECONDS) for pid in children - agents}
        for pid, until in self._until.items():
            if until <= now:
                self._kill(pid)

    def kill_all(self) -> None:
        """End all of them now."""
        for pid in self._until:
            self._kill(pid)

    def wait(self, now: float) -> float | None:
        """Seconds until somebody's time is over; None when there is nobody."""
        return max(0.0, min(self._until.values()) - now) if self._until else None

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == pid:  # it leads a group of its own, so the group is of its making
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)


def _children() -> set[int]:
    """The processes whose parent is this one; none where the kernel does not list them."""
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except OSError:
        return set()
