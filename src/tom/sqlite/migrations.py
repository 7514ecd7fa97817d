"""Numbered migrations: ``0001_name.sql``, ``0002_name.sql``, …, forward only, each in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable

import apsw

from tom.clock import Clock, timestamp
from tom.errors import OperatorError, StoreTooNew
from tom.telemetry import logs

log = logs.get("history")

_OWN_TABLES = """
CREATE TABLE schema_version (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;
CREATE TABLE opening (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      TEXT NOT NULL,
    boot_epoch INTEGER NOT NULL,
    boot_id    TEXT NOT NULL,
    inode      INTEGER NOT NULL,
    clean      INTEGER NOT NULL DEFAULT 0,
    copied     INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
"""The tables of this package, in every file beside those of the file's owner."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered script."""

    version: int
    name: str
    sql: str


def load_migrations(folder: Traversable) -> tuple[Migration, ...]:
    """The scripts of a package, in order. Raises ValueError unless they are numbered 1, 2, 3, …."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = tuple(
        Migration(int(name[:4]), name.removesuffix(".sql"), folder.joinpath(name).read_text("utf-8")) for name in names
    )
    if not found or [migration.version for migration in found] != list(range(1, len(found) + 1)):
        message = f"migrations are numbered from 0001 without gaps, not {', '.join(names)}"
        raise ValueError(message)
    return found


def stored_version(connection: apsw.Connection, name: str) -> int:
    """The version of a file, 0 when it is empty. Raises `OperatorError` for a file that Tom did not make."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        return 0
    if not {"schema_version", "opening"} <= tables:
        raise OperatorError(f"{name} was not made by Tom, and was left as it is.")
    return connection.execute("SELECT max(version) FROM schema_version").get or 0


def refuse_newer(have: int, migrations: Sequence[Migration], name: str) -> None:
    """Raise `StoreTooNew` when a newer program has been at the file."""
    if have > len(migrations):
        raise StoreTooNew(
            f"{name} was written by a newer version of Tom (its version is {have}, this program knows {len(migrations)})."
            " It was left as it is."
        )


def migrate(
    connection: apsw.Connection,
    migrations: Sequence[Migration],
    *,
    have: int,
    clock: Clock,
    keep_copy: Callable[[], None],
) -> None:
    """Bring a file of version ``have`` up to date. ``keep_copy`` is called first unless the file is empty."""
    wanted = migrations[have:]
    if wanted and have:
        keep_copy()
    for migration in wanted:
        with connection:
            if migration.version == 1:
                connection.execute(_OWN_TABLES)
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, ?)",
                (migration.version, migration.name, timestamp(clock.now())),
            )
        log.debug("📦 Migrated", event="migrated", version=migration.version, name=migration.name)
