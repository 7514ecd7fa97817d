"""The work on one run: prepare it, assemble what the loop needs, start or resume the run, drive it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tom.agent.asking import ModelAsking
from tom.agent.budget import Limits, unbounded
from tom.agent.clienttools import NONE
from tom.agent.consigns import Consigns
from tom.agent.feed import Feed
from tom.agent.fencing import Fence, Loader, ReadFile
from tom.agent.journal import Journal
from tom.agent.learning import EXTRACTING, PROPOSING, TUNING_TURNS, Extracting, tuning
from tom.agent.loop import Asking, ToolRunning, drive
from tom.agent.memories import SERVICE as MEMORY_SERVICE
from tom.agent.preparing import Preparing, Wishes
from tom.agent.prompt import Circumstances, Preparation, temporal_text
from tom.agent.recall import Recall
from tom.agent.runtools import Offering, RunTools
from tom.agent.speech import Speech, Spoken
from tom.agent.transcript import Origin, Past, Transcript, read_past, request_of
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.errors import TomError
from tom.llm.levels import Models
from tom.services.library import Library
from tom.services.toolbox import Toolbox
from tom.store.eventstore import EventStore
from tom.telemetry import logs

log = logs.get("agent")


async def _no_files(conversation_id: str, file: str) -> bytes | None:  # noqa: ARG001
    return None


async def _nowhere(surface: str) -> str:  # noqa: ARG001
    return ""


class Worker:
    """Works on runs of one person, one call of `work` each.

    ``begin_anew`` opens the conversation that follows at a surface when the person wishes for a fresh start; it is set
    by whoever knows conversations.
    """

    def __init__(
        self,
        settings: AgentSettings,
        store: EventStore,
        feed: Feed,
        toolbox: Toolbox,
        library: Library,
        models: Models,
        clock: Clock,
        running: Callable[[RunTools], ToolRunning],
        *,
        read_file: ReadFile = _no_files,
        limits: Limits = unbounded,
    ) -> None:
        """Use these parts for every run; ``running`` makes what calls the tools of one run, ``limits`` its budget."""
        self._limits = limits
        self.begin_anew: Callable[[str], Awaitable[str]] = _nowhere
        self._running = running
        self._settings = settings
        self._store = store
        self._feed = feed
        self._toolbox = toolbox
        self._library = library
        self._models = models
        self._clock = clock
        self._fence = Fence()
        self._read_file = read_file
        self._loader = Loader(read_file, self._fence)
        self._speech = Speech(settings, models, limits)
        self._recall = Recall(settings.chat.context_max_tokens)
        self.preparing = Preparing(settings, store, toolbox, library, models, clock, limits)

    async def work(self, run: Journal, origin: Origin) -> None:
        """Take the run to its end. Raises what ends a run badly: `ProviderError`, `ContextTooSmall`, storage errors."""
        request = origin.request or await request_of(self._store, run.row)
        wishes = Wishes.of(request)
        past = (await self._begun(run, origin, wishes)).knowing(request)
        around = origin.around
        consigns: Consigns | None = None
        if wishes.upkeep:
            prepared = tuning(self._settings, wishes.services or ())
            run.progress = replace(run.progress, max_turns=min(run.progress.max_turns, TUNING_TURNS - 1))
        else:
            consigns = Consigns(self._library, self.preparing.entries, self._fence)
            prepared = await self.preparing.prepare(run, request, past, around, wishes, consigns)
        transcript = Transcript(
            self._settings,
            request,
            past,
            around,
            self._clock,
            preparation=prepared,
            helping=consigns,
            loader=self._loader,
        )
        tools = RunTools(self._toolbox, offering=self._offering(run, request, prepared, wishes))
        asking = await self._asking(request, prepared, wishes, around, transcript, tools)
        finishing = _Finishing(self, prepared, tools, wishes, around, self._surface(request, around))
        await drive(run, asking, self._running(tools), finishing)
        if run.progress.state is RunState.COMPLETED and not past.done:
            told = transcript.current(run.progress.events)
            self._recall.keep(
                run.conversation_id,
                run.progress.events[-1].seq,
                (*transcript.earlier, told),
                summary=past.summary,
                instructions=past.instructions,
                message_limit=past.message_limit,
            )

    async def _asking(
        self,
        request: Event,
        prepared: Preparation,
        wishes: Wishes,
        around: Circumstances,
        transcript: Transcript,
        tools: RunTools,
    ) -> Asking:
        if wishes.upkeep == EXTRACTING:
            tool = await self.preparing.memories.extracting()
            attached: Sequence[Mapping[str, Any]] = request.extra.get("attachments", ())
            said = await self._read_file(request.conversation_id, attached[0]["file"]) if attached else None
            return Extracting(tool.name if tool else "", (said or b"").decode("utf-8", "replace"), request)
        candidates = self._models.candidates(prepared.level, prepared.llm, wishes.model)
        return ModelAsking(
            candidates,
            self._models,
            transcript,
            tools,
            self._feed,
            self._clock,
            options=wishes.sampling,
            budget=self._limits(),
            plain=around.plain,
        )

    def forget(self, conversation_id: str) -> None:
        """Keep nothing in memory of a conversation that is erased."""
        self._recall.forget(conversation_id)

    async def word(self, text: str, around: Circumstances) -> Spoken:
        """How an answer is spoken. Never raises."""
        zone = around.timezone or self._settings.timezone
        return await self._speech.word(text, temporal_text(self._clock.now(), zone, {}))

    async def _begun(self, run: Journal, origin: Origin, wishes: Wishes) -> Past:
        # Reading what was said before needs no commit to be over, and the person is waiting.
        beginning = asyncio.ensure_future(self.preparing.begin(run, wishes))
        try:
            recalled = self._recall.take(run.conversation_id, run.row.first_seq)
            past = (
                Past(instructions=origin.instructions)
                if origin.first
                else recalled or await read_past(self._settings, self._store, run.row)
            )
        finally:
            await beginning
        run.remember_unresolved(past.unresolved_tools)
        return past

    def _offering(self, run: Journal, request: Event, prepared: Preparation, wishes: Wishes) -> Offering:
        return Offering(
            prepared.services,
            entries=self.preparing.entries,
            user=self._settings.user,
            library=self._library if prepared.services else None,
            first=wishes.tool if run.progress.turns == 0 else "",
            silent=frozenset({MEMORY_SERVICE}) if wishes.temporary else frozenset(),
            wary=wishes.upkeep == PROPOSING and request.label.tainted,
            client=() if wishes.choice == NONE else wishes.client_tools,
            choice=wishes.choice if run.progress.turns == 0 else "",
        )

    def _surface(self, request: Event, around: Circumstances) -> str:
        return request.extra.get("surface", around.surface)


class _Finishing:
    """What is told with the answer of one run."""

    def __init__(
        self,
        worker: Worker,
        prepared: Preparation,
        tools: RunTools,
        wishes: Wishes,
        around: Circumstances,
        surface: str,
    ) -> None:
        self._worker = worker
        self._prepared = prepared
        self._tools = tools
        self._wishes = wishes
        self._around = around
        self._surface = surface

    async def finish(self, run: Journal, reply: Event) -> Mapping[str, Any]:
        """``warnings``, ``text_tts`` with ``speech_usage``, ``new_conversation_id``, ``dropped_options``: what there is. Never raises."""
        more: dict[str, Any] = {}
        unavailable = [{"service": name, "message": why} for name, why in sorted(self._tools.unavailable.items())]
        named = {warning["service"] for warning in unavailable}
        warnings = [*unavailable, *(said for said in self._prepared.warnings if said["service"] not in named)]
        if warnings:
            more["warnings"] = warnings
        dropped = [event.extra.get("dropped_options", ()) for event in (*run.progress.events, reply)]
        if any(dropped):
            more["dropped_options"] = sorted({name for names in dropped for name in names})
        if self._wishes.sound:
            spoken = await self._worker.word(reply.content or "", self._around)
            more |= {"text_tts": spoken.text, "speech_usage": spoken.usage.as_json()}
        if self._prepared.fresh_start:
            more |= await self._anew()
        return more

    async def _anew(self) -> dict[str, str]:
        try:
            return {"new_conversation_id": await self._worker.begin_anew(self._surface)}
        except TomError as error:
            log.error("❌ A new conversation could not be opened", event="fresh_start_failed", code=error.code)
            return {}
