"""Asking the model for one turn: attempts, retries, and what is shown of them.

A reply is one attempt of one model. When text was shown and the attempt fails, the next attempt says so and begins
again; two attempts are never spliced.
"""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tom.agent.feed import Feed, LiveTurn, Restarted
from tom.agent.journal import Journal
from tom.agent.runtools import RunTools
from tom.agent.transcript import Transcript
from tom.clock import Clock
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import AskModel
from tom.errors import ProviderError, ProviderRateLimited
from tom.llm.provider import ModelRequest, Provider, Reply, TextDelta
from tom.telemetry import logs

FIRST_WAIT = 0.3
LONGEST_RETRY_AFTER = 30.0

log = logs.get("llm")


@dataclass(frozen=True, slots=True)
class Model:
    """Which model answers this run, and how it is asked."""

    provider: Provider
    name: str
    options: Mapping[str, Any]
    max_retries: int = 2


class ModelAsking:
    """Asks one model on behalf of one run."""

    def __init__(self, model: Model, transcript: Transcript, tools: RunTools, feed: Feed, clock: Clock) -> None:
        """Ask ``model`` with what ``transcript`` and ``tools`` say."""
        self._model = model
        self._transcript = transcript
        self._tools = tools
        self._feed = feed
        self._clock = clock

    async def ask(self, run: Journal, wanted: AskModel) -> Event:
        """Ask until an attempt ends well. Raises the last attempt's `ProviderError`, or `ContextTooSmall`."""
        tools = await self._tools.on_offer() if wanted.with_tools else ()
        request = ModelRequest(
            self._model.name, await self._transcript.prompt(run.progress.events, tools), tools, self._model.options
        )
        first = wanted.attempt
        attempt = first
        if first > 1:
            self._feed.publish(Restarted(run.conversation_id, run.run_id, run.request_id, wanted.turn, first))
        while True:
            live = LiveTurn(run.conversation_id, run.run_id, run.request_id, wanted.turn, attempt)
            try:
                reply = await self._attempt(request, live)
            except ProviderError as error:
                if not error.may_retry or attempt - first >= self._model.max_retries:
                    await self._record_failure(run, wanted.turn, attempt, error)
                    raise
                await self._record_failure(run, wanted.turn, attempt, error)
                await self._clock.sleep(_wait_before(error, attempt - first))
                attempt += 1
                self._feed.publish(Restarted(run.conversation_id, run.run_id, run.request_id, wanted.turn, attempt))
            else:
                return _replied(run, wanted, attempt, reply)

    async def _attempt(self, request: ModelRequest, live: LiveTurn) -> Reply:
        self._feed.begin(live)
        async with aclosing(self._model.provider.stream(request)) as items:
            async for item in items:
                if isinstance(item, TextDelta):
                    self._feed.say(live, item.text)
                elif isinstance(item, Reply):
                    return item
                else:
                    self._feed.think(live, item.text)
        message = "The language model's stream ended without a reply."
        raise ProviderError(message)

    async def _record_failure(self, run: Journal, turn: int, attempt: int, error: ProviderError) -> None:
        self._feed.end(run.run_id)
        log.warning("🔁 The model call failed", event="provider_error", code=error.code, turn=turn, attempt=attempt)
        failed = happened.model_failed(
            run.conversation_id,
            run_id=run.run_id,
            turn=turn,
            attempt=attempt,
            code=error.code,
            retryable=error.may_retry,
        )
        await run.record(failed)


def _wait_before(error: ProviderError, retries: int) -> float:
    """Seconds until the next attempt: what the provider asked for, else 0.3, 0.6, 1.2."""
    asked = error.details.get("retry_after") if isinstance(error, ProviderRateLimited) else None
    if isinstance(asked, int | float):
        return min(float(asked), LONGEST_RETRY_AFTER)
    return FIRST_WAIT * 2**retries


def _replied(run: Journal, wanted: AskModel, attempt: int, reply: Reply) -> Event:
    return happened.model_replied(
        run.conversation_id,
        reply.text,
        run_id=run.run_id,
        turn=wanted.turn,
        attempt=attempt,
        finish_reason=reply.finish_reason,
        model=reply.model,
        usage=reply.usage,
        # A reply without tools on offer may still ask for some; there is nothing to call then.
        tool_calls=reply.tool_calls if wanted.with_tools else (),
        thinking=reply.thinking,
    )
