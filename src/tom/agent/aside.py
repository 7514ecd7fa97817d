"""A question beside a run's turns: triage, speech, titles, summaries, tuning. Nobody sees it being answered."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from tom.agent.budget import Budget, paid
from tom.clock import Clock, SystemClock
from tom.conversation.message import Message
from tom.conversation.tool import ToolDefinition
from tom.conversation.usage import NOTHING
from tom.errors import ProviderError
from tom.llm.chain import Chain, request_for, spent_on
from tom.llm.levels import Candidate, Models
from tom.llm.prices import priced
from tom.llm.provider import ModelRequest, Reply
from tom.telemetry import logs

log = logs.get("llm")


async def ask_aside(
    models: Models,
    messages: Sequence[Message],
    *,
    level: int,
    llm: str = "",
    tools: Sequence[ToolDefinition] = (),
    options: Mapping[str, Any] | None = None,
    timeout: float,
    budget: Budget | None = None,
    clock: Clock | None = None,
) -> Reply:
    """Ask the LLM ``llm`` (or the default one) at ``level``, with repetitions and fallbacks.

    The reply's usage has its cost and that of the attempts that failed. ``timeout`` in seconds bounds all of it.
    Raises the last `ProviderError`, `TimeoutError`, and what ``budget`` raises.
    """
    chain = Chain(models.candidates(level, llm), models)
    lost = NOTHING
    async with asyncio.timeout(timeout):
        while True:
            candidate = chain.current
            request = request_for(candidate, tuple(messages), tuple(tools), options or {})
            try:
                reply = await paid(budget, candidate, request, lost, partial(_reply, candidate, request))
            except ProviderError as error:
                log.warning("🔁 An aside failed", event="provider_error", code=error.code, llm=candidate.llm)
                lost += spent_on(candidate, error) or NOTHING
                following = chain.after(error)
                if following is None:
                    raise
                await (clock or SystemClock()).sleep(following.wait)
            else:
                chain.ended_well()
                return replace(reply, usage=priced(candidate.price, reply.usage) + lost)


async def _reply(candidate: Candidate, request: ModelRequest) -> Reply:
    async with aclosing(candidate.provider.stream(request)) as items:
        async for item in items:
            if isinstance(item, Reply):
                return item
    message = "The language model's stream ended without a reply."
    raise ProviderError(message)
