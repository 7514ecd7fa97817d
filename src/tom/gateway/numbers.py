"""What the whole house has counted: the gateway itself, and its agents, which it asks now and then.

The gateway has counted every request over HTTP; from the agents come the actions of sockets, runs, tokens and tools. What an
agent told last is kept when it stops or starts again, so that no total ever goes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tom.clock import Clock
from tom.gateway.errands import Errands
from tom.telemetry import logs
from tom.telemetry.health import Uptime
from tom.telemetry.metrics import Gauges, Metrics
from tom.telemetry.numbers import Numbers, decode_numbers

log = logs.get("gateway")

EVERY: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Told:
    """What one agent told: of which start of it, and whether it still runs there."""

    boot: str
    numbers: Numbers
    gauges: Gauges


class HouseNumbers:
    """Adds up. Used by one event loop."""

    def __init__(self, metrics: Metrics, errands: Errands, uptime: Uptime, clock: Clock) -> None:
        """``metrics`` is the gateway's own; agents are asked by ``errands``."""
        self._metrics = metrics
        self._errands = errands
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
        """Ask the agents that run, for two seconds at most; what is so at the moment, of those that answered."""
        answers = {user: _read(told) for user, told in (await self._errands.ask_all("/internal/numbers")).items()}
        for user, told in answers.items():
            if told is not None:
                self._keep(user, told)
        found = [told.gauges for told in answers.values() if told is not None]
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


def _read(told: Mapping[str, Any]) -> _Told | None:
    try:
        return _Told(str(told["boot"]), decode_numbers(told["numbers"]), Gauges(**told["gauges"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:  # an agent of another version
        log.warning("⚠️ The numbers of an agent cannot be read", event="numbers_unreadable", error=error)
        return None
