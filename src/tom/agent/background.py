"""What goes on in the background, in one line per service: the answer of ``GET /tasks``."""

import asyncio
from collections.abc import Sequence

from tom.agent.scheduler import Scheduler
from tom.clock import Clock
from tom.config.agent import ServiceEntry
from tom.services.cleaning import clean
from tom.services.library import Library
from tom.telemetry import logs

log = logs.get("agent")

KIND = "tom_notification"
SECONDS = 5.0
KEPT = 30.0
LONGEST = 200


class Background:
    """Asks all services at once, at most every thirty seconds; ``number`` changes only when the list does."""

    def __init__(self, entries: Sequence[ServiceEntry], library: Library, scheduler: Scheduler, clock: Clock) -> None:
        """Ask the enabled ones among ``entries``."""
        self._names = sorted(entry.name for entry in entries if entry.enabled)
        self._library = library
        self._scheduler = scheduler
        self._clock = clock
        self._told: list[dict[str, str]] = []
        self._until = float("-inf")
        self._asking = asyncio.Lock()
        self._last: list[dict[str, str]] = []
        self.number = int(clock.now().timestamp())

    async def tasks(self) -> list[dict[str, str]]:
        """``{"module", "status"}`` of each service that says something, and of the runs, by module. Never raises."""
        tasks = sorted([*await self._services(), *self._runs()], key=lambda task: task["module"])
        if tasks != self._last:
            self._last = tasks
            self.number = max(self.number + 1, int(self._clock.now().timestamp()))
        return tasks

    async def _services(self) -> list[dict[str, str]]:
        async with self._asking:  # whoever comes meanwhile takes what is asked for already
            if self._clock.monotonic() >= self._until:
                lines = await asyncio.gather(*(self._line(name) for name in self._names))
                told = zip(self._names, lines, strict=True)
                self._told = [{"module": name, "status": line} for name, line in told if line]
                self._until = self._clock.monotonic() + KEPT
        return self._told

    async def _line(self, name: str) -> str:
        try:
            async with asyncio.timeout(SECONDS):
                text = await self._library.description(name, KIND, timeout=SECONDS)
        except Exception as error:  # noqa: BLE001 - a service that fails has nothing to tell
            log.debug("A service did not say what it does", event="tasks_failed", reason=type(error).__name__)
            return ""
        return " ".join(clean(text or "").split())[:LONGEST].rstrip()

    def _runs(self) -> list[dict[str, str]]:
        at_work, waiting = self._scheduler.active_runs, self._scheduler.waiting_runs
        said = [f"{count} {word} run{'s' if count > 1 else ''}" for count, word in _counts(at_work, waiting) if count]
        return [{"module": "tom", "status": ", ".join(said)}] if said else []


def _counts(at_work: int, waiting: int) -> tuple[tuple[int, str], ...]:
    return (at_work, "active"), (waiting, "waiting")
