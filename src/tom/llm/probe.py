"""Trying a model out: does it answer, and does it call a tool? For `tom llm`, never on the way of a message."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tom.config.agent import LlmEntry, Price
from tom.conversation.message import user
from tom.conversation.tool import ToolDefinition
from tom.errors import ProviderBadRequest, ProviderEmpty, ProviderError, ProviderRefused
from tom.llm.levels import open_provider
from tom.llm.prices import price_at
from tom.llm.provider import ModelRequest, Provider, Reply

WORDS = 8
"""Tokens of the answer that is asked for."""
CALL = 256
"""Tokens in which a model may call the tool; some think before they do."""
_READY = ToolDefinition(
    name="report_ready",
    service="probe",
    tool="report_ready",
    description="Reports that you are ready.",
    parameters={"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found out about one model. ``ms`` is the time to its whole first answer.

    ``calls_tools`` None: not known. ``error`` is what went wrong, ``problem`` one word for it: ``key``, ``credit``,
    ``model``, ``network``, ``request``, ``answer``; ``context_tokens`` and ``price`` as config.yml says.
    """

    model: str
    ms: int = 0
    calls_tools: bool | None = None
    error: str = ""
    problem: str = ""
    context_tokens: int = 0
    price: Price | None = None

    @property
    def works(self) -> bool:
        """Whether the model answered."""
        return not self.error


async def probe_level(entry: LlmEntry, level: int, timeout: float = 60.0) -> Probe:
    """Ask the entry's model of ``level`` for a word, and for a call. Raises nothing but cancellation."""
    model = entry.models[level]
    own: Mapping[str, Any] = entry.options_by_level[level] if entry.options_by_level else {}
    provider = open_provider(entry)
    start = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            await _word(provider, ModelRequest(model, (user("Say: ready"),), (), {**own, "max_tokens": WORDS}))
            took = int((time.monotonic() - start) * 1000)
            wish = {**own, "max_tokens": CALL, "tool_choice": _READY.name}
            question = user("Report that you are ready, by calling the tool with the word: ready")
            calls = await _calls(provider, ModelRequest(model, (question,), (_READY,), wish))
    except TimeoutError:
        return Probe(model, error="no answer in time", problem="network")
    except ProviderError as error:
        return Probe(model, error=error.message, problem=problem_of(error))
    finally:
        await provider.close()
    return Probe(model, took, calls, context_tokens=entry.context_tokens, price=price_at(entry, level))


def problem_of(error: ProviderError) -> str:
    """One word for what is wrong, by which the person knows what to do."""
    status = error.details.get("status")
    if isinstance(error, ProviderRefused):
        return {401: "key", 403: "key", 404: "model"}.get(status or 0, "credit")
    if status == 429:
        return "credit"
    if isinstance(error, ProviderBadRequest):
        return "request"
    return "network" if error.code in {"provider_unreachable", "provider_timeout"} else "answer"


async def _word(provider: Provider, request: ModelRequest) -> None:
    try:
        await _reply(provider, request)
    except ProviderEmpty:
        return  # it spent its few tokens on thinking: it is there


async def _calls(provider: Provider, request: ModelRequest) -> bool | None:
    """Whether the model calls the tool; None when that cannot be told."""
    try:
        reply = await _reply(provider, request)
    except ProviderBadRequest:
        return False
    except ProviderEmpty:
        return None
    return any(call.name == _READY.name for call in reply.tool_calls)


async def _reply(provider: Provider, request: ModelRequest) -> Reply:
    reply: Reply | None = None
    async for item in provider.stream(request):
        if isinstance(item, Reply):
            reply = item
    if reply is None:
        raise ProviderEmpty
    return reply
