"""The work on one run: assemble what the loop needs, start or resume the run, drive it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tom.agent.asking import Model, ModelAsking
from tom.agent.feed import Feed
from tom.agent.journal import Journal
from tom.agent.loop import ToolRunning, drive
from tom.agent.recall import Recall
from tom.agent.runtools import RunTools
from tom.agent.transcript import Origin, Past, Transcript, read_past, request_of
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation import event as happened
from tom.conversation.run import RunState
from tom.llm.levels import Models
from tom.services.toolbox import Toolbox
from tom.store.eventstore import EventStore

SAMPLING = ("temperature", "top_p", "max_tokens")
"""Options of a request that go to the model as they are."""


class Worker:
    """Works on runs of one person, one call of `work` each."""

    def __init__(
        self,
        settings: AgentSettings,
        store: EventStore,
        feed: Feed,
        toolbox: Toolbox,
        models: Models,
        clock: Clock,
        running: Callable[[RunTools], ToolRunning],
    ) -> None:
        """Use these parts for every run; ``running`` makes what calls the tools of one run."""
        self._running = running
        self._settings = settings
        self._store = store
        self._feed = feed
        self._toolbox = toolbox
        self._models = models
        self._clock = clock
        self._recall = Recall(settings.chat.context_max_tokens)

    async def work(self, run: Journal, origin: Origin) -> None:
        """Take the run to its end. Raises what ends a run badly: `ProviderError`, `ContextTooSmall`, storage errors."""
        request = origin.request or await request_of(self._store, run.row)
        options: Mapping[str, Any] = request.extra.get("options", {})
        level: int = options.get("level", self._settings.default_level)
        services: list[str] | None = options.get("services")
        # Reading what was said before needs no commit to be over, and the person is waiting.
        beginning = asyncio.ensure_future(self._begin(run, level, services))
        try:
            recalled = self._recall.take(run.conversation_id, run.row.first_seq)
            past = Past() if origin.first else recalled or await read_past(self._settings, self._store, run.row)
        finally:
            await beginning
        run.remember_unresolved(past.unresolved_tools)
        transcript = Transcript(self._settings, request, past, origin.around, self._clock)
        tools = RunTools(self._toolbox, services)
        model = Model(
            self._models.provider,
            self._models.model_for(level),
            {name: options[name] for name in SAMPLING if name in options},
            self._models.max_retries,
        )
        asking = ModelAsking(model, transcript, tools, self._feed, self._clock)
        await drive(run, asking, self._running(tools))
        if run.progress.state is RunState.COMPLETED and not past.done:
            told = transcript.current(run.progress.events)
            self._recall.keep(run.conversation_id, run.progress.events[-1].seq, (*past.earlier, told))

    def forget(self, conversation_id: str) -> None:
        """Keep nothing in memory of a conversation that is erased."""
        self._recall.forget(conversation_id)

    async def _begin(self, run: Journal, level: int, services: list[str] | None) -> None:
        if run.progress.state is RunState.QUEUED:
            chosen = services if services is not None else [entry.name for entry in self._settings.services]
            await run.record(happened.run_started(run.conversation_id, run_id=run.run_id, level=level, services=chosen))
            return
        await run.record(*run.taking(), *run.interrupted())
