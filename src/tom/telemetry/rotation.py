"""A log file that only its owner can read and that starts anew when it has grown: ``tom.log``, ``tom.log.1``, …."""

import os
from pathlib import Path


class RotatingFile:
    """Appends lines; at ``max_bytes`` the file becomes ``.1``, older ones move up, ``keep`` old ones stay."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Open ``path`` for appending with mode 0600; OSError when that is impossible."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def write(self, text: str) -> None:
        """Append whole lines; OSError when the disk refuses."""
        line = text.encode(errors="backslashreplace")
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        self._size += os.write(self._descriptor, line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    def _rotate(self) -> None:
        os.close(self._descriptor)
        if self._keep:
            for number in range(self._keep, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    older.replace(self._numbered(number))
        else:
            self._path.unlink(missing_ok=True)
        self._descriptor = self._open()
        self._size = 0

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
