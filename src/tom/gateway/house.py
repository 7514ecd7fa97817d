"""What the gateway counts, records and lets its admins do: these parts are made together and run together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tom.accounts.tokens import Tokens
from tom.audit.chain import Chain
from tom.audit.desk import Desk, Setting
from tom.audit.gate import AdminGate
from tom.clock import Clock
from tom.config.settings import Settings
from tom.errors import RateLimited, TomError
from tom.gateway.admin import AdminDoor
from tom.gateway.adminhouse import GatewayHouse, Kept
from tom.gateway.errands import Errands
from tom.gateway.metricsdoor import MetricsDoor
from tom.gateway.numbers import HouseNumbers
from tom.gateway.pool import Pool
from tom.gateway.rates import AddressRates
from tom.gateway.request import Request
from tom.gateway.table import Route
from tom.limits.guesses import Guesses
from tom.sqlite import Database
from tom.telemetry.health import Uptime
from tom.telemetry.metrics import Metrics
from tom.telemetry.numbers import Numbers
from tom.telemetry.redaction import redact
from tom.telemetry.refusals import tell_refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """``metrics`` and ``counted`` are None where nothing is counted."""

    chain: Chain
    admin: AdminDoor
    errands: Errands
    uptime: Uptime
    database: Database
    metrics: Metrics | None
    audit_days: float
    counted: HouseNumbers | None
    public: bool

    def routes(self) -> list[Route]:
        """The routes of admins, and of figures where there are any."""
        shown = MetricsDoor(self.counted, self.admin, public=self.public).routes() if self.counted else []
        return [*self.admin.routes(), *shown]

    def numbers(self) -> Numbers | None:
        """What was counted, as it was last known."""
        return self.counted.numbers if self.counted else None

    async def run(self) -> None:
        """Keep the record and the numbers; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.chain.keep(self.audit_days))
            if self.counted:
                group.create_task(self.counted.run())

    def refused(self, error: TomError) -> None:
        """Take note of the refusal of a socket."""
        tell_refusal(error, operation="socket")
        if self.metrics is not None and isinstance(error, RateLimited):
            self.metrics.rate_limited()

    def burning(self, tokens: Tokens) -> Callable[[str], Awaitable[object]]:
        """What takes back a token that stood in a URL, and records it."""

        async def burn(shown: str) -> None:
            token = await tokens.revoke_shown(shown)
            if token is not None:
                await self.chain.note("token.revoked", who=token.user, source="shown in a URL", subject=token.id)

        return burn

    async def details(self, request: Request) -> Mapping[str, Any] | None:
        """How the parts of the house are, for an admin; None for everybody else, and for whoever guesses too often."""
        try:
            if not await self.admin.shows_token(request):
                return None
        except RateLimited:
            return None
        told = await self.errands.ask_all("/internal/state")
        gauges = await self.counted.look() if self.counted else None
        lag = max((float(one.get("archive_lag_seconds", 0.0)) for one in told.values()), default=0.0)
        return {
            "store": {"status": "lost" if self.database.lost else "ok"},
            "scheduler": {
                "active": gauges.active if gauges else None,
                "queued": gauges.queued if gauges else None,
                "waiting": gauges.waiting if gauges else None,
            },
            "archive": {"lag_seconds": lag, "archive_behind": any(one.get("archive_behind") for one in told.values())},
            "redis": {"limiters": sorted({str(one.get("limiter")) for one in told.values()})},
            "services": {user: one.get("services", {}) for user, one in sorted(told.items())},
        }


async def open_house(
    settings: Settings,
    kept: Kept,
    *,
    database: Database,
    pool: Pool,
    secret_of: Callable[[str], str],
    rates: AddressRates,
    clock: Clock,
    env: Mapping[str, str],
) -> House:
    """Make the parts; ``database`` is that of the accounts. Close ``chain`` before it."""
    chain = await Chain.open(database, clock, settings.data_dir / "gateway")
    uptime, errands = Uptime(clock), Errands(pool, secret_of)
    metrics = Metrics(clock) if settings.doors.metrics else None
    explain = partial(explained, settings.data_dir, settings.path, env)
    house = GatewayHouse(kept, errands, rates, uptime, clock, explain)
    gate = AdminGate(settings.doors.admin_token, Guesses(clock), chain)
    return House(
        chain=chain,
        admin=AdminDoor(gate, Desk(rates.bypass, chain, house, clock)),
        errands=errands,
        uptime=uptime,
        database=database,
        metrics=metrics,
        audit_days=settings.doors.audit_days,
        counted=HouseNumbers(metrics, errands, uptime, clock) if metrics else None,
        public=settings.doors.metrics_public,
    )


def explained(data_dir: Path, path: Path, env: Mapping[str, str]) -> Sequence[Setting]:
    """Every setting of the house with its source. Blocks. Raises `ConfigInvalid`."""
    from tom.config.explain import effective  # noqa: PLC0415 - brings pydantic, which no request needs

    return [
        Setting(one.key, one.value, one.source, one.secret) for one in effective(data_dir, path, env, redact=redact)
    ]
