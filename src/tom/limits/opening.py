"""Chooses where arrivals are counted."""

from tom.clock import Clock
from tom.limits.limiter import Limiter
from tom.limits.local import LocalLimiter


def open_limiter(url: str, clock: Clock) -> Limiter:
    """The limiter of one process; ``url`` is that of the Redis that several processes share, or empty."""
    del url
    return LocalLimiter(clock)
