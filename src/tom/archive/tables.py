"""The two tables of a MySQL archive, and every statement about them. Values are bound; names are checked here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Template
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


_WHOSE: Final = "namespace = %s AND user = %s"
_WRITE_SESSION: Final = (
    "INSERT INTO `$sessions` (namespace, user, id, memory_limit, created_at, metadata) VALUES (%s, %s, %s, %s, %s, %s)"
    " ON DUPLICATE KEY UPDATE memory_limit = VALUES(memory_limit), created_at = VALUES(created_at),"
    " metadata = VALUES(metadata)"
)
_WRITE_MESSAGES: Final = (
    "INSERT INTO `$messages` (namespace, user, session_id, seq, role, content, created_at, stored_at, metadata)"
    " VALUES $places ON DUPLICATE KEY UPDATE role = VALUES(role), content = VALUES(content),"
    " created_at = VALUES(created_at), metadata = VALUES(metadata)"
)
_ERASE_MESSAGES: Final = "DELETE FROM `$messages` WHERE $whose AND session_id = %s"
_ERASE_SESSION: Final = "DELETE FROM `$sessions` WHERE $whose AND id = %s"
_CUT: Final = "DELETE FROM `$messages` WHERE $whose AND session_id = %s AND seq < %s"
_READ_MESSAGES: Final = (
    "SELECT seq, role, content, created_at, metadata, stored_at FROM `$messages` WHERE $whose"
    " AND session_id = %s AND seq IS NOT NULL ORDER BY seq LIMIT %s OFFSET %s"
)
_PLACES: Final = (
    "SELECT seq, metadata FROM `$messages` WHERE $whose AND session_id = %s AND seq IN ($places) FOR UPDATE"
)
_ANY_SESSION: Final = "SELECT 1 FROM `$sessions` WHERE $whose AND id IN ($places) LIMIT 1"
_COUNT_SESSIONS: Final = "SELECT count(*) FROM `$sessions` WHERE $whose$within"
_READ_SESSIONS: Final = (
    "SELECT id, memory_limit, created_at, metadata FROM `$sessions` WHERE $whose$within"
    " ORDER BY created_at DESC, id DESC LIMIT %s OFFSET %s"
)


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
        self.write_session = self._named(_WRITE_SESSION)
        self.erase = (self._named(_ERASE_MESSAGES), self._named(_ERASE_SESSION))
        self.cut = self._named(_CUT)
        self.read_messages = self._named(_READ_MESSAGES)

    def write_messages(self, count: int) -> str:
        """Insert so many messages; those that are there become as they are told."""
        places = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s)"] * count)
        return self._named(_WRITE_MESSAGES, places=places)

    def places(self, count: int) -> str:
        """What stands at so many seqs of a session."""
        return self._named(_PLACES, places=", ".join(["%s"] * count))

    def any_session(self, count: int) -> str:
        """Whether one of so many sessions is there."""
        return self._named(_ANY_SESSION, places=", ".join(["%s"] * count))

    def read_sessions(self, bounds: Iterable[str]) -> tuple[str, str]:
        """How many sessions there are, and a page of them; ``bounds`` compare when they began (``>=``, ``<=``)."""
        within = "".join({">=": " AND created_at >= %s", "<=": " AND created_at <= %s"}[sign] for sign in bounds)
        return self._named(_COUNT_SESSIONS, within=within), self._named(_READ_SESSIONS, within=within)

    def _named(self, statement: str, **parts: str) -> str:
        """The statement for these tables; their names were checked, and every value is a parameter."""
        names = {"sessions": self.sessions.name, "messages": self.messages.name, "whose": _WHOSE}
        return Template(statement).substitute({**names, **parts})
