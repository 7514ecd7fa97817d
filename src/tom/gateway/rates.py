"""How often an address may ask this gateway. Who is asking is counted by their agent, and here where no agent is asked."""

from tom.config.agent import RateSettings
from tom.limits.addresses import counted_address
from tom.limits.bypass import Bypass
from tom.limits.limiter import Key, Limiter
from tom.limits.rules import refusal, rule_of
from tom.openapi.operations import Rate


class AddressRates:
    """Counts requests and upgrades of everybody."""

    def __init__(self, limiter: Limiter, settings: RateSettings | None, bypass: Bypass) -> None:
        """Count in ``limiter`` by ``settings`` (None: nothing is counted); addresses on ``bypass`` are not counted."""
        self.limiter = limiter
        self.settings = settings
        self.bypass = bypass

    async def admit(self, address: str, rate: Rate, caller: str = "") -> None:
        """Count one arrival from ``address`` and, where it is named, of ``caller`` (``user:NAME``, ``api_key:…``).

        Raises `RateLimited`; then nothing was counted.
        """
        if self.settings is None or rate is Rate.NONE:
            return
        reads = rate is Rate.READ
        rule, bucket = rule_of(self.settings, reads=reads), "read:" if reads else ""
        counted = counted_address(self.told(address))
        names = [name for name in (caller, f"ip:{counted}" if counted else "") if name]
        if not names:
            return
        wait = await self.limiter.take([Key(bucket + name, rule) for name in names])
        if wait > 0.0:
            raise refusal(wait)

    def told(self, address: str) -> str:
        """The address as agents count it: nothing for one that is on the bypass list."""
        return "" if self.bypass.covers(address) else address
