"""One service of one person: opened when first needed, kept warm, stopped when idle, reached for again when lost.

One task per service (`Service.run`) opens and closes its connections; calls are made by whoever calls. A service that
fails says so at once to whoever asks, and is tried again in the background.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tom.clock import Clock
from tom.config.agent import Reconnect, ServiceEntry
from tom.conversation.elicitation import Continuation
from tom.conversation.tool import ToolDefinition, ToolOutcome
from tom.errors import ResourceNotFound, ServiceUnavailable
from tom.services import results
from tom.services.cleaning import clean_short, clean_within
from tom.services.kept import KeptList
from tom.services.listing import Listing
from tom.services.offering import Offering
from tom.services.pinning import Pinning
from tom.services.shelf import LONGEST_DESCRIPTION, Shelf
from tom.services.toolbox import Exchange
from tom.services.underway import Underway, Wanted
from tom.services.unreachable import Forgotten, Outdated, Unreachable, reason_of
from tom.telemetry import logs

if TYPE_CHECKING:
    from tom.services.connection import Connection

log = logs.get("mcp")

REASON_BYTES = 300
ENOUGH = 30.0
"""Seconds after which a connection that was never used counts as a good one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When a service is tried again, and when it is stopped; seconds.

    ``warm``: how long after its tools were shown a service is reached of which only a kept list is known.
    """

    first_delay: float = 1.0
    longest_delay: float = 30.0
    attempts: int = 5
    rest: float = 300.0
    idle: float = 600.0
    warm: float = 10.0

    def delay(self, failures: int) -> float:
        """How long to wait after this many failures in a row."""
        if failures > self.attempts:
            return self.rest
        return min(self.first_delay * 2 ** max(0, failures - 1), self.longest_delay)


def paced(pace: Pace, told: Reconnect) -> Pace:
    """``pace`` with what the settings tell."""
    longest = max(told.first_delay, told.longest_delay)
    return replace(pace, first_delay=told.first_delay, longest_delay=longest, attempts=told.attempts)


class Service:
    """A configured, enabled service."""

    def __init__(
        self,
        entry: ServiceEntry,
        *,
        clock: Clock,
        own: Mapping[str, str],
        pace: Pace,
        pinning: Pinning,
        on_change: Callable[[], None],
        client_name: str,
    ) -> None:
        """``own`` is the agent's environment, ``client_name`` what the service is told; ``on_change`` is called when the tools have changed."""
        self.entry = entry
        self.offering = Offering(entry, pinning, clock, on_change)
        self.error: str | None = None
        self._clock = clock
        self._own = own
        self._client_name = client_name
        self._pace = pace if entry.reconnect is None else paced(pace, entry.reconnect)
        self._connection: Connection | None = None
        self.shelf = Shelf(
            entry.name, self.ask, clock, entry.timeout, is_open=lambda: self._connection is not None, note=pinning.note
        )
        self._failures = 0
        self._quick_losses = 0
        self._due: float | None = None
        self._warming = False
        self._needed = False
        self._calls = 0
        self._answered = False
        self._opened = self._used = 0.0
        self._opening = False
        self._closing = False
        self._task: asyncio.Task[Any] | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()

    # --- what the toolbox asks -----------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """As `ServiceStatus` has it. A service that was stopped because nobody needed it is a connected one."""
        if self.error is not None:
            return "error"
        return "connected" if self._connection is not None or self._is_resting else "connecting"

    @property
    def listing(self) -> Listing | None:
        """What is on offer; None: not known yet."""
        return self.offering.listing

    @property
    def description(self) -> str:
        """The admin's word, else the service's own, else what its tools are for."""
        own = self.shelf.about or self.offering.instructions or (self.listing.first_lines if self.listing else "")
        return clean_short(self.entry.description or own, LONGEST_DESCRIPTION)

    @property
    def _is_resting(self) -> bool:
        return self.listing is not None and not self._needed and (self._due is None or self._warming)

    @property
    def is_settled(self) -> bool:
        """Whether it can be said at once which tools there are, or why there are none."""
        return self.listing is not None or self.error is not None

    def recall(self, kept: KeptList, readings: Mapping[str, str]) -> None:
        """Offer what was kept from an earlier time, without reaching the service."""
        if self.offering.recall(kept):
            self.shelf.recall(readings)

    def freshen(self, after: float) -> bool:
        """The tools are being shown: when the list is old, ask again in the background, and connect ``after`` seconds.

        Whether a connection will be opened for it.
        """
        if self.error is not None or self._needed or not self.offering.is_stale(self._connection):
            return False
        if self._connection is not None:
            self._connection.tools_changed = True
            self._wake.set()
            return False
        if self._due is None:
            self._due, self._warming = self._clock.monotonic() + after, True
            self._wake.set()
        return True

    async def ready(self) -> None:
        """Wait until the tools are known or the service has failed; not at all when it failed lately."""
        if not self.is_settled:
            await self._reach()

    async def call(
        self,
        tool: ToolDefinition,
        arguments: Mapping[str, Any],
        key: str,
        limit: float,
        exchange: Exchange | None = None,
        continuation: Continuation | None = None,
    ) -> ToolOutcome:
        """Call a tool within ``limit`` seconds, opening included and the person's time to answer not."""
        underway: Underway | None = None
        wanted = Wanted(tool.tool, arguments, key)
        self._calls += 1
        try:
            async with asyncio.timeout(limit) as deadline:
                underway = Underway(self.entry.name, exchange, deadline)
                outcome = await self._asked(partial(self._compared, tool, wanted, underway, continuation))
            return underway.noted(outcome)
        except ServiceUnavailable as error:
            return results.failure(error.message)
        except TimeoutError:
            return results.failure(
                f"Service '{self.entry.name}' did not answer within {limit:g} s. "
                "The call was cancelled; it is not known whether it took effect.",
                unknown=True,
            )
        finally:
            self._calls -= 1
            self._used = self._clock.monotonic()
            if underway is not None:
                underway.end()

    async def ask[T](self, question: "Callable[[Connection], Awaitable[T]]", limit: float) -> T:
        """What ``question`` finds out over the open connection within ``limit`` seconds, opening included.

        Raises `ServiceUnavailable`, and what the question raises.
        """
        self._calls += 1
        try:
            async with asyncio.timeout(limit):
                return await self._asked(question)
        except TimeoutError:
            message = f"Service '{self.entry.name}' did not answer within {limit:g} s"
            raise ServiceUnavailable(message) from None
        finally:
            self._calls -= 1
            self._used = self._clock.monotonic()

    async def _asked[T](self, question: "Callable[[Connection], Awaitable[T]]") -> T:
        for _ in range(2):
            connection = await self._reach()
            if connection is None:
                break
            try:
                answer = await question(connection)
            except Forgotten:
                self._lose(connection)
                continue
            self._answered = self._answered or connection.ended is None
            return answer
        reason = self.error or "it is being stopped"
        raise ServiceUnavailable(f"Service '{self.entry.name}' is not reachable: {reason}")

    async def _compared(
        self,
        tool: ToolDefinition,
        wanted: Wanted,
        underway: Underway,
        continuation: Continuation | None,
        connection: "Connection",
    ) -> ToolOutcome:
        for _ in range(2):
            refused = await self.offering.refused(connection, tool)
            if refused is not None:
                return refused
            try:
                return await connection.call(wanted, underway, continuation)
            except Outdated:
                connection.tools_changed = True  # which arguments travel as headers is told by the list
        return results.failure(f"Service '{self.entry.name}' refuses the headers of its own tool '{tool.name}'.")

    async def _reach(self) -> "Connection | None":
        """The open connection, opened when it has to be; None when the service has failed."""
        connection = self._connection
        if connection is not None and connection.ended is not None:
            self._lose(connection)
        if self._connection is None and self._failures == 0 and not self._closing:
            self._needed = True
            self._settled.clear()
            self._wake.set()
        await self._settled.wait()
        return self._connection

    # --- the service's own task ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, serve and close connections until `stop`."""
        self._task = asyncio.current_task()
        try:
            while not self._closing:
                await self._until_due()
                if not self._closing:
                    await self._live()
        except Exception as error:  # noqa: BLE001 - a defect of ours costs this service, never the agent around it
            self.error = f"internal error: {type(error).__name__}"
            log.error(f"❌ Service '{self.entry.name}' is lost", event="service_defect", error=error)
        finally:
            self._connection = None
            self._closing = True
            self._settled.set()

    def stop(self) -> None:
        """End `run` soon, whatever it is waiting for, but for the child's own ending."""
        self._closing = True
        self._wake.set()
        if self._opening and self._task is not None:
            self._task.cancel()

    async def _until_due(self) -> None:
        while not (self._closing or self._needed):
            rest = None if self._due is None else self._due - self._clock.monotonic()
            if rest is not None and rest <= 0:
                return
            self._wake.clear()
            await self._woken(rest)

    async def _live(self) -> None:
        """One connection, from opening to closing."""
        self._needed = self._warming = False
        connection: Connection | None = None
        failed = False
        try:
            async with AsyncExitStack() as stack:
                try:
                    connection = await self._open(stack)
                except (TimeoutError, Unreachable) as error:
                    failed = True
                    self._fail(error)  # told before the child has been ended, which may take seconds
                    return
                try:
                    async with asyncio.TaskGroup() as group:
                        describing = group.create_task(self._describe(connection))
                        await self._serve(connection)
                        describing.cancel()
                finally:
                    self._lose(connection)
        except Exception as error:  # noqa: BLE001 - a connection may end in whatever the transport raises
            if connection is None and not failed:
                self._fail(error)

    async def _open(self, stack: AsyncExitStack) -> "Connection":
        self._opening = True
        try:
            async with asyncio.timeout(self.entry.connect_timeout):
                opening = await asyncio.to_thread(importlib.import_module, "tom.services.connection")
                connection: Connection = await opening.open_connection(
                    self.entry, stack, self._own, self._wake.set, self.shelf.forget, self._client_name
                )
                await self._list_first(connection)
        finally:
            self._opening = False
        self._connection = connection
        self._failures, self._due, self.error = 0, None, None
        self._answered = False
        self._opened = self._used = self._clock.monotonic()
        count = len(self.listing.tools) if self.listing else 0
        text = f"✅ Service '{self.entry.name}' connected: {count} tools"
        log.info(text, event="service_connected", service=self.entry.name, tools=count)
        self._settled.set()
        return connection

    async def _describe(self, connection: "Connection") -> None:
        """Learn what the service says it is for, which nobody waits for."""
        self.shelf.forget_failures()
        if self.entry.description:
            return
        with suppress(TimeoutError, ServiceUnavailable, Unreachable):
            async with asyncio.timeout(self.entry.connect_timeout):
                for kind in dict.fromkeys((self.entry.name.lower(), self.entry.name, "server", "description")):
                    with suppress(ResourceNotFound):
                        answer = await connection.describe(f"description://{kind}")
                        await self.shelf.keep_about(answer.value)
                        return

    async def _serve(self, connection: "Connection") -> None:
        """Until the connection ends, is no longer needed, or `stop`."""
        while not self._closing and connection.ended is None and connection is self._connection:
            self._wake.clear()
            if connection.tools_changed:
                await self._list_again(connection)
                continue
            rest = self._pace.idle if self._calls else self._used + self._pace.idle - self._clock.monotonic()
            if rest <= 0:
                self._connection = None  # what is needed from here on opens a new one
                return
            await self._woken(rest)

    async def _list_first(self, connection: "Connection") -> None:
        try:
            await self.offering.list(connection)
        except Exception as error:  # noqa: BLE001 - without its tools a service is of no use
            raise Unreachable(connection.explain(error)) from None

    async def _list_again(self, connection: "Connection") -> None:
        try:
            async with asyncio.timeout(self.entry.timeout):
                await self.offering.list(connection)
        except Exception as error:  # noqa: BLE001 - the list that was known stays
            text = f"⚠️ Service '{self.entry.name}' did not say which tools it has now: {self._line(error)}"
            log.warning(text, event="service_list_failed", service=self.entry.name)

    # --- how it went ---------------------------------------------------------------------------------------------

    def _lose(self, connection: "Connection") -> None:
        """The open connection is gone. The first time it is tried again at once when needed, else in a second."""
        if connection is not self._connection:
            return
        self._connection = None
        self._wake.set()
        if self._closing:
            return
        was_good = self._answered or self._clock.monotonic() - self._opened >= ENOUGH
        self._quick_losses = 0 if was_good else self._quick_losses + 1
        reason = clean_within(connection.why, REASON_BYTES)
        if self._quick_losses > 1:
            self._failures = self._quick_losses - 1
            self._retry(reason)
            return
        self._settled.clear()
        self._due = self._clock.monotonic() + self._pace.first_delay
        text = f"⚠️ Service '{self.entry.name}' lost, next try in {self._pace.first_delay:g} s: {reason}"
        log.warning(text, event="service_lost", service=self.entry.name)

    def _fail(self, error: BaseException) -> None:
        self._connection = None
        if self._closing:
            return
        self._failures += 1
        self._retry(self._line(error))

    def _retry(self, reason: str) -> None:
        delay = self._pace.delay(self._failures)
        self._due = self._clock.monotonic() + delay
        self.error = reason
        self._needed = False
        text = f"⚠️ Service '{self.entry.name}' not reachable, next try in {delay:g} s: {reason}"
        log.warning(text, event="mcp_server_failed", service=self.entry.name)
        self._settled.set()

    def _line(self, error: BaseException) -> str:
        return clean_within(reason_of(error), REASON_BYTES)

    async def _woken(self, seconds: float | None) -> None:
        """Until something happens, or ``seconds`` have passed on the injected clock."""
        if seconds is None:
            await self._wake.wait()
            return
        async with asyncio.TaskGroup() as group:
            waiters = [group.create_task(self._wake.wait()), group.create_task(self._clock.sleep(seconds))]
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            for waiter in waiters:
                waiter.cancel()
