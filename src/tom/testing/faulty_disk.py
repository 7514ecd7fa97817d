"""A disk that fails when it is told to: a VFS of SQLite's that lies between the database and the real one."""

import itertools
from collections.abc import Buffer, Callable

import apsw

_numbers = itertools.count(1)

FAILED_SYNC = apsw.SQLITE_IOERR_FSYNC
FAILED_WRITE = apsw.SQLITE_IOERR_WRITE
FAILED_READ = apsw.SQLITE_IOERR_READ
FULL = apsw.SQLITE_FULL
CANNOT_OPEN = apsw.SQLITE_CANTOPEN


class FaultyDisk(apsw.VFS):
    """Open a database with ``vfs=disk.name``. ``rule`` decides about every operation; without one, all goes well.

    A rule gets the operation (``open``, ``read``, ``write``, ``sync``) and the file's suffix (``""`` for the
    database, ``-wal`` for its log) and returns an SQLite result code to fail with, or None. ``syncs`` counts.
    """

    def __init__(self) -> None:
        """Register under a fresh name."""
        self.name = f"faulty-{next(_numbers)}"
        self.rule: Callable[[str, str], int | None] | None = None
        self.syncs = 0
        super().__init__(self.name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open one of the database's files."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        suffix = "-wal" if path.endswith("-wal") else ""
        self.check("open", suffix)
        return _File(self, suffix, name, flags)

    def check(self, operation: str, suffix: str) -> None:
        """Fail if the rule says so."""
        if operation == "sync":
            self.syncs += 1
        code = self.rule(operation, suffix) if self.rule else None
        if code is not None:
            raise apsw.exception_for(code)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, suffix: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._suffix = suffix
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._disk.check("read", self._suffix)
        return super().xRead(amount, offset)

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.check("write", self._suffix)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.check("sync", self._suffix)
        super().xSync(flags)
