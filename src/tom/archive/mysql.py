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
    OCCUPIED,
    AccountRefused,
    ArchiveClientMissing,
    ArchiveUnavailable,
    ArchiveUnfit,
    MessageRecord,
    RecordRefused,
    SessionRecord,
    taken,
)
from tom.archive.rendering import from_json, from_moment, to_json, to_moment
from tom.archive.tables import COLUMNS_OF, KEYS_OF, Statements, Table
from tom.clock import Clock

SECONDS: Final = 10.0
ROWS_AT_ONCE: Final = 100
PLACES_AT_ONCE: Final = 500
_SPARE: Final = 65_536
"""Bytes of a packet besides the texts."""

_REFUSED: Final = frozenset({1153, 1264, 1366, 1406, 3140, 3141, 3988, 4025})
"""Errors that say of a record that it never fits: too large, wrong characters, no JSON."""

_WRONG_PASSWORD: Final = 1045
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
        self._sql = Statements(place.sessions, place.messages)

    async def prepare(self) -> None:
        """Make what is not there; see the seam."""
        async with self._cursor() as cursor:
            for table in (self._sql.sessions, self._sql.messages):
                await cursor.execute(COLUMNS_OF, (table.name,))
                have = {str(name).lower() for (name,) in await cursor.fetchall()}
                if not have:
                    await cursor.execute(table.create())
                    continue
                for name in table.columns.keys() - have:
                    await cursor.execute(table.add(name))
                await self._check_key(cursor, table)

    async def write(self, session: SessionRecord, messages: Sequence[MessageRecord]) -> None:
        """Write a session's state and messages; see the seam."""
        about = (session.id, session.memory_limit, to_moment(session.created_at), to_json(session.metadata))
        async with self._cursor() as cursor:
            self._check_sizes(messages)
            await self._check_places(cursor, session.id, messages)
            await cursor.execute(self._sql.write_session, (*self._whose, *about))
            for rows in self._batches(messages):
                statement = self._sql.write_messages(len(rows))
                await cursor.execute(statement, [value for row in rows for value in row])

    async def erase(self, session_id: str, *, before: int | None = None) -> None:
        """Remove a session, or its messages of a smaller seq."""
        async with self._cursor() as cursor:
            if before is not None:
                await cursor.execute(self._sql.cut, (*self._whose, session_id, before))
                return
            for statement in self._sql.erase:
                await cursor.execute(statement, (*self._whose, session_id))

    async def sessions(
        self, *, limit: int, offset: int, since: str | None = None, until: str | None = None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        """A page of sessions, newest first, and how many there are."""
        bounds = [(sign, to_moment(moment)) for sign, moment in ((">=", since), ("<=", until)) if moment is not None]
        count, page = self._sql.read_sessions([sign for sign, _ in bounds])
        values = [*self._whose, *(moment for _, moment in bounds)]
        async with self._cursor() as cursor:
            await cursor.execute(count, values)
            ((total,),) = await cursor.fetchall()
            await cursor.execute(page, [*values, limit, offset])
            found = await cursor.fetchall()
        return tuple(SessionRecord(row[0], row[1], from_moment(row[2]), from_json(row[3])) for row in found), total

    async def has_any(self, session_ids: Sequence[str]) -> bool:
        """Whether one of these sessions is there."""
        if not session_ids:
            return False
        async with self._cursor() as cursor:
            await cursor.execute(self._sql.any_session(len(session_ids)), (*self._whose, *session_ids))
            return bool(await cursor.fetchall())

    async def messages(self, session_id: str, *, limit: int, offset: int) -> tuple[MessageRecord, ...]:
        """A page of a session's messages in order of seq."""
        async with self._cursor() as cursor:
            await cursor.execute(self._sql.read_messages, (*self._whose, session_id, limit, offset))
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

    async def _check_key(self, cursor: Any, table: Table) -> None:
        """Let a table that was there tell its rows apart as ours are: by one unique key, and no narrower one."""
        await cursor.execute(KEYS_OF, (table.name,))
        unique: dict[str, list[str]] = {}
        for index, column in await cursor.fetchall():
            unique.setdefault(index, []).append(str(column).lower())
        if (narrower := table.narrower(unique)) is not None:
            wanted = ", ".join(table.key)
            message = f"The key {narrower} of the table {table.name} does not tell people apart: make it ({wanted})"
            raise ArchiveUnfit(message)
        if list(table.key) not in unique.values():
            await cursor.execute(table.add_key())

    async def _check_places(self, cursor: Any, session_id: str, messages: Sequence[MessageRecord]) -> None:
        """Raises `RecordRefused` where a message of another run is; what is looked at stays so until the COMMIT."""
        for first in range(0, len(messages), PLACES_AT_ONCE):
            told = {message.seq: message for message in messages[first : first + PLACES_AT_ONCE]}
            await cursor.execute(self._sql.places(len(told)), (*self._whose, session_id, *told))
            for seq, metadata in await cursor.fetchall():
                if taken(told[seq], from_json(metadata)):
                    raise RecordRefused(OCCUPIED)

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
    if number == _WRONG_PASSWORD or number in _FORBIDDEN:
        return _not_allowed(number)
    if isinstance(error, UnicodeError | OverflowError | TypeError):
        return RecordRefused(f"The record cannot be written: {type(error).__name__}")
    if isinstance(error, TimeoutError):
        return ArchiveUnavailable("The archive did not answer in time")
    return ArchiveUnavailable(
        f"MySQL error {number}" if number else f"The archive is not reachable: {type(error).__name__}"
    )


def _not_allowed(number: int) -> ArchiveUnfit:
    if number == _WRONG_PASSWORD:
        return AccountRefused(f"The account or its password is refused (MySQL error {number})")
    return ArchiveUnfit(f"The account may not do this (MySQL error {number})")
