"""How many requests one provider gets: so many a minute, so many at once."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tom.clock import Clock
from tom.config.agent import LlmEntry
from tom.errors import ProviderRateLimited

LONGEST_WAIT = 30.0
"""Seconds that a request waits for its place; then another LLM is asked."""


class Spacing:
    """Holds requests back until the entry's bounds allow them."""

    def __init__(self, entry: LlmEntry, clock: Clock) -> None:
        """Bounds of 0 are none."""
        self._clock = clock
        bounds = [bound for bound in (entry.concurrent_requests, entry.max_connections) if bound > 0]
        self._places = asyncio.Semaphore(min(bounds)) if bounds else None
        self._rate = entry.requests_per_minute
        self._most = max(1, int(self._rate))
        self._begun: deque[float] = deque(maxlen=self._most)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """One request's place. Raises `ProviderRateLimited` when none comes free in time."""
        places = self._places
        if places is None:
            await self._wait()
            yield
            return
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await places.acquire()
        except TimeoutError:
            raise _crowded() from None
        try:
            await self._wait()
            yield
        finally:
            places.release()

    async def _wait(self) -> None:
        """Wait until a minute holds no more requests than it may, this one included."""
        if self._rate <= 0:
            return
        now = self._clock.monotonic()
        start = now
        if len(self._begun) == self._most:
            start = max(now, self._begun[0] + 60.0 * self._most / self._rate)
        if start - now > LONGEST_WAIT:
            raise _crowded()
        self._begun.append(start)
        await self._clock.sleep(start - now)


def _crowded() -> ProviderRateLimited:
    message = "The language model is asked as often as the settings allow."
    return ProviderRateLimited(message, retryable=False, spaced=True)
