"""What lies beside the database: the audit key, and the head (count and hash of the last row).

The head is written after each commit and fsynced daily and at stop: rows that are cut off at the end of the chain are missed by
it. It has a mac of its own. Whoever holds database, key and head at once can make another history: keep copies of the
head elsewhere.
"""

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tom.audit.rows import GENESIS, mac_of, same

KEY: Final = "audit.key"
HEAD: Final = "audit.head"
_KEY_BYTES: Final = 32
_LENGTH: Final = 512
"""The head always has this length: it is written over in place."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain went when the head was written; ``hash`` is the last row's."""

    count: int
    hash: str = GENESIS
    mac: str = ""

    def is_signed(self, key: bytes) -> bool:
        """Whether it was written with this key."""
        return same(self.mac, mac_of(key, "head", self.count, self.hash))


class HeadFile:
    """The file that holds the head. Used by one event loop; `sync` may run in a thread."""

    def __init__(self, directory: Path, key: bytes) -> None:
        """``directory`` is the database's; nothing is opened before the first `write`."""
        self._path = directory / HEAD
        self._key = key
        self._descriptor = -1

    def write(self, count: int, last: str) -> None:
        """Say that the chain has ``count`` rows and ends with the hash ``last``. OSError when the disk does not take it."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        line = f"{count} {last} {mac_of(self._key, 'head', count, last)}"
        os.pwrite(self._descriptor, line.ljust(_LENGTH - 1).encode() + b"\n", 0)

    def sync(self) -> None:
        """Put on disk what was written. OSError when the disk does not take it."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Put it on disk and let go. Idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
            os.close(descriptor)


def read_head(directory: Path) -> Head | None:
    """The head beside a database, None when there is none. ValueError when it cannot be read."""
    try:
        text = (directory / HEAD).read_text("ascii", errors="replace")
    except FileNotFoundError:
        return None
    parts = text.split()
    if len(parts) != 3 or not parts[0].isdigit():
        raise ValueError("audit.head cannot be read")
    return Head(int(parts[0]), parts[1], parts[2])


def read_key(directory: Path) -> bytes | None:
    """The audit key beside a database, None when there is none, or what is there is no key."""
    try:
        key = bytes.fromhex((directory / KEY).read_text("ascii", errors="replace").strip())
    except (FileNotFoundError, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def make_key(directory: Path) -> bytes:
    """A new audit key, mode 0600, on disk before it is used. What was there under its name is kept as ``.old``."""
    path = directory / KEY
    if path.exists():
        path.replace(path.with_name(f"{KEY}.old"))
    key = secrets.token_bytes(_KEY_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, key.hex().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(directory)
    return key


def sync_directory(directory: Path) -> None:
    """Put a directory's entries on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
