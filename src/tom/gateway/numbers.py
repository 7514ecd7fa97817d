"""What the whole house has counted: the gateway itself, and its agents, which it asks now and then.

The gateway has counted every request over HTTP; from the agents come the actions of sockets, runs, tokens and tools. What an
agent told last is kept when it stops or starts again, so that no total ever goes back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tom.clock import Clock
from tom.gateway.agentlink import LinkError, ask, link_headers
from tom.gateway.pool import Pool
from tom.ids import ulid
from tom.spawner.spawner import AgentHandle
from tom.telemetry import logs
from tom.telemetry.health import Uptime
from tom.telemetry.metrics import Gauges, Metrics
from tom.telemetry.numbers import Numbers, decode_numbers

log = logs.get("gateway")

DOOR: Final = "gateway"
"""How the gateway names itself where it asks an agent for itself and for nobody else."""

EVERY: Final = 15.0
SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Told:
    """What one agent told: of which start of it, and whether it still runs there."""

    boot: str
    numbers: Numbers
    gauges: Gauges


class HouseNumbers:
    """Adds up. Used by one event loop."""

    def __init__(
        self, metrics: Metrics, pool: Pool, secret_of: Callable[[str], str], uptime: Uptime, clock: Clock
    ) -> None:
        """``metrics`` is the gateway's own; ``secret_of``: the secret of a user's agent."""
        self._metrics = metrics
        self._pool = pool
        self._secret_of = secret_of
        self._uptime = uptime
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._gone = Numbers()

    @property
    def numbers(self) -> Numbers:
        """The sum as it was last known."""
        total = Numbers()
        total.add(self._metrics.numbers)
        total.add(self._gone, requests=False)
        for told in self._told.values():
            total.add(told.numbers, requests=False)
        return total

    async def look(self) -> Gauges:
        """Ask the agents that run, at most a second in all; what is so at the moment, of those that answered."""
        handles = self._pool.agents()
        answers = await asyncio.gather(*(self._ask(handle) for handle in handles))
        for handle, told in zip(handles, answers, strict=True):
            if told is not None:
                self._keep(handle.user, told)
        found = [told.gauges for told in answers if told is not None]
        return Gauges(
            uptime=self._uptime.seconds(),
            active=sum(one.active for one in found),
            queued=sum(one.queued for one in found),
            waiting=sum(one.waiting for one in found),
            sockets=sum(one.sockets for one in found),
            archive_lag=max((one.archive_lag for one in found), default=0.0),
        )

    async def run(self) -> None:
        """Ask every quarter of a minute, so that little is lost when an agent dies; until cancelled."""
        while True:
            await self._clock.sleep(EVERY)
            await self.look()

    def _keep(self, user: str, told: _Told) -> None:
        known = self._told.get(user)
        if known is not None and known.boot != told.boot:
            self._gone.add(known.numbers, requests=False)
        self._told[user] = told

    async def _ask(self, handle: AgentHandle) -> _Told | None:
        try:
            headers = link_headers(handle.user, self._secret_of(handle.user), ulid(), DOOR)
            status, body = await ask(handle.socket, "/internal/numbers", headers, seconds=SECONDS)
            if status != 200:
                return None
            told: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
            return _Told(str(told["boot"]), decode_numbers(told["numbers"]), Gauges(**told["gauges"]))
        except (LinkError, ValueError, KeyError, TypeError, IndexError) as error:
            log.debug("An agent does not tell what it counted", event="numbers_missing", error=error)
            return None
