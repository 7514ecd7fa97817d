"""The way to a Redis that may be away: every question has an end, and a Redis that failed is left alone for a while.

The client (``tom-assistant[redis]``) is imported by the first question, in a thread. Nothing of an address or a password
is in an error or a log line.
"""

import asyncio
import contextlib
import importlib
import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tom.clock import Clock
from tom.errors import OperatorError, TomError
from tom.telemetry import logs

log = logs.get("redis")

ANSWER_SECONDS: Final = 0.05
LOADING_SECONDS: Final = 1.0
"""So long the first questions wait for the client's import, which says nothing of Redis."""

LEFT_ALONE_SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 16
TOLD_EVERY: Final = 60.0
_LONGEST: Final = 5.0
"""Seconds that the client waits by itself; a question ends before."""


class RedisAway(TomError):
    """Redis cannot be asked at the moment."""

    code = "redis_away"
    http_status = 503
    retryable = True


class RedisOpening(RedisAway):
    """The client of Redis is being loaded."""


class RedisMissing(OperatorError):
    """REDIS_URL is set, and the client of Redis is not installed: install tom-assistant[redis], or leave REDIS_URL out."""

    code = "redis_missing"


class RedisLink:
    """One process's connections to one Redis, and what is known of its health."""

    def __init__(
        self, url: str, clock: Clock, *, seconds: float = ANSWER_SECONDS, left_alone: float = LEFT_ALONE_SECONDS
    ) -> None:
        """Ask the Redis at ``url``; a question may take ``seconds``. Raises `RedisMissing`; connects to nothing yet.

        After a failure nobody asks for ``left_alone`` seconds, then one question tries it again.
        """
        if importlib.util.find_spec("redis") is None:
            raise RedisMissing
        self._url = url
        self._clock = clock
        self.seconds = seconds
        """How long a question may take."""
        self._left_alone = left_alone
        self._client: Any = None
        self._fault: type[Exception] = OSError
        self._loading: asyncio.Future[Any] | None = None
        self._failed = False
        self._closed = False
        self._again_at = 0.0
        self._reason = ""

    @property
    def away(self) -> bool:
        """Whether the last question failed."""
        return self._failed

    async def open(self) -> None:
        """Import the client and connect, so that the first question need not. A Redis that is away is one already then."""
        await self._load()
        with contextlib.suppress(RedisAway):
            await self.ask(lambda client: client.ping(), seconds=LOADING_SECONDS)

    async def ask[T](self, question: Callable[[Any], Awaitable[T]], *, seconds: float | None = None) -> T:
        """What ``question`` gets of the client (`redis.asyncio.Redis`), which answers in bytes; ``seconds``: how long it may take.

        Raises `RedisAway`; `RedisOpening` is no failure.
        """
        if self._client is None:
            try:
                async with asyncio.timeout(LOADING_SECONDS):
                    await self._load()
            except TimeoutError:
                raise RedisOpening from None
        now = self._clock.monotonic()
        if self._failed:
            if now < self._again_at:
                raise RedisAway(reason=self._reason)
            self._again_at = now + self._left_alone  # this question tries; the others do not wait for it
        try:
            async with asyncio.timeout(seconds or self.seconds):
                answer = await question(self._client)
        except (OSError, TimeoutError, self._fault) as error:
            self._failed = True
            self._reason = type(error).__name__
            self._again_at = self._clock.monotonic() + self._left_alone
            raise RedisAway(reason=self._reason) from error
        if self._failed:
            self._failed = False
            log.info("✅ Redis answers again", event="redis_back")
        return answer

    async def _load(self) -> None:
        if self._closed:
            raise RedisAway(reason="closed")
        if self._client is None:
            if self._loading is None:
                self._loading = asyncio.get_running_loop().run_in_executor(None, _client_module)
            module = await asyncio.shield(self._loading)
            self._fault = module.RedisError
            self._client = self._client or _make_client(module, self._url)

    async def close(self) -> None:
        """Close the connections; from now on Redis is away."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class Seldom:
    """Says once a minute that something may be told."""

    def __init__(self, clock: Clock, seconds: float = TOLD_EVERY) -> None:
        """Measure with ``clock``."""
        self._clock = clock
        self._seconds = seconds
        self._next = float("-inf")

    def due(self) -> bool:
        """Whether it may be told now; then not again for a minute."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


def open_link(url: str, clock: Clock) -> RedisLink | None:
    """The link to the Redis at ``url``; None where none is configured. Raises `RedisMissing`."""
    return RedisLink(url, clock) if url else None


def _client_module() -> Any:
    return importlib.import_module("redis.asyncio")


def _make_client(module: Any, url: str) -> Any:
    retry = importlib.import_module("redis.asyncio.retry").Retry
    backoff = importlib.import_module("redis.backoff").NoBackoff
    refused = importlib.import_module("redis.exceptions").ConnectionError
    pool = module.BlockingConnectionPool.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        timeout=_LONGEST,
        socket_timeout=_LONGEST,
        socket_connect_timeout=_LONGEST,
        retry=retry(backoff(), 1, supported_errors=(refused,)),  # a connection of the pool may have been closed
        protocol=2,
    )
    return module.Redis.from_pool(pool)
