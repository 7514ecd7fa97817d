"""Preparing a run: which services and which model answer, and what helps with the answer.

What needs no model is decided at once and stored with the start of the run. Memories are looked up meanwhile; triage
is asked once, its decision is stored, and a run that goes on after a restart takes it from there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tom.agent.behaviours import Behaviours
from tom.agent.budget import Limits, unbounded
from tom.agent.choosing import choose_level, choose_llm
from tom.agent.clienttools import definitions
from tom.agent.consigns import Consigns
from tom.agent.journal import Journal
from tom.agent.memories import SERVICE as MEMORY_SERVICE
from tom.agent.memories import Memories, Remembered
from tom.agent.modules import Modules
from tom.agent.prompt import Circumstances, Preparation, system_text, temporal_message
from tom.agent.transcript import Past
from tom.agent.triage import Decision, Question, Triage
from tom.clock import Clock
from tom.config.agent import AgentSettings, ServiceEntry
from tom.conversation import event as happened
from tom.conversation import message as make
from tom.conversation import upkeep
from tom.conversation.event import Event
from tom.conversation.history import RunHistory, continued, gone_on
from tom.conversation.message import Message, Role
from tom.conversation.run import RunState
from tom.conversation.tool import ToolDefinition
from tom.conversation.window import choose_window
from tom.errors import ContextTooSmall
from tom.llm.levels import Models
from tom.llm.sampling import FORM
from tom.services.library import Library
from tom.services.toolbox import Toolbox
from tom.store.eventstore import EventStore

TRIAGE_SHARE = 2
"""Triage sees at most half of what an answer's context could hold."""

LONGEST_ALONE = 8000
"""Characters of a message that triage reads when it is larger than its window."""

