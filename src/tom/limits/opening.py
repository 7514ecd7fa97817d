"""Chooses where arrivals are counted."""

from tom.clock import Clock
from tom.limits.limiter import Limiter
from tom.limits.link import RedisLink
from tom.limits.local import LocalLimiter


def open_limiter(link: RedisLink | None, clock: Clock) -> Limiter:
    """The limiter of one process; ``link`` leads to the Redis that several processes share, if there is one."""
    if link is None:
        return LocalLimiter(clock)
    from tom.limits.redis import RedisLimiter  # noqa: PLC0415 - only where there is a Redis

    return RedisLimiter(link, clock)
