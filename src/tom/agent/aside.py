"""A question beside a run's turns: triage, speech, titles, summaries, tuning. Nobody sees it being answered."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from tom.agent.budget import Budget, paid
from tom.clock import Clock, SystemClock
from tom.conversation.message import Message
from tom.conversation.tool import ToolDefinition
from tom.conversation.usage import NOTHING, Usage
from tom.errors import ProviderError
from tom.llm.chain import Chain, request_for
from tom.llm.levels import Candidate, Models
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
    lost: Callable[[Usage], None] | None = None,
) -> Reply:
    """Ask the LLM ``llm`` (or the default one) at ``level``, with repetitions and fallbacks.

    The reply's usage has its cost and that of the attempts that failed. ``timeout`` in seconds bounds all of it.
    ``lost`` is told what a question has cost that ends in an error. Raises the last `ProviderError`, `TimeoutError`, and
    what ``budget`` raises.
    """
    chain = Chain(models.candidates(level, llm), models)
    failed: list[Usage] = []
    try:
        async with asyncio.timeout(timeout):
            while True:
                candidate = chain.current
                request = request_for(candidate, tuple(messages), tuple(tools), options or {})
                try:
                    reply = await _paid(budget, candidate, request, failed)
                except ProviderError as error:
                    log.warning("🔁 An aside failed", event="provider_error", code=error.code, llm=candidate.llm)
                    following = chain.after(error)
                    if following is None:
                        raise
                    await (clock or SystemClock()).sleep(following.wait)
                else:
                    chain.ended_well()
                    return replace(reply, usage=sum(failed, reply.usage))
    except BaseException:
        if lost is not None:
            lost(sum(failed, NOTHING))
        raise


async def _paid(budget: Budget | None, candidate: Candidate, request: ModelRequest, failed: list[Usage]) -> Reply:
    """One attempt; what it used without an answer is added to ``failed``."""
    pieces: list[str] = []
    listen = partial(_reply, candidate, request, pieces)
    before = sum(failed, NOTHING)
    return await paid(
        budget, candidate, request, before, listen, lambda: "".join(pieces), all_seen=False, lost=failed.append
    )


async def _reply(candidate: Candidate, request: ModelRequest, pieces: list[str]) -> Reply:
    async with aclosing(candidate.provider.stream(request)) as items:
        async for item in items:
            if isinstance(item, Reply):
                return item
            pieces.append(item.text)
    message = "The language model's stream ended without a reply."
    raise ProviderError(message)
