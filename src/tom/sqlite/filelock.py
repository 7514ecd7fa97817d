"""The lock that keeps a file to one process. The kernel releases it when the process ends, however it ends."""

import fcntl
import os
from pathlib import Path

from tom.errors import StoreInUse


class FileLock:
    """``flock`` on ``<file>.lock``, in which the holder's pid is written. Held from construction to `release`."""

    def __init__(self, path: Path) -> None:
        """Take the lock of the database ``path``. Raises `StoreInUse` naming the process that has it."""
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreInUse(f"{path.name} is in use by {by}", pid=holder or None) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go, once. The lock's file stays: removing it would let two processes hold two locks."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
