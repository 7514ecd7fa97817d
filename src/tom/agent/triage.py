"""Triage: one small question to a small model about which services a message needs, and how hard it is.

It is never in the way: few services are all selected without asking, and a model that fails, is late or talks nonsense
is replaced by what the message and the previous run name.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tom.agent.afreshwords import wishes_afresh
from tom.agent.aside import ask_aside
from tom.agent.budget import Limits, unbounded
from tom.agent.modules import Module, Modules
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation import message as make
from tom.conversation.message import Message
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.conversation.usage import NOTHING, Usage
from tom.errors import TomError
from tom.llm.levels import Models
from tom.llm.provider import Reply
from tom.services.toolbox import Toolbox
from tom.telemetry import logs

log = logs.get("triage")

SELECT, FRESH = "modules_needed_to_answer_user_prompt", "start_new_conversation"
MOST_TOOLS = 40
"""Tools on offer when nobody knows which services are needed."""

HARDEST = 2

INSTRUCTIONS = (
    "Before the user's message is answered you decide what is needed for it; you do not answer it yourself. Call "
    f"{SELECT} with the names of the available modules whose tools are needed, and with the level: 0 for small talk and "
    "simple lookups, 1 for ordinary work, 2 for hard reasoning or several dependent tasks. Call it with an empty list "
    f"when general knowledge is enough. Call {FRESH} only when the user explicitly wishes to begin a new conversation "
    "or to forget this one. A greeting is an ordinary message and never begins a new conversation."
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What triage found. ``how`` is that of `triage.decided`; ``level`` None: it has no opinion."""

    services: tuple[str, ...]
    how: str
    level: int | None = None
    reason: str = ""
    fresh_start: bool = False
    ms: int = 0
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What triage is asked about one message. ``names`` are the enabled services.

    ``window`` are the messages of the conversation with the person's own as the last, ``helpers`` memories and temporal
    context. ``pinned`` services are always in; ``previous`` were those of the run before.
    """

    text: str
    standing: str
    names: tuple[str, ...]
    window: tuple[Message, ...] = ()
    helpers: tuple[Message, ...] = ()
    pinned: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()


class Triage:
    """Chooses services for one person."""

    def __init__(
        self,
        settings: AgentSettings,
        models: Models,
        toolbox: Toolbox,
        modules: Modules,
        clock: Clock,
        limits: Limits = unbounded,
    ) -> None:
        """Ask the level-0 model of ``global.llm_triage`` within what ``limits`` gives one question."""
        self._limits = limits
        self._settings = settings
        self._models = models
        self._toolbox = toolbox
        self._modules = modules
        self._clock = clock

    def without_asking(self, asked: Sequence[str] | None, names: Sequence[str]) -> Decision | None:
        """What needs no model: the request named its services, or few are enabled (``names``)."""
        if asked is not None:
            return Decision(tuple(name for name in dict.fromkeys(asked) if name in names), "asked")
        if len(names) <= self._settings.triage.skip_below:
            return Decision(tuple(names), "skipped")
        return None

    async def decide(self, question: Question) -> Decision:
        """Ask the model; what it fails to say is taken from the message and the previous run. Never raises."""
        began = self._clock.monotonic()
        decision = await self._asked(question)
        services = tuple(dict.fromkeys((*question.pinned, *decision.services)))
        services = tuple(name for name in services if name in question.names)
        took = round((self._clock.monotonic() - began) * 1000)
        log.info("✅ Services chosen", event="triage", how=decision.how, count=len(services), ms=took)
        return Decision(
            services, decision.how, decision.level, decision.reason, decision.fresh_start, took, decision.usage
        )

    async def _asked(self, question: Question) -> Decision:
        modules = await self._modules.available()
        tools = tools_for([module.name for module in modules])
        lost: list[Usage] = []
        try:
            reply = await ask_aside(
                self._models,
                self._prompt(question, modules),
                level=0,
                llm=self._settings.llm_triage,
                tools=tools,
                timeout=self._settings.triage.timeout,
                budget=self._limits(),
                lost=lost.append,
            )
        except (TomError, TimeoutError) as error:
            code = error.code if isinstance(error, TomError) else "timeout"
            return self._fallback(question, code, sum(lost, NOTHING))
        return read_decision(reply, question.names, question.text) or self._fallback(question, "nonsense", reply.usage)

    def _prompt(self, question: Question, modules: Sequence[Module]) -> tuple[Message, ...]:
        available = json.dumps({"available_modules": [module.shown() for module in modules]}, ensure_ascii=False)
        head = (make.system(question.standing), make.system(INSTRUCTIONS), make.system(available))
        return (*head, *question.window[:-1], *question.helpers, *question.window[-1:])

    def _fallback(self, question: Question, reason: str, usage: Usage | None = None) -> Decision:
        log.warning("⚠️ Triage failed; services are taken from the message", event="triage_failed", reason=reason)
        named = named_in(question.text, question.names)
        chosen = tuple(dict.fromkeys((*named, *question.previous)))
        chosen = tuple(name for name in chosen if name in question.names)
        return Decision(chosen or self._up_to(MOST_TOOLS, question.names), "fallback", reason=reason, usage=usage)

    def _up_to(self, tools: int, names: Sequence[str]) -> tuple[str, ...]:
        """Services, in order, while their tools together are at most so many."""
        counts = {status.name: status.tools_count for status in self._toolbox.status()}
        chosen: list[str] = []
        for name in names:
            tools -= counts.get(name, 0)
            if tools < 0:
                break
            chosen.append(name)
        return tuple(chosen)


def tools_for(names: Sequence[str]) -> tuple[ToolDefinition, ...]:
    """The two tools of triage."""
    listed = {"type": "array", "items": {"type": "string", "enum": list(names)}}
    select: dict[str, Any] = {
        "type": "object",
        "properties": {
            "modules_name": {**listed, "description": "The modules that are needed; empty when none is"},
            "level": {"type": "integer", "enum": [0, 1, 2], "description": "How hard the message is"},
        },
        "required": ["modules_name"],
    }
    about = "Select the modules whose tools are needed to answer. May be called repeatedly."
    afresh = "Begin a new conversation. Only for the user's explicit wish; never for a greeting."
    nothing: dict[str, Any] = {"type": "object", "properties": {}}
    return (
        ToolDefinition(SELECT, "tom", SELECT, about, select, ToolClass.READ_PUBLIC),
        ToolDefinition(FRESH, "tom", FRESH, afresh, nothing, ToolClass.READ_PUBLIC),
    )


def read_decision(reply: Reply, known: Collection[str], text: str) -> Decision | None:
    """What the model's calls say; None when they make no sense, as without any call or with a reset nobody wished for."""
    services: dict[str, None] = {}
    levels: list[int] = []
    fresh = understood = False
    for call in reply.tool_calls:
        arguments = _arguments(call)
        if call.name == FRESH and wishes_afresh(text):
            fresh = understood = True
        elif call.name == SELECT and arguments is not None:
            names = _names(arguments.get("modules_name"))
            if names is None:
                continue
            wanted = [name for name in names if name in known]
            understood = understood or bool(wanted) or not names
            services |= dict.fromkeys(wanted)
            level: Any = arguments.get("level")
            if isinstance(level, int) and not isinstance(level, bool) and 0 <= level <= HARDEST:
                levels.append(level)
    if not understood:
        return None
    proposed = max(levels) if levels else None
    return Decision(tuple(services), "model", proposed, fresh_start=fresh, usage=reply.usage)


def named_in(text: str, names: Collection[str]) -> tuple[str, ...]:
    """The services whose names stand in ``text`` as words."""
    spoken = " ".join(re.split(r"[\W_]+", text.lower()))
    padded = f" {spoken} "
    return tuple(name for name in names if f" {' '.join(re.split(r'[\W_]+', name.lower()))} " in padded)


def _arguments(call: ToolCall) -> Mapping[str, Any] | None:
    try:
        value: Any = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _names(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, list):
        return None
    return [name for name in cast("list[Any]", value) if isinstance(name, str)]
