"""What an opening of a file is called: its boot epoch, and the epoch of the numbering in it.

The boot epoch counts openings; a worker that carries an earlier one is superseded. The epoch is random and names the
numbering: it changes when numbers that were handed out may mean something else now, which is after

- a restore: the file is a copy that Tom made (it says so itself), or another file than the one last opened (inode);
- an unclean stop of the machine: the operating system's boot id differs and there is no clean-close mark, so that
  commits without fsync may be gone. A kill of the process alone loses no commit and keeps the epoch.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import apsw

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of a file."""

    epoch: str
    boot_epoch: int


def machine_boot_id(source: Path = _BOOT_ID) -> str:
    """What the operating system calls its present boot; empty where it has no name for it (not Linux)."""
    try:
        return source.read_text().strip()
    except OSError:
        return ""


def record_opening(connection: apsw.Connection, path: Path, boot_id: str) -> Opening:
    """Count this opening and decide about the epoch; one statement, so wholly or not at all.

    Where the boot has no name, every unclean close is taken for a stop of the machine: readers start over.
    """
    inode = path.stat().st_ino
    row = connection.execute("SELECT epoch, boot_epoch, boot_id, inode, clean, copied FROM opening").fetchone()
    if row is None:
        opening = Opening(secrets.token_hex(16), 1)
        connection.execute(
            "INSERT INTO opening (id, epoch, boot_epoch, boot_id, inode) VALUES (1, ?, ?, ?, ?)",
            (opening.epoch, opening.boot_epoch, boot_id, inode),
        )
        return opening
    epoch, boot_epoch, last_boot_id, last_inode, clean, copied = row
    machine_stopped = not clean and (not boot_id or boot_id != last_boot_id)
    if copied or inode != last_inode or machine_stopped:
        epoch = secrets.token_hex(16)
    connection.execute(
        "UPDATE opening SET epoch = ?, boot_epoch = ?, boot_id = ?, inode = ?, clean = 0, copied = 0",
        (epoch, boot_epoch + 1, boot_id, inode),
    )
    return Opening(epoch, boot_epoch + 1)


def mark_clean(connection: apsw.Connection) -> None:
    """Say in the file that everything is in it."""
    connection.execute("UPDATE opening SET clean = 1")


def copy_database(source: apsw.Connection, target: Path) -> None:
    """Copy a database into the new file ``target`` by the backup API, and mark it as a copy. Replaces ``target``."""
    fresh = target.with_name(target.name + ".new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    copy = apsw.Connection(str(fresh))
    try:
        with copy.backup("main", source, "main") as backup:
            backup.step(-1)
        copy.pragma("journal_mode", "delete")
        copy.execute("UPDATE opening SET copied = 1")
    finally:
        copy.close()
    fresh.replace(target)
