"""How often a caller may ask this agent: by who they are, and by where they come from.

Behind the gateway the agent counts the caller, and the gateway the addresses of requests and upgrades. What happens on
a socket only the agent sees: there it counts the address too, in a bucket of its own. An agent alone counts both. The
operator of this machine is not counted: what they look up for a person must not use up that person's rate.
"""

from collections.abc import Callable

from tom.agent.identify import CONTROL
from tom.config.agent import RateSettings
from tom.limits.addresses import counted_address
from tom.limits.limiter import Key, Limiter
from tom.limits.rules import refusal, rule_of
from tom.openapi.operations import Operation, Rate
from tom.policy.permissions import Caller


class Rates:
    """Lets operations and actions pass, or says when."""

    def __init__(
        self,
        limiter: Limiter,
        settings: RateSettings | None,
        *,
        alone: bool = False,
        bypassed: Callable[[str], bool] | None = None,
    ) -> None:
        """Count in ``limiter`` by ``settings`` (None: nothing is counted); ``alone``: there is no gateway in front.

        ``bypassed`` says of an address that it is not counted; quotas and the caller's own rate stay.
        """
        self.limiter = limiter
        self.settings = settings
        self.bypassed: Callable[[str], bool] = bypassed or _nobody
        self._alone = alone

    async def admit(self, caller: Caller, operation: Operation | None) -> None:
        """Count one request, or (``operation`` None) one action of a socket. Raises `RateLimited`, nothing counted."""
        if self.settings is None or caller.door == CONTROL:
            return
        rate = Rate.WRITE if operation is None else operation.rate
        if rate is Rate.NONE:
            return
        await self._take(caller, self.settings, rate, action=operation is None)

    async def admit_upgrade(self, caller: Caller) -> None:
        """Count the opening of a socket. Raises `RateLimited`, nothing counted."""
        if self.settings is not None and caller.door != CONTROL:
            await self._take(caller, self.settings, Rate.WRITE, action=False)

    async def _take(self, caller: Caller, settings: RateSettings, rate: Rate, *, action: bool) -> None:
        reads = rate is Rate.READ
        rule, bucket = rule_of(settings, reads=reads), "read:" if reads else ""
        keys = [Key(bucket + caller.key, rule)] if caller.key else []
        if self._alone or action:
            address = counted_address(caller.address)
            if address and not self.bypassed(caller.address):
                keys.append(Key(f"{bucket}ip:{address}" if self._alone else f"socket:ip:{address}", rule))
        if not keys:
            return
        wait = await self.limiter.take(keys)
        if wait > 0.0:
            raise refusal(wait)


def _nobody(_address: str) -> bool:
    return False
