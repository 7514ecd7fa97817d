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
from tom.conversation.event import Event, EventType
from tom.conversation.label import union
from tom.conversation.run import AskModel
from tom.conversation.usage import NOTHING, Usage
from tom.errors import ProviderError, ProviderTooLarge
from tom.llm.chain import Chain, Next, request_for
from tom.llm.levels import Candidate, Models
from tom.llm.provider import ModelItem, ModelRequest, Reply, TextDelta
from tom.telemetry import logs

log = logs.get("llm")

CUT = "length"
"""A reply's finish reason, and the code of the attempt that ended so."""

LIMIT = "⚠️ Reached maximum tool call limit ({}). Stopping to prevent infinite recursion."
"""What is answered when the bound of turns is reached and no model says more."""


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
        plain: bool = False,
    ) -> None:
        """Ask ``candidates`` with what ``transcript`` and ``tools`` say; ``options`` are the person's wishes.

        ``plain``: text that was shown cannot be taken back, so there is no further attempt after it.
        """
        self._candidates = candidates
        self._models = models
        self._transcript = transcript
        self._tools = tools
        self._feed = feed
        self._clock = clock
        self._options = options or {}
        self._budget = budget
        self._plain = plain
        self._final = False

    async def ask(self, run: Journal, wanted: AskModel) -> Event:
        """Ask until an attempt ends well; at the bound of turns there is an answer even when none does.

        Raises the last attempt's `ProviderError`, `ContextTooSmall`, `TokenLimit` or `QuotaExceeded`.
        """
        try:
            reply = await self._ask(run, wanted)
        except ProviderError:
            if wanted.with_tools or self._final:
                raise
            return self._standing_in(run, wanted, NOTHING)
        if wanted.with_tools or (reply.content or "").strip():
            return reply
        return self._standing_in(run, wanted, reply.usage or NOTHING)

    async def _ask(self, run: Journal, wanted: AskModel) -> Event:
        tools = await self._tools.on_offer() if wanted.with_tools else ()
        forced = {"tool_choice": self._tools.choice} if tools and self._tools.choice else dict[str, str]()
        options = {**self._options, **forced}
        messages = await self._transcript.prompt(run.progress.events, tools)
        label = union(message.label for message in messages)
        chain = Chain(self._candidates, self._models)
        attempt = wanted.attempt
        if attempt > 1:
            self._restart(run, wanted.turn, attempt)
        if chain.passed_over:
            place = (wanted.turn, attempt)
            await run.record(_fell_back(run, place, chain.passed_over, chain.current.llm, "provider_left_out"))
        while True:
            candidate = chain.current
            request = request_for(candidate, messages, tools, options)
            live = LiveTurn(run.conversation_id, run.run_id, run.request_id, wanted.turn, attempt, label)
            try:
                reply = await self._paid(candidate, request, run.progress.usage, live)
            except ProviderError as error:
                following = chain.after(error)
                self._final = self._plain and bool(live.pieces)
                following = None if self._final else following
                await self._record_failure(run, live, candidate, error, following)
                if following is None:
                    raise
                await self._clock.sleep(following.wait)
                attempt += 1
                self._restart(run, wanted.turn, attempt)
            else:
                chain.ended_well()
                if not self._may_be_longer(run, wanted, live, reply):
                    return self._replied(run, wanted, live, reply)
                await self._record_cut(run, live, candidate)
                attempt += 1
                self._restart(run, wanted.turn, attempt)

    def _may_be_longer(self, run: Journal, wanted: AskModel, live: LiveTurn, reply: Reply) -> bool:
        """Whether an answer that was cut off for its length is asked for once more; not where the person set the length."""
        if reply.finish_reason != CUT or (reply.tool_calls and wanted.with_tools) or "max_tokens" in self._options:
            return False
        failed = [event for event in run.progress.events if event.type == EventType.MODEL_FAILED]
        tried = any(event.turn == wanted.turn and event.extra["code"] == CUT for event in failed)
        return not tried and not (self._plain and live.pieces)

    def _standing_in(self, run: Journal, wanted: AskModel, spent: Usage) -> Event:
        """The answer that no model wrote: the bound of turns is reached, and the last call without tools brought nothing."""
        attempt, text = run.progress.attempts + 1, LIMIT.format(run.progress.max_turns)
        if attempt > 1:
            self._restart(run, wanted.turn, attempt)
        live = LiveTurn(run.conversation_id, run.run_id, run.request_id, wanted.turn, attempt, spent=spent)
        self._feed.begin(live)
        self._feed.say(live, text)
        return self._replied(run, wanted, live, Reply(text, (), "stop", spent, model=""))

    async def _paid(self, candidate: Candidate, request: ModelRequest, spent: Usage, live: LiveTurn) -> Reply:
        def told(usage: Usage) -> None:
            live.spent = usage

        listen = partial(self._listen, candidate, request, live)
        reply = await paid(self._budget, candidate, request, spent, listen, lambda: live.written, lost=told)
        told(reply.usage)
        return reply

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

    async def _record_cut(self, run: Journal, live: LiveTurn, candidate: Candidate) -> None:
        self._feed.cut(run.run_id)
        log.warning("🔁 The answer was cut off for its length", event="reply_cut", llm=candidate.llm, turn=live.turn)
        cut = happened.model_failed(
            run.conversation_id,
            run_id=run.run_id,
            turn=live.turn,
            attempt=live.attempt,
            code=CUT,
            retryable=True,
            usage=live.spent,
        )
        await run.record(cut)

    async def _record_failure(
        self, run: Journal, live: LiveTurn, candidate: Candidate, error: ProviderError, following: Next | None
    ) -> None:
        if isinstance(error, ProviderTooLarge):  # refused by us, not cut
            self._feed.end(run.run_id)
        else:
            self._feed.cut(run.run_id)
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
            usage=live.spent if live.spent != NOTHING else None,
        )
        if following is None or not following.fell_from:
            await run.record(failed)
            return
        place = (live.turn, live.attempt + 1)
        await run.record(failed, _fell_back(run, place, following.fell_from, following.candidate.llm, error.code))

    def _replied(self, run: Journal, wanted: AskModel, live: LiveTurn, reply: Reply) -> Event:
        return happened.model_replied(
            run.conversation_id,
            reply.text,
            run_id=run.run_id,
            turn=wanted.turn,
            attempt=live.attempt,
            finish_reason=reply.finish_reason,
            model=reply.model,
            usage=reply.usage,
            # A reply without tools on offer may still ask for some; there is nothing to call then.
            tool_calls=reply.tool_calls if wanted.with_tools else (),
            thinking=reply.thinking,
            label=live.label,
            dropped_options=reply.dropped,
            handed=self._tools.handed,
        )


def _fell_back(run: Journal, place: tuple[int, int], source: str, target: str, reason: str) -> Event:
    """The event, and the line of the log, that say who answers instead; ``place``: the turn and its attempt."""
    turn, attempt = place
    text = f"🔁 {target!r} answers instead of {source!r}"
    log.warning(text, event="provider_fallback_used", code=reason, llm=target, turn=turn, attempt=attempt)
    about = {"source": source, "target": target, "reason": reason}
    return upkeep.llm_fell_back(run.conversation_id, run_id=run.run_id, turn=turn, attempt=attempt, **about)