AFRESH = (
    "The user asked to begin a new conversation, and it has been opened. Greet them in their language in one or two "
    "sentences. What was said before is not part of it."
)
FIRST = "The user wants the tool '{tool}' to be called first."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person's message asked for beside its text. ``choice`` is a client's, among ``client_tools`` of its own."""

    level: int | None = None
    services: tuple[str, ...] | None = None
    tool: str = ""
    model: str = ""
    sound: bool = False
    temporary: bool = False
    upkeep: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    client_tools: tuple[ToolDefinition, ...] = ()
    choice: str = ""

    @classmethod
    def of(cls, request: Event) -> "Wishes":
        """Read the options that were stored with a message."""
        options: Mapping[str, Any] = request.extra.get("options", {})
        services: Sequence[str] | None = options.get("services")
        return cls(
            level=options.get("level"),
            services=None if services is None else tuple(services),
            tool=options.get("tool_name", ""),
            model=options.get("model", ""),
            sound=bool(options.get("sound")),
            temporary=bool(options.get("temporary")),
            upkeep=options.get("upkeep", ""),
            sampling={name: options[name] for name in SAMPLING if name in options},
            client_tools=definitions(request.extra.get("client_tools", ())),
            choice=options.get("tool_choice", ""),
        )


SAMPLING = ("temperature", "top_p", "max_tokens", "thinking", *FORM)
"""Options of a request that go to the model as they are."""


class Preparing:
    """Prepares the runs of one person."""

    def __init__(
        self,
        settings: AgentSettings,
        store: EventStore,
        toolbox: Toolbox,
        library: Library,
        models: Models,
        clock: Clock,
        limits: Limits = unbounded,
    ) -> None:
        """Prepare with these parts; ``limits`` bounds what triage asks, and the level by what is left of the day."""
        self._settings = settings
        self._limits = limits
        self._store = store
        self._clock = clock
        self.memories = Memories(settings, toolbox)
        self.behaviours = Behaviours(settings, library)
        modules = Modules(settings.services, toolbox, library)
        self.triage = Triage(settings, models, toolbox, modules, clock, limits)
        self._toolbox = toolbox
        self._entries: Mapping[str, ServiceEntry] = {entry.name: entry for entry in settings.services if entry.enabled}

    @property
    def entries(self) -> Mapping[str, ServiceEntry]:
        """The enabled services by name; of a toolbox that was not made from settings, those that it has."""
        if self._settings.services:
            return self._entries
        return {status.name: ServiceEntry(name=status.name) for status in self._toolbox.status() if status.enabled}

    # --- the beginning -----------------------------------------------------------------------------------------

    async def begin(self, run: Journal, wishes: Wishes) -> None:
        """Record that the run begins (with its services, where they are known at once), or that it goes on."""
        if run.progress.state is not RunState.QUEUED:
            await run.record(*run.taking(), *run.interrupted())
            return
        known = self.triage.without_asking(self._asked(wishes), tuple(self.entries))
        services = tuple(self.entries) if known is None else known.services
        level = await self._affordable(self._level(services if known is not None else (), wishes), services)
        started = happened.run_started(run.conversation_id, run_id=run.run_id, level=level, services=services)
        await run.record(started, *([] if known is None else [await self._decided(run, known, wishes)]))

    async def prepare(
        self, run: Journal, request: Event, past: Past, around: Circumstances, wishes: Wishes, consigns: Consigns
    ) -> Preparation:
        """Everything that a run knows before its first turn; asks triage unless that was decided before."""
        remembered = await self.memories.about(_wanted(request, past))
        if run.progress.triage is None:
            question = await self._question(run, request, past, around, remembered)
            await run.record(await self._decided(run, await self.triage.decide(question), wishes))
        decided = run.progress.triage
        assert decided is not None  # noqa: S101 - recorded just now at the latest
        chosen: Mapping[str, Any] = decided.extra
        services = tuple(name for name in chosen["services"] if name in self.entries)
        fresh = bool(chosen.get("fresh_start"))
        helpers = await self._helpers(services, wishes, remembered, consigns, fresh=fresh)
        return Preparation(
            services=() if fresh else services,
            level=chosen["level"],
            llm=choose_llm(self._settings, [self.entries[name] for name in services]),
            helpers=helpers,
            warnings=({"service": MEMORY_SERVICE, "message": remembered.warning},) if remembered.warning else (),
            fresh_start=fresh,
        )

    # --- choosing ----------------------------------------------------------------------------------------------

    def _asked(self, wishes: Wishes) -> tuple[str, ...] | None:
        """The services that the request names, with that of the tool it names."""
        if wishes.services is None:
            return None
        owner = wishes.tool.partition(".")[0]
        wished = tuple(name for name in wishes.services if name in self.entries)
        return (*wished, owner) if owner in self.entries else wished

    def _level(self, services: Sequence[str], wishes: Wishes, proposed: int | None = None) -> int:
        selected = [self.entries[name] for name in services if name in self.entries]
        return choose_level(self._settings, selected, asked=wishes.level, proposed=proposed)

    async def _affordable(self, level: int, services: Sequence[str]) -> int:
        """The level that what is left of the day pays for, were the prompt as long as it may be."""
        budget = self._limits()
        if budget is None:
            return level
        llm = choose_llm(self._settings, [self.entries[name] for name in services if name in self.entries])
        return await budget.affordable(level, llm, self._settings.chat.context_max_tokens)

    def level_of(self, decision: Decision) -> int:
        """The level at which a message would be answered after this decision."""
        return self._level(decision.services, Wishes(), decision.level)

    async def _decided(self, run: Journal, decision: Decision, wishes: Wishes) -> Event:
        services = decision.services
        owner = wishes.tool.partition(".")[0]
        if owner in self.entries and owner not in services:
            services = (*services, owner)
        wanted = self._level(services, wishes, decision.level)
        level = await self._affordable(wanted, services)
        why = (
            self._why(services, level, wishes, decision.level)
            if level == wanted
            else "level of what is left of the day"
        )
        return upkeep.triage_decided(
            run.conversation_id,
            run_id=run.run_id,
            services=services,
            level=level,
            ms=decision.ms,
            how=decision.how,
            reason=decision.reason or why,
            fresh_start=decision.fresh_start,
            usage=decision.usage,
        )

    def _why(self, services: Sequence[str], level: int, wishes: Wishes, proposed: int | None) -> str:
        """Where the level comes from, for the record."""
        if wishes.level is not None:
            return "level of the request" if level == wishes.level else "level of the request, capped"
        if level == proposed and level > self._settings.default_level:
            return "level proposed by triage"
        wanting = [name for name in services if self.entries[name].complexity >= level > self._settings.default_level]
        return f"level of {wanting[0]}" if wanting else "default level"

    async def _question(
        self, run: Journal, request: Event, past: Past, around: Circumstances, remembered: Remembered
    ) -> Question:
        rows = await self._store.conversations(ids=[run.conversation_id])
        pinned = rows[0].services if rows else None
        helpers = [message for message in (remembered.message,) if message is not None]
        return Question(
            text=_wanted(request, past),
            standing=system_text(self._settings, around.surface),
            names=tuple(self.entries),
            window=self._window(request, past),
            helpers=(*helpers, temporal_message(self._settings, around, self._clock.now())),
            pinned=pinned or (),
            previous=past.earlier[-1].services if past.earlier else (),
        )

    def _window(self, request: Event, past: Past) -> tuple[Message, ...]:
        """What was said lately, as words: for choosing services the results themselves are not needed."""
        chat = self._settings.chat
        budget = (chat.context_max_tokens - chat.context_reserve_tokens) // TRIAGE_SHARE
        current = RunHistory(request.run_id, request)
        try:
            messages = choose_window(current, continued(past.earlier, request), budget=budget).messages
        except ContextTooSmall:
            messages = (make.user((request.content or "")[:LONGEST_ALONE], label=request.label),)
        spoken = [message for message in messages if message.role in {Role.USER, Role.ASSISTANT}]
        words = [replace(message, parts=make.user(_words(message)).parts) for message in spoken]
        return tuple(message for message in words if message.text)

    # --- helping -----------------------------------------------------------------------------------------------

    async def _helpers(
        self, services: Sequence[str], wishes: Wishes, remembered: Remembered, consigns: Consigns, *, fresh: bool
    ) -> tuple[Message, ...]:
        if fresh:
            return (make.system(AFRESH),)
        if services:  # their tools are needed anyway, and what a service says is timed from when it can be reached
            await self._toolbox.tools(services)
        said, behaving = await asyncio.gather(consigns.before(services), self.behaviours.messages(services))
        named = (make.system(FIRST.format(tool=wishes.tool)),) if wishes.tool else ()
        memories = (remembered.message,) if remembered.message is not None else ()
        return (*said, *behaving, *named, *memories)


def _wanted(request: Event, past: Past) -> str:
    """What the person wants: their message; where it only tells what came of a client's tools, the one before."""
    if request.content:
        return request.content
    earlier, going_on = gone_on(past.earlier, request)
    asked = (run.request for run in reversed((*earlier, *([going_on] if going_on else ()))))
    return next((event.content for event in asked if event is not None and event.content), "")


def _words(message: Message) -> str:
    """What was said, with a note for each picture or text that came with it."""
    beside = len(message.parts) - len(message.calls) - bool(message.text)
    note = f"[{beside} attachment{'s' if beside > 1 else ''}]" if beside > 0 and message.role is Role.USER else ""
    return "\n".join(part for part in (message.text, note) if part)
