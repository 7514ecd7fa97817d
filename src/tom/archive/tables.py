"""The two tables of a MySQL archive, and every statement about them. Values are bound; names are checked here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_OF_A_SESSION: Final = {
    "namespace": "VARCHAR(64) NOT NULL",
    "id": "VARCHAR(128) NOT NULL",
    "user": "VARCHAR(64) NOT NULL DEFAULT ''",
    "memory_limit": "INT",
    "created_at": "DATETIME(6)",
    "metadata": "JSON",
}
_OF_A_MESSAGE: Final = {
    "id": "BIGINT NOT NULL AUTO_INCREMENT",
    "namespace": "VARCHAR(64) NOT NULL",
    "user": "VARCHAR(64) NOT NULL DEFAULT ''",
    "session_id": "VARCHAR(128) NOT NULL",
    "seq": "BIGINT",
    "role": "VARCHAR(32)",
    "content": "LONGTEXT",
    "created_at": "DATETIME(6)",
    "stored_at": "DATETIME(6)",
    "metadata": "JSON",
}
# Binary: conversations whose names differ in their letters' size are two.
_KIND: Final = "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

COLUMNS_OF: Final = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
)
KEYS_OF: Final = (
    "SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
    " AND table_name = %s AND non_unique = 0 ORDER BY index_name, seq_in_index"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns with their types, the columns that tell rows apart, and its keys."""

    name: str
    columns: Mapping[str, str]
    key: Sequence[str]
    keys: str

    def create(self) -> str:
        """Make it as it should be."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return f"CREATE TABLE IF NOT EXISTS `{self.name}` ({columns}, {self.keys}) {_KIND}"

    def add(self, column: str) -> str:
        """Add a column; a number that counts by itself must be a key."""
        kind = self.columns[column]
        return f"ALTER TABLE `{self.name}` ADD COLUMN {column} {kind}{' UNIQUE' if 'AUTO_INCREMENT' in kind else ''}"

    def add_key(self) -> str:
        """Tell rows apart as they should be."""
        return f"ALTER TABLE `{self.name}` ADD UNIQUE KEY told ({', '.join(self.key)})"

    def narrower(self, unique: Mapping[str, Sequence[str]]) -> str | None:
        """The name of a unique key that does not tell people apart."""
        for name, columns in unique.items():
            if set(columns) < set(self.key) and "user" not in columns:
                return name
        return None


class Statements:
    """The statements for tables of these names. Raises ValueError for what is no name."""

    def __init__(self, sessions: str, messages: str) -> None:
        """Quote nothing: a name has no character that would need it."""
        for name in (sessions, messages):
            if not _NAME.fullmatch(name):
                message = f"'{name}' is no name of a table"
                raise ValueError(message)
        self.sessions = Table(sessions, _OF_A_SESSION, ("namespace", "user", "id"), "PRIMARY KEY (namespace, user, id)")
        self.messages = Table(
            messages,
            _OF_A_MESSAGE,
            ("namespace", "user", "session_id", "seq"),
            "PRIMARY KEY (id), UNIQUE KEY told (namespace, user, session_id, seq), KEY session (namespace, session_id)",
        )
        whose = "WHERE namespace = %s AND user = %s"
        self.write_session = (
            f"INSERT INTO `{sessions}` (namespace, user, id, memory_limit, created_at, metadata)"  # noqa: S608 - a checked name
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON DUPLICATE KEY UPDATE memory_limit = VALUES(memory_limit), metadata = VALUES(metadata)"
        )
        self.erase = (
            f"DELETE FROM `{messages}` {whose} AND session_id = %s",  # noqa: S608 - a checked name
            f"DELETE FROM `{sessions}` {whose} AND id = %s",  # noqa: S608 - a checked name
        )
        self.cut = f"DELETE FROM `{messages}` {whose} AND session_id = %s AND seq < %s"  # noqa: S608 - a checked name
        self.read_messages = (
            f"SELECT seq, role, content, created_at, metadata, stored_at FROM `{messages}` {whose}"  # noqa: S608 - as above
            " AND session_id = %s AND seq IS NOT NULL ORDER BY seq LIMIT %s OFFSET %s"
        )

    def write_messages(self, count: int) -> str:
        """Insert so many messages; those that are there stay."""
        places = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s)"] * count)
        return (
            f"INSERT INTO `{self.messages.name}`"  # noqa: S608 - a checked name
            " (namespace, user, session_id, seq, role, content, created_at, stored_at, metadata)"
            f" VALUES {places} ON DUPLICATE KEY UPDATE seq = VALUES(seq)"
        )

    def read_sessions(self, bounds: Iterable[str]) -> tuple[str, str]:
        """How many sessions there are, and a page of them; ``bounds`` compare when they began (``>=``, ``<=``)."""
        signs = [{">=": ">=", "<=": "<="}[sign] for sign in bounds]
        where = "WHERE namespace = %s AND user = %s" + "".join(f" AND created_at {sign} %s" for sign in signs)
        count = f"SELECT count(*) FROM `{self.sessions.name}` {where}"  # noqa: S608 - a checked name
        page = (
            f"SELECT id, memory_limit, created_at, metadata FROM `{self.sessions.name}` {where}"  # noqa: S608 - as above
            " ORDER BY created_at DESC, id DESC LIMIT %s OFFSET %s"
        )
        return count, page
