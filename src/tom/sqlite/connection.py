"""A connection, set up as every file of Tom is, and checked to be so."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import apsw

from tom.errors import OperatorError, StorageUnavailable

OLDEST_SQLITE = (3, 51, 3)
"""Builds before this one can corrupt a WAL file that two connections write."""

CHECKPOINT_PAGES = 1000
BUSY_MILLISECONDS = 5000

NORMAL, FULL = 1, 2
"""Values of ``PRAGMA synchronous``."""

_READER_PRAGMAS: Mapping[str, int] = {
    "busy_timeout": BUSY_MILLISECONDS,
    "mmap_size": 0,
    "foreign_keys": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "temp_store": 2,
    "cache_size": -2048,
    "query_only": 1,
}

_WRITER_PRAGMAS: Mapping[str, int | str] = {
    "busy_timeout": BUSY_MILLISECONDS,
    "journal_mode": "wal",
    "mmap_size": 0,
    "foreign_keys": 1,
    "secure_delete": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "wal_autocheckpoint": CHECKPOINT_PAGES,
    "journal_size_limit": 67_108_864,
    "temp_store": 2,
    "cache_size": -8192,
    "synchronous": FULL,
}

_ON_MACOS: Mapping[str, int] = {"fullfsync": 1, "checkpoint_fullfsync": 1}


def check_version(found: str | None = None) -> None:
    """Refuse an SQLite that may corrupt files. Raises `OperatorError` naming it."""
    found = found or apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")[:3]) < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise OperatorError(f"SQLite {found} is too old: it can corrupt a database. {wanted} or newer is needed.")


def create_private(path: Path) -> None:
    """Make sure that the file exists and is its owner's alone.

    Only before SQLite has it open: closing any descriptor of a file drops this process's POSIX locks on it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def connect(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open for writing without changing a byte: what is in the file may yet be refused."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    _harden(connection)
    # A checkpoint at closing would hide a failed fsync, and would touch a file that is refused.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def set_up_writer(connection: apsw.Connection, *, platform: str = sys.platform) -> None:
    """Apply the PRAGMAs and read each of them back. Raises `StorageUnavailable` naming one that does not hold."""
    _apply(connection, {**_WRITER_PRAGMAS, **(_ON_MACOS if platform == "darwin" else {})})


def connect_reader(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open read-only. Such a connection never blocks the writer."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    _harden(connection)
    _apply(connection, _READER_PRAGMAS)
    return connection


def _harden(connection: apsw.Connection) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)


def _apply(connection: apsw.Connection, pragmas: Mapping[str, int | str]) -> None:
    for name, value in pragmas.items():
        connection.pragma(name, value)
        if (found := connection.pragma(name)) != value:
            raise StorageUnavailable(f"PRAGMA {name} is {found}, not {value}.")
