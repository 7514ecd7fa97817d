"""Looking after conversations when nobody waits: titles, summaries, and what is kept on disk.

Done in the background after each run, one conversation after the other, and hourly for all; a failure costs a line in
the log and nothing else.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from tom.agent.aside import ask_aside
from tom.agent.expiring import KIND, Erase, Expiring
from tom.agent.learning import UPKEEP
from tom.agent.limits import RunLimits
from tom.agent.retention import Retention
from tom.agent.steadiness import Steadiness
from tom.agent.summing import (
    LONGEST_SUMMARY,
    part_to_sum,
    rest_after,
    run_tokens,
    summary_prompt,
    title_from,
    title_prompt,
    unsummed,
)
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation import upkeep
from tom.conversation.event import Event
from tom.conversation.history import fold
from tom.conversation.message import Message
from tom.conversation.run import RunState
from tom.conversation.usage import NOTHING, Usage
from tom.errors import Superseded, TomError
from tom.llm.levels import SCRIPTED, UNCONFIGURED, Models
from tom.llm.provider import Reply
from tom.store.eventstore import ConversationRow, EventStore
from tom.telemetry import logs

log = logs.get("history")

HOUR = 3600.0
ASIDE_SECONDS = 60.0
REMEMBERED = 256
EARLY = 200
"""A conversation of more events than this was named long ago, or never will be."""


class Upkeep:
    """Looks after the conversations of one person."""

    def __init__(
        self,
        store: EventStore,
        models: Models,
        settings: AgentSettings,
        clock: Clock,
        *,
        limits: Callable[[], RunLimits] | None = None,
        publish: Callable[[Event], None] | None = None,
        readings: Path | None = None,
        drop_files: Callable[[str], Awaitable[None]] | None = None,
        erase: Erase | None = None,
    ) -> None:
        """``limits`` makes the limits of one question to a model; ``publish`` is told of what was stored.

        ``readings`` is the file in which the clock's readings are kept, None: in memory. ``drop_files`` removes the
        files of a conversation that no event names any more; ``erase`` a whole conversation.
        """
        self._store = store
        self._models = models
        self._settings = settings
        self._clock = clock
        self._limits = limits
        self._publish = publish
        steadiness = Steadiness(clock, readings)
        self.retention = Retention(store, settings.persistence, steadiness, drop_files=drop_files, publish=publish)
        hours = settings.doors.api_retention_hours
        self.expiring = Expiring(store, steadiness, erase, hours=hours) if erase is not None else None
        self._looked: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._due: dict[str, None] = {}
        self._woken = asyncio.Event()

    # --- when ----------------------------------------------------------------------------------------------------

    def notice(self, conversation_id: str) -> None:
        """A run of this conversation has ended: it is looked after soon. Never waits."""
        self._due[conversation_id] = None
        self._woken.set()

    async def serve(self) -> None:
        """Look after what is noticed, and hourly after everything; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve_due(), name="upkeep")
            group.create_task(self._serve_hours(), name="upkeep hourly")

    async def _serve_due(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(0)  # the frame that ends the run goes out first
            while self._due:
                conversation_id = next(iter(self._due))
                del self._due[conversation_id]
                await self.after(conversation_id)

    async def _serve_hours(self) -> None:
        while True:
            await self.hourly()
            await self._clock.sleep(HOUR)

    async def after(self, conversation_id: str) -> None:
        """A run has ended: name the conversation, sum it up, cut it, as far as that is due. Never raises."""
        await self._try(self._tell(conversation_id))
        await self._try(self.retention.apply(conversation_id))

    async def hourly(self) -> None:
        """Cut what has grown too old, in all conversations, and erase old calls of `/v1`. Never raises."""
        await self._try(self.retention.apply_all())
        if self.expiring is not None:
            await self._try(self.expiring.apply_all())

    async def _tell(self, conversation_id: str) -> None:
        if self._models.name in {SCRIPTED, UNCONFIGURED}:
            return
        for row in await self._store.conversations(ids=[conversation_id]):
            if row.surface == UPKEEP or row.kind == KIND:  # nobody sees it
                continue
            if self._settings.chat.titles:
                await self._try(self._name(row))
            await self._try(self._sum_up(row))

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        """Upkeep that fails must not disturb what it looks after, nor the next thing that is due."""
        try:
            await work
        except Superseded:
            log.debug("A conversation was erased while it was looked after", event="upkeep_superseded")
        except (TomError, TimeoutError) as error:
            log.warning("⚠️ Upkeep was put off", event="upkeep_failed", code=getattr(error, "code", "deadline"))
        except Exception as error:  # noqa: BLE001 - as above
            log.error("❌ A defect in the upkeep of a conversation", event="internal_error", exception=error)

    # --- titles --------------------------------------------------------------------------------------------------

    async def _name(self, row: ConversationRow) -> None:
        """Name a conversation after its first answer; if that fails, its first line stays its title."""
        if not self._settings.chat.titles or row.title_by != "message" or row.last_seq > EARLY:
            return
        history = fold(await self._store.read(row.id, limit=EARLY))
        answered = [run for run in history.runs.values() if run.state is RunState.COMPLETED]
        if len(answered) != 1 or not answered[0].asked():
            return
        reply = await self._ask(row, title_prompt(answered[0]))
        title = title_from(reply.text)
        change = {"title": title, "title_by": "model"} if title else {}
        await self._record(replace(upkeep.conversation_changed(row.id, change), usage=reply.usage))

    # --- summaries -----------------------------------------------------------------------------------------------

    async def _sum_up(self, row: ConversationRow) -> None:
        """Sum up older runs once those without a summary have outgrown the window."""
        chat = self._settings.chat
        budget = chat.context_max_tokens - chat.context_reserve_tokens
        if not chat.compaction or self._fits_still(row, budget):
            return
        history = fold(await self._store.tail(row.id, tokens=4 * budget, limit=4000))
        part = part_to_sum(history, budget=budget, preserve=chat.preserve_recent)
        left = sum(map(run_tokens, unsummed(history)))
        if part is not None:
            # Should the question fail, the next try waits for a quarter of a window more.
            self._remember(row, budget - budget // 4)
            reply = await self._ask(row, summary_prompt(part, budget=budget))
            summary = reply.text.strip()[:LONGEST_SUMMARY]
            if not summary:
                return
            stored = upkeep.history_compacted(
                row.id,
                summary,
                first_seq=part.first_seq,
                through_seq=part.through_seq,
                label=part.label,
                model=reply.model,
                usage=reply.usage,
            )
            await self._record(stored)
            left = rest_after(left - sum(map(run_tokens, part.runs)), budget)
            log.info("📚 Summed up older messages", event="history_compacted", conversation=row.id, runs=len(part.runs))
        # What cannot be summed up yet is looked at again when a quarter of a window more has come.
        self._remember(row, left if left <= budget else budget - budget // 4)

    def _fits_still(self, row: ConversationRow, budget: int) -> bool:
        """Whether what was known at the last look, and what was said since, still fits: then nothing is read."""
        tokens, left = self._looked.get(row.id, (0, 0))
        return left + row.tokens - tokens <= budget

    def _remember(self, row: ConversationRow, left: int) -> None:
        self._looked[row.id] = (row.tokens, left)
        self._looked.move_to_end(row.id)
        if len(self._looked) > REMEMBERED:
            self._looked.popitem(last=False)

    # --- asking and recording ------------------------------------------------------------------------------------

    async def _ask(self, row: ConversationRow, prompt: tuple[Message, ...]) -> Reply:
        budget = self._limits() if self._limits is not None else None
        lost: list[Usage] = []
        try:
            return await ask_aside(
                self._models,
                prompt,
                level=0,
                timeout=ASIDE_SECONDS,
                budget=budget,
                clock=self._clock,
                lost=lost.append,
            )
        except (TomError, TimeoutError):
            used = sum(lost, NOTHING)
            if used != NOTHING:  # it is counted, though it brought nothing
                await self._record(replace(upkeep.conversation_changed(row.id, {}), usage=used))
            raise

    async def _record(self, event: Event) -> None:
        for stored in await self._store.append([event]):
            if self._publish is not None:
                self._publish(stored)
