"""What lies in Redis of one REST session, and the scripts that read and write it in one piece.

| key | type | what |
|---|---|---|
| ``chat_memory:history:<id>`` | list | the window, oldest first: JSON of ``role``, ``content``, ``created_at`` |
| ``chat_memory:limit:<id>`` | string | how many messages the window holds |
| ``chat_memory:writer:<id>`` | string | the store of the process that wrote them last |
| ``chat_memory:reached:<id>`` | string | the highest place in an archive that a message of it may have |
| ``chat_memory:about:<id>`` | string | JSON of its metadata |
| ``chat_memory:lease:<id>`` | string | the store of the process that runs it; ends by itself |
| ``chat_memory:gone:<id>`` | string | the store of the process that erased it: nobody else shall have it any more |

Behind a gateway ``<user>:`` stands before the id.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, cast

from tom.limits.link import RedisLink

LEASE_SECONDS: Final = 30.0
WRITING_SECONDS: Final = 2.0
"""So long a write may take; nobody waits for it."""

_ROLES: Final = frozenset({"user", "assistant"})
_NAMES: Final = ("lease", "writer", "limit", "history", "reached", "about", "gone")

_ERASED: Final = """
local gone = redis.call('GET', KEYS[7])
if gone and gone ~= ARGV[1] then return {-1} end
"""
"""What was erased by this process itself and is there again, was restored."""

_CLAIM: Final = (
    _ERASED
    + """
redis.call('DEL', KEYS[7])
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local writer = redis.call('GET', KEYS[2]) or ''
local reached = redis.call('GET', KEYS[5]) or '0'
if writer == '' or writer == ARGV[1] then return {1, reached} end
local limit, about = redis.call('GET', KEYS[3]) or '', redis.call('GET', KEYS[6]) or ''
return {1, reached, limit, redis.call('LRANGE', KEYS[4], 0, -1), about}
"""
)
_TURN: Final = """
local holder, writer = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) or ''
if holder and holder ~= ARGV[1] then return {0} end
if not holder and writer ~= '' and writer ~= ARGV[1] then return {0} end
"""
"""Where several processes write: whose turn it is."""

_PUT: Final = """
redis.call('DEL', KEYS[7])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[2])
local reached = math.max(tonumber(redis.call('GET', KEYS[5]) or '0') or 0, tonumber(ARGV[4]))
redis.call('SET', KEYS[5], string.format('%.0f', reached), 'PX', ARGV[2])
redis.call('SET', KEYS[6], ARGV[5], 'PX', ARGV[2])
redis.call('DEL', KEYS[4])
for i = 6, #ARGV do redis.call('RPUSH', KEYS[4], ARGV[i]) end
if #ARGV > 5 then redis.call('PEXPIRE', KEYS[4], ARGV[2]) end
return {1}
"""
_ERASE: Final = """
redis.call('DEL', unpack(KEYS, 1, 6))
return redis.call('SET', KEYS[7], ARGV[1], 'PX', ARGV[2], 'NX') and 1 or 0
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a window."""

    role: str
    content: str
    created_at: str = ""

    @property
    def same(self) -> tuple[str, str]:
        """What makes two of them the same message: when it was stored differs from process to process."""
        return self.role, self.content


@dataclass(frozen=True, slots=True)
class Kept:
    """What Redis has of a session."""

    limit: int | None
    window: tuple[Said, ...]
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Whether this process may run a session; ``wait``: seconds until the other's lease ends.

    ``kept`` is what another process wrote since this one did, None when none did. ``reached``: the highest place in an
    archive that a message of the session may have.
    """

    granted: bool
    wait: float = 0.0
    reached: int = 0
    gone: bool = False
    """Another process has erased it."""

    kept: Kept | None = None


class Written(IntEnum):
    """What became of a window."""

    GONE = -1
    REFUSED = 0
    DONE = 1


