"""A mirror in MongoDB: two collections, which several people and installations may share."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

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
from tom.archive.rendering import from_moment, to_moment
from tom.clock import Clock

SECONDS: Final = 10.0

_WITHOUT_ID: Final = {"_id": 0}

_REFUSED: Final = frozenset({2, 9, 121, 10334, 17280, 17419, 17420})
"""Error codes that say of a document that it never fits: bad value, validation, too large."""

_WRONG_PASSWORD: Final = 18
_FORBIDDEN: Final = frozenset({13, 85, 86, 8000})
"""Error codes that say that the account may not do it, or that an index of this name is another one."""


class MongodbArchive:
    """An `Archive` in two collections."""

    def __init__(
        self,
        uri: str,
        *,
        database: str,
        namespace: str,
        user: str,
        clock: Clock,
        sessions: str = "chat_sessions",
        messages: str = "chat_messages",
        seconds: float = SECONDS,
    ) -> None:
        """The mirror of ``user``; each verb takes at most ``seconds``."""
        self._uri = uri
        self._names = (database, sessions, messages)
        self._whose = {"namespace": namespace, "user": user}
        self._clock = clock
        self._seconds = seconds
        self._client: Any = None
        self._busy = asyncio.Lock()

    async def prepare(self) -> None:
        """Make the indexes; collections make themselves."""
        async with self._collections() as (sessions, messages):
            await sessions.create_index([("namespace", 1), ("user", 1), ("id", 1)], unique=True)
            await messages.create_index([("namespace", 1), ("user", 1), ("session_id", 1), ("seq", 1)], unique=True)

    async def write(self, session: SessionRecord, messages: Sequence[MessageRecord]) -> None:
        """Write a session's state and messages; see the seam."""
        async with self._collections() as (in_sessions, in_messages):
            from pymongo import ReplaceOne  # noqa: PLC0415 - an extra, and only where there is such an archive

            found = await self._places(in_messages, session.id, messages)
            if any(taken(message, found.get(message.seq, {}).get("metadata") or {}) for message in messages):
                raise RecordRefused(OCCUPIED)
            whose = {**self._whose, "id": session.id}
            before: Mapping[str, Any] = await in_sessions.find_one(whose, _WITHOUT_ID) or {}
            about = {
                "memory_limit": session.memory_limit,
                "created_at": to_moment(session.created_at),
                "metadata": dict(session.metadata),
            }
            await in_sessions.replace_one(whose, {**before, **whose, **about}, upsert=True)
            changes: list[Any] = []
            for message in messages:
                where = {**self._whose, "session_id": message.session_id, "seq": message.seq}
                there = found.get(message.seq, {"stored_at": self._clock.now()})
                told = {**there, **where, **_message(message)}
                if told != there:
                    changes.append(ReplaceOne(where, told, upsert=True))
            if changes:
                await in_messages.bulk_write(changes, ordered=True)

    async def erase(self, session_id: str, *, before: int | None = None) -> None:
        """Remove a session, or its messages of a smaller seq."""
        async with self._collections() as (sessions, messages):
            if before is not None:
                await messages.delete_many({**self._whose, "session_id": session_id, "seq": {"$lt": before}})
                return
            await messages.delete_many({**self._whose, "session_id": session_id})
            await sessions.delete_many({**self._whose, "id": session_id})

    async def sessions(
        self, *, limit: int, offset: int, since: str | None = None, until: str | None = None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        """A page of sessions, newest first, and how many there are."""
        bounds = {sign: to_moment(moment) for sign, moment in (("$gte", since), ("$lte", until)) if moment is not None}
        wanted: dict[str, Any] = {**self._whose, **({"created_at": bounds} if bounds else {})}
        async with self._collections() as (sessions, _):
            total = await sessions.count_documents(wanted)
            page = sessions.find(wanted).sort([("created_at", -1), ("id", -1)]).skip(offset).limit(limit)
            found: list[Mapping[str, Any]] = await page.to_list(limit) if limit else []
        return tuple(
            SessionRecord(
                row["id"], row.get("memory_limit"), from_moment(row.get("created_at")), row.get("metadata") or {}
            )
            for row in found
            if isinstance(row.get("id"), str)
        ), total

    async def has_any(self, session_ids: Sequence[str]) -> bool:
        """Whether one of these sessions is there."""
        async with self._collections() as (sessions, _):
            return await sessions.find_one({**self._whose, "id": {"$in": list(session_ids)}}, {"_id": 1}) is not None

    async def messages(self, session_id: str, *, limit: int, offset: int) -> tuple[MessageRecord, ...]:
        """A page of a session's messages in order of seq."""
        async with self._collections() as (_, messages):
            page = messages.find({**self._whose, "session_id": session_id}).sort([("seq", 1)]).skip(offset).limit(limit)
            found: list[Mapping[str, Any]] = await page.to_list(limit)
        return tuple(
            MessageRecord(
                session_id,
                row["seq"],
                row.get("role") or "",
                row.get("content") or "",
                from_moment(row.get("created_at")),
                row.get("metadata") or {},
                from_moment(row.get("stored_at")),
            )
            for row in found
            if isinstance(row.get("seq"), int)
        )

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _places(
        self, rows: Any, session_id: str, messages: Sequence[MessageRecord]
    ) -> Mapping[int, Mapping[str, Any]]:
        """What stands at the places of messages, by seq."""
        seqs = [message.seq for message in messages]
        if not seqs:
            return {}
        which = {**self._whose, "session_id": session_id, "seq": {"$gte": min(seqs), "$lte": max(seqs)}}
        found: list[Mapping[str, Any]] = await rows.find(which, _WITHOUT_ID).to_list(None)
        return {int(row["seq"]): row for row in found}

    @asynccontextmanager
    async def _collections(self) -> AsyncGenerator[tuple[Any, Any]]:
        """Sessions and messages; errors become the seam's, and cost the connections."""
        async with self._busy:
            try:
                async with asyncio.timeout(self._seconds):
                    database, sessions, messages = self._names
                    place = self._connected()[database]
                    yield place[sessions], place[messages]
            except BaseException as error:
                await self._drop()
                if isinstance(error, Exception):
                    raise _explained(error) from error
                raise

    def _connected(self) -> Any:
        if self._client is None:
            try:
                from pymongo import AsyncMongoClient  # noqa: PLC0415 - an extra, and only where there is such an archive
            except ImportError as missing:
                message = "The archive needs the client of MongoDB: install tom-assistant[mongodb]"
                raise ArchiveClientMissing(message) from missing
            bound = int(self._seconds * 1000)
            self._client = AsyncMongoClient(
                self._uri,
                serverSelectionTimeoutMS=bound,
                connectTimeoutMS=bound,
                socketTimeoutMS=bound,
                maxPoolSize=1,
                retryWrites=False,
                retryReads=False,
            )
        return self._client

    async def _drop(self) -> None:
        """Let go of connections that may not even close."""
        try:
            async with asyncio.timeout(1.0):
                await self.close()
        except Exception:  # noqa: BLE001, S110 - they are dropped anyway
            pass


def _message(message: MessageRecord) -> Mapping[str, Any]:
    """What is told of a message besides its place."""
    return {
        "role": message.role,
        "content": message.content,
        "created_at": to_moment(message.created_at),
        "metadata": dict(message.metadata),
    }


def _explained(error: Exception) -> Exception:
    """What a failure means for whoever mirrors. Codes only: a server's words may quote what it was told."""
    if isinstance(error, ArchiveClientMissing | RecordRefused):
        return error
    from bson.errors import BSONError  # noqa: PLC0415 - the client is there
    from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure  # noqa: PLC0415 - as above

    if isinstance(error, BSONError | DocumentTooLarge | UnicodeError | OverflowError | TypeError):
        return RecordRefused(f"MongoDB does not take the record: {type(error).__name__}")
    code = 0
    if isinstance(error, BulkWriteError):
        failures: Sequence[Mapping[str, Any]] = (error.details or {}).get("writeErrors") or [{}]
        code = int(failures[0].get("code") or 0)
    elif isinstance(error, OperationFailure):
        code = error.code or 0
    if code in _REFUSED:
        return RecordRefused(f"MongoDB error {code}")
    if code == _WRONG_PASSWORD or code in _FORBIDDEN:
        return _not_allowed(code)
    if isinstance(error, TimeoutError):
        return ArchiveUnavailable("The archive did not answer in time")
    return ArchiveUnavailable(
        f"MongoDB error {code}" if code else f"The archive is not reachable: {type(error).__name__}"
    )


def _not_allowed(code: int) -> ArchiveUnfit:
    if code == _WRONG_PASSWORD:
        return AccountRefused(f"The account or its password is refused (MongoDB error {code})")
    return ArchiveUnfit(f"The account may not do this, or an index is another one (MongoDB error {code})")
