"""Unix sockets at paths of any length.

The kernel's address field holds 107 bytes; a data directory may lie deeper. A longer path is reached through an open
descriptor of its directory: ``/proc/self/fd/<n>/<name>`` is short and names the same file, in this process only.
"""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LONGEST_PLAIN_PATH = 100
BACKLOG = 256


class SocketDirectory:
    """A private (0700) directory of Unix sockets, reachable however long its path is, until `close`."""

    def __init__(self, path: Path) -> None:
        """Make the directory where it is missing. Raises PermissionError if others could enter it."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} can be entered by others; run: chmod 700 {path}")
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def address(self, name: str) -> str:
        """What to bind or connect to for the socket ``name``, in this process."""
        plain = str(self.path / name)
        return plain if len(os.fsencode(plain)) <= LONGEST_PLAIN_PATH else f"/proc/self/fd/{self._descriptor}/{name}"

    def listen(self, name: str) -> socket.socket:
        """A listening socket of mode 0600 at ``name``; a file left there by an earlier process is replaced."""
        self.remove(name)
        return _listen(self.address(name))

    def remove(self, name: str) -> None:
        """Remove the socket's file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Give back the descriptor; addresses made from it end to be valid."""
        os.close(self._descriptor)


@contextmanager
def reachable(path: str) -> Generator[str]:
    """An address for one bind or connect to ``path``, valid inside the ``with`` block."""
    if len(os.fsencode(path)) <= LONGEST_PLAIN_PATH:
        yield path
        return
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{Path(path).name}"
    finally:
        os.close(descriptor)


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    earlier = os.umask(0o177)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(earlier)
    listener.setblocking(False)
    return listener