class SharedKeys:
    """Reads and writes the sessions of one agent behind a `RedisLink`. Everything raises `RedisAway`."""

    def __init__(self, link: RedisLink, owner: str, *, user: str = "", ttl: float) -> None:
        """``owner`` names this agent's store; ``user`` is put before ids; ``ttl``: seconds a session is kept unused."""
        self._link = link
        self._owner = owner
        self._prefix = f"{user}:" if user else ""
        self._ttl = max(1, round(ttl * 1000))

    async def open(self) -> None:
        """Have the client loaded before it is needed."""
        await self._link.open()

    async def look(self, session_id: str) -> Kept | None:
        """What there is of a session; None when nothing is."""
        _, _, limit, history, _, about, gone = self._keys(session_id)

        async def ask(client: Any) -> tuple[bytes | None, list[bytes], bytes | None, bytes | None]:
            async with client.pipeline(transaction=True) as pipeline:
                pipeline.get(limit)
                pipeline.lrange(history, 0, -1)
                pipeline.get(about)
                pipeline.get(gone)
                return tuple(await pipeline.execute())

        told, window, more, erased = await self._link.ask(ask)
        return None if told is None or erased is not None else _kept(told, window, more)

    async def gone(self, session_id: str) -> bool:
        """Whether another process has erased it."""
        key = self._keys(session_id)[-1]
        by: bytes | None = await self._link.ask(lambda client: client.get(key))
        return by is not None and by.decode("utf-8", "replace") != self._owner

    async def claim(self, session_id: str) -> Claim:
        """Take the lease, or renew it."""
        answer = await self._run(_CLAIM, session_id, [round(LEASE_SECONDS * 1000)])
        if answer[0] < 0:
            return Claim(granted=False, gone=True)
        if not answer[0]:
            return Claim(granted=False, wait=max(0, answer[1]) / 1000)
        reached = int(answer[1]) if answer[1].isdigit() else 0
        return Claim(granted=True, reached=reached, kept=_kept(*answer[2:]) if len(answer) > 2 else None)

    async def write(
        self,
        session_id: str,
        limit: int | None,
        window: Sequence[Said],
        *,
        reached: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> Written:
        """Keep the window, instead of what was there, unless another process has the lease, or has written since.

        ``reached``: the highest place in an archive that a message of it may have; it never falls.
        """
        told = [
            json.dumps({"role": one.role, "content": one.content, "created_at": one.created_at}, ensure_ascii=False)
            for one in window
        ]
        about = json.dumps(dict(metadata or {}), ensure_ascii=False)
        figures = [self._ttl, "" if limit is None else limit, reached, about, *told]
        script = _PUT if self._prefix else _ERASED + _TURN + _PUT  # behind a gateway there is nobody else
        return Written((await self._run(script, session_id, figures, seconds=WRITING_SECONDS))[0])

    async def release(self, session_id: str) -> None:
        """Give the lease back, if it is this process's."""
        await self._run(_RELEASE, session_id, [])

    async def erase(self, session_id: str) -> None:
        """Keep nothing of a session but that it was erased, for as long as another process may remember it."""
        await self._run(_ERASE, session_id, [self._ttl], seconds=WRITING_SECONDS)

    async def _run(self, script: str, session_id: str, figures: Sequence[Any], *, seconds: float | None = None) -> Any:
        keys, values = self._keys(session_id), [self._owner, *figures]
        return await self._link.ask(
            lambda client: client.register_script(script)(keys=keys, args=values), seconds=seconds
        )

    def _keys(self, session_id: str) -> list[str]:
        return [f"chat_memory:{name}:{self._prefix}{session_id}" for name in _NAMES]


def _kept(limit: bytes, window: Sequence[bytes], about: bytes | None) -> Kept | None:
    """What was read; None when it is not what this program writes."""
    try:
        said = tuple(_said(json.loads(item)) for item in window)
        metadata = json.loads(about) if about else None
        return Kept(int(limit) if limit else None, said, metadata if isinstance(metadata, dict) else None)  # pyright: ignore[reportUnknownArgumentType] - JSON
    except (ValueError, KeyError, TypeError):
        return None


def _said(item: Any) -> Said:
    fields = cast("Mapping[str, Any]", item)
    role, content, created_at = fields["role"], fields["content"], fields.get("created_at", "")
    if role not in _ROLES or not isinstance(content, str) or not isinstance(created_at, str):
        raise ValueError("not a message")
    return Said(role, content, created_at)
