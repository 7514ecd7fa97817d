"""A clock that stands still until a test moves it."""

import asyncio
from datetime import UTC, datetime, timedelta


class ManualClock:
    """`tom.clock.Clock` by hand. ``sleeping`` is how many tasks wait for it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Begin at ``start``."""
        self._start = start
        self._passed = 0.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The wall time in UTC."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock this far."""
        if seconds <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (self._passed + seconds, woken)
        self._waiting.append(place)
        try:
            await woken
        finally:
            self._waiting.remove(place)

    def advance(self, seconds: float) -> None:
        """Move on; whoever has slept long enough goes on as soon as the event loop runs."""
        self._passed += seconds
        for due, woken in self._waiting:
            if due <= self._passed and not woken.done():
                woken.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many tasks sleep."""
        return len(self._waiting)

    @property
    def next_due(self) -> float | None:
        """Seconds until the first of them is due; None when nobody sleeps."""
        return min((due - self._passed for due, _ in self._waiting), default=None)
