"""How often a wrong admin token may be shown: five times a minute from one address, whatever lists say."""

from typing import Final

from tom.clock import Clock
from tom.limits.addresses import counted_address
from tom.limits.limiter import Key, Rule
from tom.limits.local import LocalLimiter
from tom.limits.rules import refusal

ADMIN_GUESSES: Final = Rule(rate=5 / 60, burst=5)

RECORDED: Final = Rule(rate=1 / 60, burst=1)


class Guesses:
    """Counts an attempt as wrong before it is looked at, so that many at the same moment gain nothing."""

    def __init__(self, clock: Clock, rule: Rule = ADMIN_GUESSES) -> None:
        """Allow wrong guesses by ``rule``; counted in this process only."""
        self._rule = rule
        self._limiter = LocalLimiter(clock)

    def begin(self, address: str) -> None:
        """Count an attempt from ``address``. Raises `RateLimited`: then it must not be looked at."""
        wait = self._limiter.charge([self._key(address)])
        if wait > 0.0:
            raise refusal(wait)

    def right(self, address: str) -> None:
        """It was right: the attempt is taken back."""
        self._limiter.give_back([self._key(address)])

    def seldom(self, address: str, about: str) -> bool:
        """Whether ``about`` is to be recorded of ``address``: once a minute."""
        return self._limiter.charge([Key(f"{about}:{counted_address(address)}", RECORDED)]) <= 0.0

    def _key(self, address: str) -> Key:
        return Key(f"guess:{counted_address(address)}", self._rule)
