"""user → running agent: started on the first request, stopped when idle, started again after a crash.

Above: the proxy and the sockets, which hold a `Lease` while they use an agent. Below: a spawner. The pool looks at no
request; whether an idle agent still has runs it asks the agent itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from tom.clock import Clock
from tom.errors import ShuttingDown, TomError
from tom.gateway.awake import Awake
from tom.gateway.place import Place
from tom.gateway.refusals import AgentUnavailable
from tom.spawner.spawner import AgentHandle, AgentSpec, Spawner
from tom.telemetry import logs

log = logs.get("pool")

RETRY_AFTER: Final = 5.0
_LOOK_EVERY: Final = 1.0
_STOP_GRACE: Final = 30.0
_NEWS_SECONDS: Final = 5.0
_NEWS_EVERY: Final = 0.02
_WAKE_AT_ONCE: Final = 2
_SEE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """``spawner`` of config.yml; seconds."""

    start_timeout: float = 30.0
    idle_stop: float = 900.0
    max_agents: int = 50


class Lease:
    """The right to use an agent; an agent with leases is not idle."""

    __slots__ = ("_clock", "_place", "handle")

    def __init__(self, place: Place, handle: AgentHandle, clock: Clock) -> None:
        """Use `Pool.take`."""
        self.handle = handle
        self._place: Place | None = place
        self._clock = clock
        place.in_use += 1

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._place:
            self._place.in_use -= 1
            self._place.used = self._clock.monotonic()
            self._place = None


class Pool:
    """The agents of this gateway; use it as an async context manager, it owns its tasks."""

    def __init__(
        self,
        spawner: Spawner,
        *,
        spec_of: Callable[[str], AgentSpec],
        active_runs: Callable[[AgentHandle], Awaitable[int]],
        awake: Awake,
        clock: Clock,
        limits: PoolLimits | None = None,
    ) -> None:
        """``spec_of`` says how a user's agent is started; ``active_runs`` asks an agent how many runs it has."""
        self._spawner = spawner
        self._spec_of = spec_of
        self._active_runs = active_runs
        self._awake = awake
        self._clock = clock
        self._limits = limits or PoolLimits()
        self._places: dict[str, Place] = {}
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: set[Place] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._own(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closing:
            self._closing = True
            await self._remember_busy()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    # --- using agents ---------------------------------------------------------------------------------------------

    async def take(self, user: str) -> Lease:
        """The user's agent, started if need be; concurrent callers share one start.

        Raises `AgentUnavailable` when it cannot be had now, `ShuttingDown` when the gateway stops.
        """
        place = self._places.get(user)
        if place and place.handle and not place.work:
            return Lease(place, place.handle, self._clock)
        deadline = self._clock.monotonic() + self._limits.start_timeout
        while not self._closing:
            place = self._places.get(user) or self._make_place(user)
            if place.handle and not place.work:
                return Lease(place, place.handle, self._clock)
            await self._wait_for(place, deadline)
        raise ShuttingDown

    async def ended(self, user: str) -> bool:
        """Whether the user's agent, which nobody can reach, has ended; waits a little for the news of it."""
        deadline = self._clock.monotonic() + _NEWS_SECONDS
        while not await self.look(user):
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(_NEWS_EVERY)
        return True

    async def look(self, user: str) -> bool:
        """See at once whether the user's agent has ended: a request has just failed."""
        place = self._places.get(user)
        if place:
            await self._look(place)
        return place is None or place.handle is None

    async def drop(self, user: str) -> None:
        """Stop the agent of a user who is gone or disabled."""
        place = self._places.pop(user, None)
        if place:
            place.wanted = False
            if place.handle and not place.work:
                self._begin(place, self._stop(place))
        self._awake.forget(user)

    async def drain(self) -> None:
        """Give no agent out any more, tell all to stop and wait until they have: their runs and sockets end first.

        Agents that had unfinished runs stay marked and are woken at the next start.
        """
        self._closing = True
        await self._remember_busy()

        async def drain_one(place: Place, handle: AgentHandle) -> None:
            place.handle = None
            await self._spawner.stop(handle, grace=_STOP_GRACE)

        async with asyncio.TaskGroup() as group:
            for place in self._places.values():
                if place.handle and not place.work:
                    group.create_task(drain_one(place, place.handle))

    def counts(self) -> dict[str, int]:
        """How many agents run and how many are being started, for health."""
        running = sum(1 for place in self._places.values() if place.handle)
        starting = sum(1 for place in self._places.values() if place.work and not place.handle)
        return {"running": running, "starting": starting}

    def agents(self) -> list[AgentHandle]:
        """The agents that run."""
        return [place.handle for place in self._places.values() if place.handle]

    async def wake(self) -> None:
        """Start the agents that had work when the gateway last ended, so that it goes on without anybody asking."""
        gate = asyncio.Semaphore(_WAKE_AT_ONCE)

        async def wake_one(user: str) -> None:
            async with gate:
                with contextlib.suppress(AgentUnavailable, ShuttingDown):
                    (await self.take(user)).release()

        async with asyncio.TaskGroup() as group:
            for user in self._awake.users():
                group.create_task(wake_one(user))

    # --- starting -------------------------------------------------------------------------------------------------

    def _make_place(self, user: str) -> Place:
        place = self._places[user] = Place(user, self._clock.monotonic())
        return place

    async def _wait_for(self, place: Place, deadline: float) -> None:
        """Wait for what is being done to the agent, or begin its start. The start goes on when the wait is over."""
        now = self._clock.monotonic()
        refused = place.refuses_until(now)
        if refused > 0:
            raise AgentUnavailable(place.user, retry_after=refused)
        if not place.work:
            await self._make_room(place)
            if not place.work and not place.handle:
                self._begin(place, self._start(place))
        work = place.work
        if not work:
            return
        try:
            async with asyncio.timeout(max(0.0, deadline - now)):
                await asyncio.shield(work)
        except TimeoutError:
            raise AgentUnavailable(place.user, retry_after=RETRY_AFTER) from None
        if place.failed:
            raise AgentUnavailable(place.user, retry_after=max(1.0, place.retry_at - self._clock.monotonic()))

    def _begin(self, place: Place, work: Coroutine[Any, Any, None]) -> None:
        """Do something to an agent, as the only one who does."""

        async def alone() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - one agent's trouble must not end the others
                place.failed = True
                log.error(f"❌ Agent of '{place.user}': {error}", event="agent_trouble", user=place.user, error=error)
            finally:
                place.work = None

        place.work = self._own(alone())

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self, place: Place) -> None:
        await self._clock.sleep(place.retry_at - self._clock.monotonic())
        self._awake.remember(place.user)
        place.failed = False
        try:
            handle = await self._spawner.start(self._spec_of(place.user))
        except (TomError, OSError, ValueError) as error:
            place.failed = True
            wait = place.crashed(self._clock.monotonic())
            log.error(
                f"❌ Agent of '{place.user}' could not be started, next try in {wait:g} s: {error}",
                event="agent_not_started",
                user=place.user,
            )
            return
        place.handle = handle
        place.started = place.used = self._clock.monotonic()
        log.info(f"🚀 Agent of '{place.user}' started, pid {handle.pid}", event="agent_started", user=place.user)
        if not place.wanted:
            await self._stop(place)

    async def _make_room(self, wanted: Place) -> None:
        """At most ``max_agents``: the one that was idle longest is stopped for a new one."""
        while sum(1 for place in self._places.values() if place.occupied) >= self._limits.max_agents:
            candidates = sorted((place for place in self._places.values() if _may_stop(place)), key=_last_used)
            for place in candidates:
                if _may_stop(place) and await self._is_idle(place):
                    self._begin(place, self._stop(place))
                    if place.work:
                        await asyncio.shield(place.work)
                    break
            else:
                message = "All agent places are in use"
                raise AgentUnavailable(wanted.user, retry_after=RETRY_AFTER, message=message)
            if wanted.occupied:
                return

    # --- watching -------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            # Each by itself: an agent that answers slowly must not hide the end of another one.
            for place in self._places.values():
                if place not in self._watched:
                    self._watched.add(place)
                    self._own(self._see_to(place))

    async def _see_to(self, place: Place) -> None:
        try:
            async with asyncio.timeout(_SEE_SECONDS):
                await self._look(place)
                await self._stop_if_idle(place)
        except Exception as error:  # noqa: BLE001 - the others are still watched
            log.error(f"❌ Agent of '{place.user}': {error}", event="agent_trouble", error=error)
        finally:
            self._watched.discard(place)
        if place.failed and not place.occupied and place.wanted and not self._closing:
            self._begin(place, self._start(place))

    async def _look(self, place: Place) -> None:
        """Notice that an agent has ended without being asked to, and start it again after a while."""
        handle = place.handle
        if handle is None or place.work:
            return
        status = await self._spawner.poll(handle)
        if status is None or place.handle is not handle or place.work:
            return
        wait = place.crashed(self._clock.monotonic())
        log.error(
            f"❌ Agent of '{place.user}' ended with status {status}, next start in {wait:g} s",
            event="agent_crashed",
            user=place.user,
            status=status,
            repeated=place.in_a_row,
        )
        if not self._closing:
            self._begin(place, self._start(place))

    async def _stop_if_idle(self, place: Place) -> None:
        unused = self._clock.monotonic() - place.used
        if unused < self._limits.idle_stop or not _may_stop(place):
            return
        if not await self._is_idle(place):
            place.used = self._clock.monotonic()
        elif _may_stop(place):
            self._begin(place, self._stop(place))

    async def _is_idle(self, place: Place) -> bool:
        """No request and no active run; an agent that does not answer is left to `_look`."""
        handle = place.handle
        if handle is None or place.in_use:
            return False
        try:
            runs = await self._active_runs(handle)
        except OSError:
            return False
        return runs == 0 and place.handle is handle and not place.in_use

    async def _stop(self, place: Place) -> None:
        handle = place.handle
        if handle is None:
            return
        place.handle = None
        self._awake.forget(place.user)
        status = await self._spawner.stop(handle, grace=_STOP_GRACE)
        log.info(f"🛑 Agent of '{place.user}' stopped, status {status}", event="agent_stopped", user=place.user)

    async def _remember_busy(self) -> None:
        """Those without work need not be woken when the gateway starts again."""

        async def forget_if_idle(place: Place) -> None:
            if await self._is_idle(place):
                self._awake.forget(place.user)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0), asyncio.TaskGroup() as group:
                for place in self._places.values():
                    if place.handle:
                        group.create_task(forget_if_idle(place))


def _may_stop(place: Place) -> bool:
    return place.handle is not None and place.work is None and not place.in_use


def _last_used(place: Place) -> float:
    return place.used
