"""A mirror in Redis: a list of sessions, a list of messages for each, what a session is now, and its last seq.

The list of sessions is everybody's who shares the namespace: what stands in it that is not ours, is passed over.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

from tom.archive.archive import (
    OCCUPIED,
    ArchiveClientMissing,
    ArchiveUnavailable,
    MessageRecord,
    RecordRefused,
    SessionRecord,
)
from tom.archive.rendering import to_json
from tom.archive.scripts import CUT, ERASE, WRITE
from tom.clock import Clock, timestamp

SECONDS: Final = 10.0
PAGE: Final = 1000
_REFUSED: Final = ("WRONGTYPE", "string exceeds maximum")
"""What stands in answers that say of a record that it never fits."""


class RedisArchive:
    """An `Archive` in lists and hashes. One connection, made when it is needed, and a new one after every failure."""

    def __init__(self, url: str, *, namespace: str, user: str, clock: Clock, seconds: float = SECONDS) -> None:
        """The mirror of ``user``; each verb takes at most ``seconds``."""
        self._url = url
        self._namespace = namespace
        self._user = user
        self._clock = clock
        self._seconds = seconds
        self._client: Any = None
        self._busy = asyncio.Lock()

    async def prepare(self) -> None:
        """Nothing is to be made; Redis is asked whether it is there."""
        await self._ask(lambda client: client.ping())

    async def write(self, session: SessionRecord, messages: Sequence[MessageRecord]) -> None:
        """Write a session's state and messages; see the seam."""
        limit = "" if session.memory_limit is None else str(session.memory_limit)
        about = [session.id, self._user, limit, to_json(session.metadata), session.created_at]
        told: list[str] = []
        stored_at = timestamp(self._clock.now())
        for message in messages:
            told += [str(message.seq), _message_json(message, stored_at)]
        arguments = [self._session_json(session), *about, *told]
        free = await self._ask(lambda client: client.eval(WRITE, 4, *self._keys(session.id), *arguments))
        if free < 0:
            raise RecordRefused(OCCUPIED)

    async def erase(self, session_id: str, *, before: int | None = None) -> None:
        """Remove a session, or its messages of a smaller seq."""
        keys = self._keys(session_id)
        if before is None:
            await self._ask(lambda client: client.eval(ERASE, 4, *keys, session_id, self._user))
        else:
            await self._ask(lambda client: client.eval(CUT, 1, keys[2], before))

    async def sessions(
        self, *, limit: int, offset: int, since: str | None = None, until: str | None = None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        """A page of sessions, newest first, and how many there are."""
        found: list[Mapping[str, Any]] = []
        start = 0
        while items := await self._ask(self._some_sessions(start)):
            start += PAGE
            found += [item for item in map(self._own, items) if item and _within(item["created_at"], since, until)]
        found.sort(key=lambda item: (item["created_at"], item["id"]), reverse=True)
        page = [await self._session(str(item["id"])) for item in found[offset : offset + limit]]
        return tuple(row for row in page if row is not None), len(found)

    async def messages(self, session_id: str, *, limit: int, offset: int) -> tuple[MessageRecord, ...]:
        """A page of a session's messages in order of seq."""
        key = self._keys(session_id)[2]
        items = await self._ask(lambda client: client.lrange(key, offset, offset + limit - 1))
        return tuple(record for record in (_message(session_id, item) for item in items) if record is not None)

    async def has_any(self, session_ids: Sequence[str]) -> bool:
        """Whether one of these sessions is there."""
        keys = [self._keys(session_id)[1] for session_id in session_ids]
        return bool(keys and await self._ask(lambda client: client.exists(*keys)))

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _keys(self, session_id: str) -> tuple[str, str, str, str]:
        """Of the sessions, a session's state, its messages, its last seq."""
        whose = f"{self._user}:{session_id}"
        namespace = self._namespace
        own = (f"{namespace}:session:{whose}", f"{namespace}:messages:{whose}", f"{namespace}:last:{whose}")
        return (f"{namespace}:sessions", *own)

    def _session_json(self, session: SessionRecord) -> str:
        about = {"id": session.id, "user": self._user, "memory_limit": session.memory_limit}
        return to_json({**about, "created_at": session.created_at, "metadata": session.metadata})

    def _some_sessions(self, start: int) -> Callable[[Any], Awaitable[list[bytes]]]:
        return lambda client: client.lrange(f"{self._namespace}:sessions", start, start + PAGE - 1)

    async def _session(self, session_id: str) -> SessionRecord | None:
        key = self._keys(session_id)[1]
        state = await self._ask(lambda client: client.hgetall(key))
        if not state:
            return None
        try:
            now: dict[str, str] = {name.decode(): value.decode() for name, value in state.items()}
            limit = int(now["memory_limit"]) if now["memory_limit"] else None
            return SessionRecord(session_id, limit, now["created_at"], json.loads(now["metadata"]))
        except (ValueError, KeyError):
            return None

    def _own(self, item: bytes) -> Mapping[str, Any] | None:
        """A session of the list, if it is one of this person's."""
        told = _parsed(item)
        if told is None or told.get("user") != self._user:
            return None
        named = isinstance(told.get("id"), str) and isinstance(told.get("created_at"), str)
        return told if named else None

    async def _ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """Redis's answer; errors become the seam's. After a failure nothing sent before can come behind what is sent next."""
        async with self._busy:
            try:
                async with asyncio.timeout(self._seconds):
                    return await question(self._connected())
            except BaseException as error:
                await self._drop()
                if isinstance(error, Exception):
                    raise _explained(error) from error
                raise

    def _connected(self) -> Any:
        if self._client is None:
            try:
                import redis.asyncio  # noqa: PLC0415 - an extra, and only where there is such an archive
                from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
                from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
            except ImportError as missing:
                message = "The archive needs the client of Redis: install tom-assistant[redis]"
                raise ArchiveClientMissing(message) from missing
            bounds: dict[str, Any] = {"socket_timeout": self._seconds, "socket_connect_timeout": self._seconds}
            self._client = redis.asyncio.Redis.from_url(self._url, protocol=2, retry=Retry(NoBackoff(), 0), **bounds)
        return self._client

    async def _drop(self) -> None:
        """Let go of a connection that may not even close."""
        try:
            async with asyncio.timeout(1.0):
                await self.close()
        except Exception:  # noqa: BLE001, S110 - it is dropped anyway
            pass


def _parsed(item: bytes) -> Mapping[str, Any] | None:
    """The JSON object of an entry; None when it is none."""
    try:
        told = json.loads(item)
    except ValueError:
        return None
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else None


def _message(session_id: str, item: bytes) -> MessageRecord | None:
    """A message of a list; None when it is not what this program writes."""
    try:
        return MessageRecord(session_id=session_id, **(_parsed(item) or {}))
    except TypeError:
        return None


def _within(moment: str, since: str | None, until: str | None) -> bool:
    return (since or "") <= moment <= (until or "~")


def _message_json(message: MessageRecord, stored_at: str) -> str:
    """The seq first: scripts read it without reading the rest."""
    told: dict[str, Any] = {"seq": message.seq, "role": message.role, "content": message.content}
    return to_json({**told, "created_at": message.created_at, "stored_at": stored_at, "metadata": message.metadata})


def _explained(error: Exception) -> Exception:
    """What a failure means for whoever mirrors. Of Redis's words only the first: the rest may quote what it was told."""
    if isinstance(error, ArchiveClientMissing):
        return error
    text = str(error)
    if any(mark in text for mark in _REFUSED) or isinstance(error, UnicodeError | OverflowError | TypeError):
        return RecordRefused(f"Redis does not take the record: {type(error).__name__}")
    if isinstance(error, TimeoutError):
        return ArchiveUnavailable("The archive did not answer in time")
    word = text.split(" ", 1)[0]
    return ArchiveUnavailable(
        f"Redis answered {word}" if word.isupper() else f"The archive is not reachable: {type(error).__name__}"
    )
