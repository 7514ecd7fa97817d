"""What the gateway tells its admins, and does for them, in all of the house."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final, Protocol

from tom.archive.archive import SessionRecord
from tom.archive.opening import open_archive
from tom.audit.asked import Page
from tom.audit.changing import Changeable, changed, current
from tom.audit.desk import Setting
from tom.audit.refusals import NotSupervised, PrivateConversations
from tom.audit.runtime import Live, runtime_body
from tom.clock import Clock
from tom.config.settings import Settings
from tom.gateway.errands import Errands
from tom.gateway.rates import AddressRates
from tom.telemetry import logs
from tom.telemetry.health import Uptime

log = logs.get("admin")

MOST: Final = 10_000
"""So many sessions of one agent are looked through."""


class Kept(Protocol):
    """The gateway's settings, which a change replaces."""

    @property
    def settings(self) -> Settings:
        """Those in force."""
        ...

    def use(self, settings: Settings) -> None:
        """Put others in force, for agents that start from now on."""
        ...

    def restart(self) -> None:
        """Stop, to be started again."""
        ...


class GatewayHouse:
    """`tom.audit.desk.House` of the gateway."""

    def __init__(
        self,
        kept: Kept,
        errands: Errands,
        rates: AddressRates,
        uptime: Uptime,
        clock: Clock,
        explain: Callable[[], Sequence[Setting]],
    ) -> None:
        """``explain``: every setting with its source; blocks."""
        self._kept = kept
        self._errands = errands
        self._rates = rates
        self._uptime = uptime
        self._clock = clock
        self._explain = explain

    async def runtime(self) -> Mapping[str, Any]:
        """The body of ``GET /admin/runtime``; the model is the one that people have who chose none."""
        settings = self._kept.settings
        told = await self._errands.ask_all("/internal/state")
        entries = (entry for services in settings.services.values() for entry in services)
        live = Live(
            limiter=self._rates.limiter.backend,
            started_at=self._uptime.started_at,
            lag=max((float(one.get("archive_lag_seconds", 0.0)) for one in told.values()), default=0.0),
            services={entry.name for entry in entries if entry.enabled},
            connected={name for one in told.values() for name in one.get("connected", ())},
            archived=settings.template.archive.backend != "none",
        )
        shared = replace(settings.template, doors=settings.doors, llm=settings.llm, llms=settings.llms)
        return runtime_body(shared, live)

    async def sessions(self, page: Page, state: str | None) -> Mapping[str, Any]:
        """The sessions of those whose agents run; ``asleep`` names the others, who are not woken for this."""
        first = min(page.offset + page.limit, MOST)
        query = f"?first={first}" + (f"&state={state}" if state else "")
        told = await self._errands.ask_all(f"/internal/sessions{query}")
        found = [session for one in told.values() for session in one.get("sessions", ())]
        found.sort(key=itemgetter("updated_at", "id"), reverse=True)
        people = [user.username for user in self._kept.settings.users if not user.disabled]
        return {"sessions": page.of(found), "asleep": sorted(set(people) - told.keys())}

    async def messages(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """Nobody's: people who log in have private conversations."""
        del session_id
        raise PrivateConversations

    async def archived(
        self, page: Page, since: str | None, until: str | None
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """A page of what is mirrored of everybody. The gateway asks the archive itself, so no agent is woken."""
        settings = self._kept.settings
        if settings.template.archive.backend == "none":
            return (), 0
        found: list[tuple[str, SessionRecord]] = []
        total = 0
        for user in settings.users:
            rows, count = await self._of(user.username, page.offset + page.limit, since, until)
            found += [(user.username, row) for row in rows]
            total += count
        found.sort(key=lambda one: (one[1].created_at, one[1].id), reverse=True)
        return [_told(user, row) for user, row in page.of(found)], total

    async def archived_messages(self, session_id: str, page: Page) -> Sequence[Mapping[str, Any]]:
        """Nobody's, as above."""
        del session_id, page
        raise PrivateConversations

    def settings(self) -> Sequence[Setting]:
        """Every setting; blocks."""
        return self._explain()

    def current(self, field: str) -> Any:
        """What a changeable setting says now."""
        return current(self._changeable(), field)

    async def change(self, field: str, value: Any) -> Any:
        """Put another value in force here, in the agents that run, and in those that start later."""
        now = changed(self._changeable(), field, value)
        settings = self._kept.settings
        told = settings.template.doors
        doors = replace(
            told, rates=now.doors.rates, memory_default=now.doors.memory_default, memory_max=now.doors.memory_max
        )
        template = replace(settings.template, doors=doors, log=now.log)
        self._kept.use(replace(settings, doors=now.doors, log=now.log, template=template))
        self._rates.settings = now.doors.rates
        logs.set_level(now.log.level)
        log.info("🔧 A setting was changed", event="setting_changed", field=field)
        await self._errands.ask_all("/internal/settings", {"field": field, "value": value})
        return current(now, field)

    def restart(self) -> None:
        """Stop as on SIGTERM, to be started again. Raises `NotSupervised`."""
        if not self._kept.settings.doors.supervised:
            raise NotSupervised
        self._kept.restart()

    def _changeable(self) -> Changeable:
        settings = self._kept.settings
        return Changeable(settings.doors, settings.log)

    async def _of(
        self, user: str, limit: int, since: str | None, until: str | None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        settings = self._kept.settings
        archive = open_archive(settings.template.archive, user, self._clock, redis=settings.doors.redis)
        if archive is None:
            return (), 0
        try:
            return await archive.sessions(limit=limit, offset=0, since=since, until=until)
        finally:
            await archive.close()


def _told(user: str, row: SessionRecord) -> dict[str, Any]:
    return {
        "id": row.id,
        "user": user,
        "memory_limit": row.memory_limit,
        "created_at": row.created_at,
        "metadata": dict(row.metadata),
    }
