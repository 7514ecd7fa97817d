"""Asking for one turn's reply: candidates, attempts, what is shown of them, what they cost.

A reply is one attempt of one model. When an attempt fails, the next one says so and begins again; two attempts are
never spliced, whether of one model or of two.
"""

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from tom.agent.budget import Budget, paid
from tom.agent.feed import Feed, LiveTurn, Restarted
from tom.agent.journal import Journal
from tom.agent.runtools import RunTools
from tom.agent.transcript import Transcript
from tom.clock import Clock
from tom.conversation import event as happened
from tom.conversation import upkeep
from tom.conversation.event import Event
from tom.conversation.label import union
from tom.conversation.run import AskModel
from tom.errors import ProviderError
from tom.llm.chain import Chain, Next, request_for, spent_on, used_until
from tom.llm.levels import Candidate, Models
from tom.llm.prices import priced
from tom.llm.provider import ModelItem, ModelRequest, Reply, TextDelta
from tom.telemetry import logs

log = logs.get("llm")


class ModelAsking:
    """Asks the candidates of one run on its behalf."""

    def __init__(
        self,
        candidates: tuple[Candidate, ...],
        models: Models,
        transcript: Transcript,
        tools: RunTools,
        feed: Feed,
        clock: Clock,
        *,
        options: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Ask ``candidates`` with what ``transcript`` and ``tools`` say; ``options`` are the person's wishes."""
        self._candidates = candidates
        self._models = models
        self._transcript = transcript
        self._tools = tools
        self._feed = feed
        self._clock = clock
        self._options = options or {}
        self._budget = budget

    async def ask(self, run: Journal, wanted: AskModel) -> Event:
        """Ask until an attempt ends well.

        Raises the last attempt's `ProviderError`, `ContextTooSmall`, `TokenLimit` or `QuotaExceeded`.
        """
        tools = await self._tools.on_offer() if wanted.with_tools else ()
        messages = await self._transcript.prompt(run.progress.events, tools)
        label = union(message.label for message in messages)
        chain = Chain(self._candidates, self._models)
        attempt = wanted.attempt
        if attempt > 1:
            self._restart(run, wanted.turn, attempt)
        while True:
            candidate = chain.current
            request = request_for(candidate, messages, tools, self._options)
            used = partial(used_until, candidate, request)
            live = LiveTurn(run.conversation_id, run.run_id, run.request_id, wanted.turn, attempt, label, used)
            try:
                listen = partial(self._listen, candidate, request, live)
                reply = await paid(self._budget, candidate, request, run.progress.usage, listen)
            except ProviderError as error:
                following = chain.after(error)
                await self._record_failure(run, live, candidate, error, following)
                if following is None:
                    raise
                await self._clock.sleep(following.wait)
                attempt += 1
                self._restart(run, wanted.turn, attempt)
            else:
                chain.ended_well()
                return _replied(run, wanted, live, candidate, reply)

    async def _listen(self, candidate: Candidate, request: ModelRequest, live: LiveTurn) -> Reply:
        self._feed.begin(live)
        size = 0
        async with aclosing(candidate.provider.stream(request)) as items:
            async for item in items:
                size = self._measured(size, item)
                if isinstance(item, TextDelta):
                    self._feed.say(live, item.text)
                elif isinstance(item, Reply):
                    return item
                else:
                    self._feed.think(live, item.text)
        message = "The language model's stream ended without a reply."
        raise ProviderError(message)

    def _measured(self, before: int, item: ModelItem) -> int:
        """The bytes of a reply so far; one that comes whole is measured whole. Raises `ProviderTooLarge`."""
        own = len(item.text.encode("utf-8", "replace"))
        size = max(before, own) if isinstance(item, Reply) else before + own
        if self._budget is not None:
            self._budget.check_reply(size)
        return size

    def _restart(self, run: Journal, turn: int, attempt: int) -> None:
        self._feed.publish(Restarted(run.conversation_id, run.run_id, run.request_id, turn, attempt))

    async def _record_failure(
        self, run: Journal, live: LiveTurn, candidate: Candidate, error: ProviderError, following: Next | None
    ) -> None:
        self._feed.end(run.run_id)
        log.warning(
            "🔁 The model call failed",
            event="provider_error",
            code=error.code,
            llm=candidate.llm,
            turn=live.turn,
            attempt=live.attempt,
        )
        failed = happened.model_failed(
            run.conversation_id,
            run_id=run.run_id,
            turn=live.turn,
            attempt=live.attempt,
            code=error.code,
            retryable=error.may_retry,
            usage=spent_on(candidate, error),
        )
        if following is None or not following.fell_from:
            await run.record(failed)
            return
        fell = upkeep.llm_fell_back(
            run.conversation_id,
            run_id=run.run_id,
            turn=live.turn,
            attempt=live.attempt + 1,
            source=following.fell_from,
            target=following.candidate.llm,
            reason=error.code,
        )
        log.warning(f"🔁 {following.candidate.llm!r} answers instead of {following.fell_from!r}", event="llm_fell_back")
        await run.record(failed, fell)


def _replied(run: Journal, wanted: AskModel, live: LiveTurn, candidate: Candidate, reply: Reply) -> Event:
    return happened.model_replied(
        run.conversation_id,
        reply.text,
        run_id=run.run_id,
        turn=wanted.turn,
        attempt=live.attempt,
        finish_reason=reply.finish_reason,
        model=reply.model,
        usage=priced(candidate.price, reply.usage),
        # A reply without tools on offer may still ask for some; there is nothing to call then.
        tool_calls=reply.tool_calls if wanted.with_tools else (),
        thinking=reply.thinking,
        label=live.label,
        dropped_options=reply.dropped,
    )
