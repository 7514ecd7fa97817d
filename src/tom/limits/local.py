"""Counting in this process: one timestamp for each key that is not idle.

A key's timestamp is the moment at which its bucket is full again. Arrivals that conform move it on by one interval;
those that do not leave it. Keys are kept in two generations: what was not moved for as long as the slowest bucket
takes to fill is full, and is dropped with the older generation.
"""

import threading
from collections.abc import Sequence
from typing import Final

from tom.clock import Clock
from tom.limits.limiter import Key, Rule

MOST_KEYS: Final = 200_000
"""Keys of one generation; newcomers beyond them share the bucket `NEWCOMERS`, so that memory and rates stay bounded."""

NEWCOMERS: Final = "newcomers"

_DUST: Final = 1e-9
"""Seconds that are rounding, not time."""


class LocalLimiter:
    """Counts the arrivals of one process. May be used from several threads."""

    def __init__(self, clock: Clock, *, most_keys: int = MOST_KEYS) -> None:
        """Measure with the monotonic clock of ``clock``."""
        self._clock = clock
        self._most = most_keys
        self._lock = threading.Lock()
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}
        self._longest = 0.0
        self._turns_at = 0.0

    @property
    def backend(self) -> str:
        """See `tom.limits.limiter.Limiter.backend`."""
        return "local"

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._young) + len(self._old)

    async def take(self, keys: Sequence[Key]) -> float:
        """See `tom.limits.limiter.Limiter.take`."""
        return self.charge(keys)

    def charge(self, keys: Sequence[Key]) -> float:
        """As `take`, at once."""
        with self._lock:
            now = self._clock.monotonic()
            self._age(keys, now)
            places = [(self._place(key.name), key.rule) for key in keys]
            waits = [self._full_at(name, rule, now) - now - (rule.burst - 1) / rule.rate for name, rule in places]
            wait = max(waits, default=0.0)
            if wait > _DUST:
                return wait
            for name, rule in places:
                self._young[name] = max(self._known(name), now) + 1.0 / rule.rate
            return 0.0

    def give_back(self, keys: Sequence[Key]) -> None:
        """Take back what `charge` let pass a moment ago, as if it had not come."""
        with self._lock:
            for key in keys:
                if key.name in self._young or key.name in self._old:
                    self._young[key.name] = self._known(key.name) - 1.0 / key.rule.rate

    def learn(self, keys: Sequence[Key], until_full: Sequence[float]) -> None:
        """Take over from elsewhere in how many seconds each bucket is full, where that is later than is known here."""
        with self._lock:
            now = self._clock.monotonic()
            for key, seconds in zip(keys, until_full, strict=True):
                name = self._place(key.name)
                if name == key.name and now + seconds > self._known(name):
                    self._young[name] = now + seconds

    async def close(self) -> None:
        """Nothing is held."""

    # --- below ----------------------------------------------------------------------------------------------------

    def _full_at(self, name: str, rule: Rule, now: float) -> float:
        full_at, most = self._known(name), now + rule.burst / rule.rate
        if full_at <= most:
            return full_at
        # A rule that was changed, or another one under the same key, makes nobody wait longer than it says itself.
        self._young[name] = most
        return most

    def _known(self, name: str) -> float:
        return self._young.get(name) or self._old.get(name) or 0.0

    def _place(self, name: str) -> str:
        if len(self._young) < self._most or name in self._young:
            return name
        return NEWCOMERS

    def _age(self, keys: Sequence[Key], now: float) -> None:
        slowest = max((key.rule.burst / key.rule.rate for key in keys), default=0.0)
        if slowest > self._longest:
            self._longest = slowest
            self._turns_at = now + slowest
        if now >= self._turns_at:
            # Whoever was moved within the last period is still young; before that, the bucket has become full.
            self._old = self._young if now < self._turns_at + self._longest else {}
            self._young = {}
            self._turns_at = now + self._longest
