"""Users as config.yml lists them, beside what is stored about them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tom.clock import timestamp
from tom.config.secret import Secret


@dataclass(frozen=True, slots=True)
class UserEntry:
    """One user of config.yml. At most one of ``password`` and ``password_hash`` (argon2id) is given."""

    name: str
    role: str = "user"
    disabled: bool = False
    password: Secret = field(default_factory=lambda: Secret(""))
    password_hash: str = ""


@dataclass(frozen=True, slots=True)
class StoredUser:
    """One row of ``users``."""

    name: str
    password_hash: str | None
    file_hash: str | None
    role: str


class Users:
    """The entries that are in force and the rows that belong to them, in memory. Writes nothing by itself."""

    def __init__(self, rows: Iterable[StoredUser] = ()) -> None:
        """Begin with the stored rows and no entries: nobody may come in before `use`."""
        self.stored = {row.name: row for row in rows}
        self.entries: dict[str, UserEntry] = {}

    def use(self, entries: Iterable[UserEntry]) -> set[str]:
        """Put these entries in force; returns the users who must log in again (gone, disabled or in another role)."""
        self.entries = {entry.name: entry for entry in entries}
        out: set[str] = set()
        for name, row in self.stored.items():
            entry = self.entries.get(name)
            if entry is None or entry.disabled or entry.role != row.role:
                out.add(name)
        return out

    def find(self, username: str) -> UserEntry | None:
        """The user of that name, whatever its case, unless disabled."""
        entry = self.entries.get(username.casefold())
        return None if entry is None or entry.disabled else entry

    def changed(self, name: str, **changes: Any) -> StoredUser:
        """The user's row with these changes; it is in force when it is put into ``stored``."""
        known = self.stored.get(name) or StoredUser(name, None, None, self.entries[name].role)
        return replace(known, **changes)


def save(connection: Any, row: StoredUser, now: datetime) -> None:
    """Write one row; runs in the writer."""
    connection.execute(
        "INSERT INTO users (name, password_hash, file_hash, role, changed_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, file_hash = excluded.file_hash,"
        " role = excluded.role, changed_at = excluded.changed_at",
        (row.name, row.password_hash, row.file_hash, row.role, timestamp(now)),
    )


def load(connection: Any) -> list[StoredUser]:
    """Read all rows."""
    rows = connection.execute("SELECT name, password_hash, file_hash, role FROM users")
    return [StoredUser(*row) for row in rows]
