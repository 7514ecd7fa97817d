"""From a path to an opened file, and back: lock, version, PRAGMAs, migrations, epoch; clean-close mark, checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from tom.clock import Clock
from tom.errors import StorageUnavailable
from tom.sqlite.connection import FULL, connect, create_private, set_up_writer
from tom.sqlite.faults import explained
from tom.sqlite.filelock import FileLock
from tom.sqlite.migrations import Migration, migrate, refuse_newer, stored_version
from tom.sqlite.opening import Opening, copy_database, machine_boot_id, mark_clean, record_opening
from tom.telemetry import logs

log = logs.get("history")

COPY_KEPT = timedelta(days=30)
"""What was deleted since is still in the copy made before a migration; so it goes as a backup goes."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A locked file with its writing connection."""

    lock: FileLock
    connection: apsw.Connection
    opening: Opening


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file is and how it is opened. Every method blocks."""

    path: Path
    migrations: Sequence[Migration]
    clock: Clock
    boot_id: str | None = None
    vfs: str | None = None

    def open(self) -> Opened:
        """Take the lock, then the file. Raises what `Database.open` says; nothing stays open or locked then."""
        try:
            lock = FileLock(self.path)
            try:
                create_private(self.path)
                connection, opening = self._prepare()
            except BaseException:
                lock.release()
                raise
        except apsw.Error as error:
            raise explained(error, self.path.name) from error
        except OSError as error:
            raise StorageUnavailable(f"{self.path.name} cannot be opened: {error.strerror}.") from error
        return Opened(lock, connection, opening)

    def reconnect(self) -> apsw.Connection:
        """A further writing connection, in place of one that is lost; the lock is still held."""
        connection = connect(self.path, vfs=self.vfs)
        set_up_writer(connection)
        return connection

    def close(self, connection: apsw.Connection, opened: Opened, *, trusted: bool, erase: bool = False) -> None:
        """Mark a clean close, move the log into the file and close it. Where that fails the log stays, unmarked.

        Not ``trusted``: after a failed fsync nothing is written any more. ``erase``: remove the files.
        """
        try:
            if trusted:
                connection.pragma("synchronous", FULL)
                mark_clean(connection)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        except apsw.Error as error:
            log.warning("⚠️ The file was not closed cleanly", event="unclean_close", file=self.path.name, error=error)
        finally:
            connection.close(force=True)
            if erase:
                for suffix in ("", "-wal", "-shm", ".bak"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            opened.lock.release()

    def _prepare(self) -> tuple[apsw.Connection, Opening]:
        connection = connect(self.path, vfs=self.vfs)
        try:
            have = stored_version(connection, self.path.name)
            refuse_newer(have, self.migrations, self.path.name)
            set_up_writer(connection)
            copy = self.path.with_name(self.path.name + ".bak")
            self._expire(copy)
            migrate(
                connection,
                self.migrations,
                have=have,
                clock=self.clock,
                keep_copy=lambda: copy_database(connection, copy),
            )
            boot_id = machine_boot_id() if self.boot_id is None else self.boot_id
            opening = record_opening(connection, self.path, boot_id)
        except BaseException:
            connection.close(force=True)
            raise
        return connection, opening

    def _expire(self, copy: Path) -> None:
        if copy.exists():
            made = datetime.fromtimestamp(copy.stat().st_mtime, UTC)
            if self.clock.now() - made > COPY_KEPT:
                copy.unlink()
