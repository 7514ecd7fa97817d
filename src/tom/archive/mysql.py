"""A mirror in MySQL or MariaDB: two tables, which several people and installations may share.

Every write is one transaction whose COMMIT is a request of its own: what a frozen server was told by a connection that was
given up since is undone when it wakes, and never appears behind a later erasure.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from tom.archive.archive import (
    ArchiveClientMissing,
    ArchiveUnavailable,
    ArchiveUnfit,
    MessageRecord,
    RecordRefused,
    SessionRecord,
)
from tom.archive.rendering import from_json, from_moment, to_json, to_moment
from tom.clock import Clock

SECONDS: Final = 10.0
ROWS_AT_ONCE: Final = 100
_SPARE: Final = 65_536
"""Bytes of a packet besides the texts."""

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
_SESSION_KEY: Final = ("namespace", "user", "id")
_MESSAGE_KEY: Final = ("namespace", "user", "session_id", "seq")
# Binary: conversations whose names differ in their letters' size are two.
_KIND: Final = "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

_REFUSED: Final = frozenset({1153, 1264, 1366, 1406, 3140, 3141, 3988, 4025})
"""Errors that say of a record that it never fits: too large, wrong characters, no JSON."""

_FORBIDDEN: Final = frozenset({1044, 1142, 1143, 1227, 1370})
"""Errors that say that the account may not do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlPlace:
    """Where the tables are; the names are checked by whoever makes this."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sessions: str = "chat_sessions"
    messages: str = "chat_messages"


class MysqlArchive:
    """An `Archive` in two tables. One connection, made when it is needed."""

    def __init__(self, place: MysqlPlace, *, namespace: str, user: str, clock: Clock, seconds: float = SECONDS) -> None:
        """The mirror of ``user``; each verb takes at most ``seconds``."""
        self._place = place
        self._whose = (namespace, user)
        self._clock = clock
        self._seconds = seconds
        self._connection: Any = None
        self._largest: int = 0
        self._busy = asyncio.Lock()
        self._sessions, self._messages = f"`{place.sessions}`", f"`{place.messages}`"

    async def prepare(self) -> None:
        """Make what is not there; see the seam."""
        wanted = (
            (self._place.sessions, _OF_A_SESSION, _SESSION_KEY, "PRIMARY KEY (namespace, user, id)"),
            (
                self._place.messages,
                _OF_A_MESSAGE,
                _MESSAGE_KEY,
                "PRIMARY KEY (id), UNIQUE KEY told (namespace, user, session_id, seq), KEY session (namespace, session_id)",
            ),
        )
        async with self._cursor() as cursor:
            for table, columns, key, keys in wanted:
                have = await self._columns_of(cursor, table)
                if not have:
                    body = ", ".join(f"{name} {kind}" for name, kind in columns.items())
                    await cursor.execute(f"CREATE TABLE IF NOT EXISTS `{table}` ({body}, {keys}) {_KIND}")
                    continue
                for name in columns.keys() - have:
                    unique = " UNIQUE" if "AUTO_INCREMENT" in columns[name] else ""
                    await cursor.execute(f"ALTER TABLE `{table}` ADD COLUMN {name} {columns[name]}{unique}")
                await self._check_key(cursor, table, key)

    async def write(self, session: SessionRecord, messages: Sequence[MessageRecord]) -> None:
        """Write a session's state and messages; see the seam."""
        async with self._cursor() as cursor:
            self._check_sizes(messages)
            row = (
                *self._whose,
                session.id,
                session.memory_limit,
                to_moment(session.created_at),
                to_json(session.metadata),
            )
            await cursor.execute(
                f"INSERT INTO {self._sessions} (namespace, user, id, memory_limit, created_at, metadata)"  # noqa: S608
                " VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE"
                " memory_limit = VALUES(memory_limit), metadata = VALUES(metadata)",
                row,
            )
            for rows in self._batches(messages):
                places = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s)"] * len(rows))
                await cursor.execute(
                    f"INSERT INTO {self._messages}"  # noqa: S608
                    " (namespace, user, session_id, seq, role, content, created_at, stored_at, metadata)"
                    f" VALUES {places} ON DUPLICATE KEY UPDATE seq = VALUES(seq)",
                    [value for row in rows for value in row],
                )

    async def erase(self, session_id: str, *, before: int | None = None) -> None:
        """Remove a session, or its messages of a smaller seq."""
        where = " WHERE namespace = %s AND user = %s"
        async with self._cursor() as cursor:
            if before is not None:
                sql = f"DELETE FROM {self._messages}{where} AND session_id = %s AND seq < %s"  # noqa: S608
                await cursor.execute(sql, (*self._whose, session_id, before))
                return
            for sql in (
                f"DELETE FROM {self._messages}{where} AND session_id = %s",  # noqa: S608
                f"DELETE FROM {self._sessions}{where} AND id = %s",  # noqa: S608
            ):
                await cursor.execute(sql, (*self._whose, session_id))

    async def sessions(
        self, *, limit: int, offset: int, since: str | None = None, until: str | None = None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        """A page of sessions, newest first, and how many there are."""
        where, values = " WHERE namespace = %s AND user = %s", [*self._whose]
        for sign, moment in ((">=", since), ("<=", until)):
            if moment is not None:
                where += f" AND created_at {sign} %s"
                values.append(to_moment(moment))  # type: ignore[arg-type]
        async with self._cursor() as cursor:
            await cursor.execute(f"SELECT count(*) FROM {self._sessions}{where}", values)  # noqa: S608
            ((total,),) = await cursor.fetchall()
            await cursor.execute(
                f"SELECT id, memory_limit, created_at, metadata FROM {self._sessions}{where}"  # noqa: S608
                " ORDER BY created_at DESC, id DESC LIMIT %s OFFSET %s",
                [*values, limit, offset],
            )
            found = await cursor.fetchall()
        return tuple(SessionRecord(row[0], row[1], from_moment(row[2]), from_json(row[3])) for row in found), total

    async def messages(self, session_id: str, *, limit: int, offset: int) -> tuple[MessageRecord, ...]:
        """A page of a session's messages in order of seq."""
        async with self._cursor() as cursor:
            await cursor.execute(
                f"SELECT seq, role, content, created_at, metadata, stored_at FROM {self._messages}"  # noqa: S608
                " WHERE namespace = %s AND user = %s AND session_id = %s AND seq IS NOT NULL"
                " ORDER BY seq LIMIT %s OFFSET %s",
                (*self._whose, session_id, limit, offset),
            )
            found = await cursor.fetchall()
        return tuple(
            MessageRecord(session_id, seq, role, content, from_moment(at), from_json(more), from_moment(stored))
            for seq, role, content, at, more, stored in found
        )

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _cursor(self) -> AsyncGenerator[Any]:
        """A cursor in a transaction of its own, committed when all went well; errors become the seam's."""
        async with self._busy:
            try:
                async with asyncio.timeout(self._seconds):
                    connection = await self._connected()
                    async with connection.cursor() as cursor:
                        yield cursor
                    await connection.commit()
            except BaseException as error:
                await self.close()  # whatever was begun is undone by the server
                if isinstance(error, Exception):
                    raise _explained(error) from error
                raise

    async def _connected(self) -> Any:
        if self._connection is None:
            try:
                import aiomysql  # noqa: PLC0415 - an extra, and only where there is such an archive
            except ImportError as missing:
                message = "The archive needs the client of MySQL: install tom-assistant[mysql]"
                raise ArchiveClientMissing(message) from missing
            place = self._place
            self._connection = await cast("Any", aiomysql).connect(
                host=place.host,
                port=place.port,
                user=place.user,
                password=place.password,
                db=place.database,
                charset="utf8mb4",
                connect_timeout=self._seconds,
            )
            async with self._connection.cursor() as cursor:
                await cursor.execute("SET time_zone = '+00:00'")
                await cursor.execute("SELECT @@max_allowed_packet")
                ((self._largest,),) = await cursor.fetchall()
        return self._connection

    async def _columns_of(self, cursor: Any, table: str) -> set[str]:
        await cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
        return {str(name).lower() for (name,) in await cursor.fetchall()}

    async def _check_key(self, cursor: Any, table: str, key: Sequence[str]) -> None:
        """Let a table that was there tell its rows apart as ours are: by one unique key, and no narrower one."""
        await cursor.execute(
            "SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
            " AND table_name = %s AND non_unique = 0 ORDER BY index_name, seq_in_index",
            (table,),
        )
        keys: dict[str, list[str]] = {}
        for index, column in await cursor.fetchall():
            keys.setdefault(index, []).append(str(column).lower())
        for index, columns in keys.items():
            if set(columns) < set(key) and "user" not in columns:
                message = f"The key {index} of the table {table} does not tell people apart: make it ({', '.join(key)})"
                raise ArchiveUnfit(message)
        if list(key) not in keys.values():
            await cursor.execute(f"ALTER TABLE `{table}` ADD UNIQUE KEY told ({', '.join(key)})")

    def _check_sizes(self, messages: Sequence[MessageRecord]) -> None:
        """A packet that is too large costs the connection, and the server's answer with it."""
        for message in messages:
            if _size(message) > self._largest - _SPARE:
                raise RecordRefused("A message is larger than max_allowed_packet")

    def _batches(self, messages: Sequence[MessageRecord]) -> Sequence[list[tuple[Any, ...]]]:
        """The rows, in portions that fit into a packet."""
        stored = to_moment(from_moment(self._clock.now().replace(tzinfo=None)))
        batches: list[list[tuple[Any, ...]]] = []
        room: int = 0
        for message in messages:
            size = _size(message)
            if not batches or size > room or len(batches[-1]) == ROWS_AT_ONCE:
                batches.append([])
                room = self._largest - _SPARE
            room -= size
            about = (message.seq, message.role, message.content, to_moment(message.created_at), stored)
            batches[-1].append((*self._whose, message.session_id, *about, to_json(message.metadata)))
        return batches


def _size(message: MessageRecord) -> int:
    """Bytes that a message may take in a packet: every one of them could be escaped."""
    return 2 * len(message.content.encode()) + 2 * len(json.dumps(dict(message.metadata))) + 512


def _explained(error: Exception) -> Exception:
    """What a failure means for whoever mirrors. Numbers only: a server's words may quote what it was told."""
    if isinstance(error, ArchiveUnavailable | RecordRefused | ArchiveClientMissing):
        return error
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number in _REFUSED:
        return RecordRefused(f"MySQL error {number}")
    if number in _FORBIDDEN:
        return ArchiveUnfit(f"The account may not do this (MySQL error {number})")
    if isinstance(error, UnicodeError | OverflowError | TypeError):
        return RecordRefused(f"The record cannot be written: {type(error).__name__}")
    if isinstance(error, TimeoutError):
        return ArchiveUnavailable("The archive did not answer in time")
    return ArchiveUnavailable(
        f"MySQL error {number}" if number else f"The archive is not reachable: {type(error).__name__}"
    )
