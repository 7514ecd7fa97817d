"""Counting for all processes of one Redis: one atomic script, by Redis's own clock (`gcra.lua`).

Every arrival is charged in this process as well, before Redis is asked, and what Redis answers is remembered. So the same
limit holds here while Redis is away, with nothing forgotten of what passed anywhere before; and what is known to be too
much need not be asked.
"""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from tom.clock import Clock
from tom.limits.limiter import Key
from tom.limits.link import RedisAway, RedisLink, RedisOpening, Seldom
from tom.limits.local import LocalLimiter
from tom.telemetry import logs

log = logs.get("limits")

PREFIX: Final = "rate_limiter:"
_MICROSECONDS: Final = 1_000_000


class RedisLimiter:
    """Counts the arrivals of all processes that share a Redis; of this one alone while it is away."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        """Count behind ``link``."""
        self.link = link
        self._local = LocalLimiter(clock)
        self._warning = Seldom(clock)

    @property
    def backend(self) -> str:
        """See `tom.limits.limiter.Limiter.backend`."""
        return "redis"

    async def take(self, keys: Sequence[Key]) -> float:
        """See `tom.limits.limiter.Limiter.take`."""
        wait = self._local.charge(keys)
        if wait > 0.0:
            return wait
        names = [PREFIX + key.name for key in keys]
        figures = [figure for key in keys for figure in (_MICROSECONDS / key.rule.rate, key.rule.burst)]

        async def count(client: Any) -> list[int]:
            return await client.register_script(_script())(keys=names, args=figures)

        try:
            microseconds, *until_full = await self.link.ask(count)
        except RedisAway as error:
            if not isinstance(error, RedisOpening) and self._warning.due():
                log.warning(
                    "⚠️ Redis does not count arrivals; this process does, by the same limits",
                    event="rate_limit_check_failed",
                    reason=error.details.get("reason", ""),
                )
            return 0.0
        if microseconds > 0:
            self._local.give_back(keys)
        self._local.learn(keys, [each / _MICROSECONDS for each in until_full])
        return microseconds / _MICROSECONDS

    async def close(self) -> None:
        """Let go of connections."""
        await self.link.close()


@cache
def _script() -> str:
    return resources.files("tom.limits").joinpath("gcra.lua").read_text()
