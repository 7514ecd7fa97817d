"""What the gateway asks agents for itself, on behalf of no person: their numbers, their state, their lists of sessions.

Only agents that run are asked, all at once, each for a short time; one that does not answer is left out.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tom.gateway.agentlink import LinkError, exchange, link_headers
from tom.gateway.pool import Pool
from tom.ids import ulid
from tom.spawner.spawner import AgentHandle

DOOR: Final = "gateway"
"""How the gateway names itself to agents where it asks for itself."""

SECONDS: Final = 2.0
_LARGEST: Final = 64 * 1024 * 1024


class Errands:
    """Asks the agents of a pool."""

    def __init__(self, pool: Pool, secret_of: Callable[[str], str], *, seconds: float = SECONDS) -> None:
        """``secret_of``: the secret of a user's agent; ``seconds``: how long one may take in all."""
        self._pool = pool
        self._secret_of = secret_of
        self._seconds = seconds

    async def ask_all(self, target: str, body: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """What the agents that run answer, by user: GET, or PUT with a ``body``."""
        handles = self._pool.agents()
        answers = await asyncio.gather(*(self._ask(handle, target, body) for handle in handles))
        return {handle.user: told for handle, told in zip(handles, answers, strict=True) if told is not None}

    async def _ask(self, handle: AgentHandle, target: str, body: Mapping[str, Any] | None) -> dict[str, Any] | None:
        headers = link_headers(handle.user, self._secret_of(handle.user), ulid(), DOOR)
        content = b""
        if body is not None:
            headers.append((b"content-type", b"application/json"))
            content = msgspec.json.encode(body)
        method = "GET" if body is None else "PUT"
        try:
            async with asyncio.timeout(self._seconds):
                link = await exchange(handle.socket, method, target.encode("ascii"), headers, content)
                with contextlib.closing(link):
                    await link.head(self._seconds)
                    text = await link.body(self._seconds, _LARGEST)
            return msgspec.json.decode(text, type=dict[str, Any]) if link.status == 200 else None
        except (LinkError, TimeoutError, msgspec.DecodeError, msgspec.ValidationError):
            return None
