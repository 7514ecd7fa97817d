"""Making one call that may be made: intent, call, result; and what passes between its service and the person."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from tom import ids
from tom.agent.calls import Call, result_label
from tom.agent.feed import Feed, Progressed
from tom.agent.journal import Journal, unresolved_call
from tom.agent.runtools import RunTools
from tom.clock import Clock, timestamp
from tom.conversation import asks
from tom.conversation import event as happened
from tom.conversation.elicitation import Continuation, Elicitation, ElicitationAnswer, InputNeeded
from tom.conversation.event import Event, EventType
from tom.conversation.part import Image
from tom.conversation.tool import ToolOutcome
from tom.services.questions import completed
from tom.services.results import cut
from tom.telemetry import logs

log = logs.get("tools")


class Keeping(Protocol):
    """Keeps what a result holds besides its text, as files of its conversation; see `files.py`."""

    async def keep(self, conversation_id: str, images: Iterable[Image]) -> tuple[Mapping[str, Any], ...]:
        """Keep pictures and describe them as attachments."""
        ...

    async def write(self, conversation_id: str, data: bytes) -> str:
        """Keep a file; returns its name."""
        ...


class Calling:
    """Makes calls on behalf of one run."""

    def __init__(
        self, tools: RunTools, feed: Feed, clock: Clock, files: Keeping, *, hours: float, longest: int
    ) -> None:
        """Call ``tools``; a service's question waits ``hours`` for its answer.

        A result of more than ``longest`` characters reaches the model cut; its whole text is kept in ``files``.
        """
        self._tools = tools
        self._feed = feed
        self._clock = clock
        self._hours = hours
        self._files = files
        self._longest = longest

    async def make(self, run: Journal, call: Call, decision: Event | None) -> None:
        """Make the call and record what came of it: its result, or what its service asks the person first."""
        tool = call.tool
        assert tool is not None  # noqa: S101 - told apart by the caller
        key = _recorded_key(run, call.id) or run.key_for(call.turn, call.id)
        continuation = _continuation(run, call.id)
        if call.id not in run.progress.intended or continuation is not None:
            await run.record(_intent(run, call, key, decision))
        started = self._clock.monotonic()
        exchange = RunExchange(run, call, self._feed, self._clock, self._hours)
        outcome = await self._tools.call(tool, call.arguments, key, exchange=exchange, continuation=continuation)
        took = round((self._clock.monotonic() - started - exchange.waited) * 1000)
        log.info("✅ Tool called", event="tool_called", service=tool.service, ms=took, error=outcome.is_error)
        if outcome.needs is not None:
            await self._pass_on(run, call, outcome.needs)
        else:
            await run.record(await self._result(run, call, outcome, took))

    async def _result(self, run: Journal, call: Call, outcome: ToolOutcome, took: int) -> Event:
        tool = call.tool
        assert tool is not None  # noqa: S101 - as above
        if outcome.unknown and not tool.tool_class.reads_only:
            intent = next(event for event in reversed(run.progress.events) if is_intent(event, call.id))
            return unresolved_call(run, intent)
        content = cut(outcome.content, self._longest)
        return happened.tool_returned(
            run.conversation_id,
            content,
            run_id=run.run_id,
            turn=call.turn,
            call_id=call.id,
            is_error=outcome.is_error,
            duration_ms=took,
            tool=tool,
            truncated=outcome.truncated or content != outcome.content,
            denied="tool_changed" if outcome.extra.get("held") else "",
            label=result_label(tool),
            attachments=await self._attached(run, outcome, cut_here=content != outcome.content),
        )

    async def _attached(self, run: Journal, outcome: ToolOutcome, *, cut_here: bool) -> tuple[Mapping[str, Any], ...]:
        """The pictures of a result, and its whole text when the model is told less."""
        pictures = await self._files.keep(run.conversation_id, outcome.images) if outcome.images else ()
        whole: str = outcome.extra.get("whole") or (outcome.content if cut_here else "")
        if not whole:
            return pictures
        text = whole.encode("utf-8", "replace")
        file = await self._files.write(run.conversation_id, text)
        return (*pictures, {"type": "whole", "media_type": "text/plain", "file": file, "size": len(text)})

    async def _pass_on(self, run: Journal, call: Call, needed: InputNeeded) -> None:
        """Record what the service wants to know; the run waits once the other calls of the turn are over."""
        expires = timestamp(self._clock.now() + timedelta(hours=self._hours))
        asked = [
            asks.elicitation_requested(
                run.conversation_id,
                run_id=run.run_id,
                turn=call.turn,
                call_id=call.id,
                elicitation_id=ids.ulid(),
                service=call.tool.service if call.tool else "",
                question=question,
                expires_at=expires,
                state=needed.state,
            )
            for question in needed.questions
        ]
        await run.record(*asked)


class RunExchange:
    """`Exchange` of one call of one run. ``waited``: seconds for which the person was waited for."""

    def __init__(self, run: Journal, call: Call, feed: Feed, clock: Clock, hours: float) -> None:
        """Tell ``feed`` of progress, ask through ``run``."""
        self._run = run
        self._call = call
        self._feed = feed
        self._clock = clock
        self._hours = hours
        self.waited = 0.0

    def progressed(self, done: float, total: float | None, message: str) -> None:
        """Tell whoever listens."""
        run, tool = self._run, self._call.tool
        service, name = (tool.service, tool.tool) if tool else ("", "")
        place = (run.conversation_id, run.run_id, run.request_id, self._call.turn, self._call.id)
        self._feed.publish(Progressed(*place, service, name, done, total, message))

    async def elicit(self, question: Elicitation) -> ElicitationAnswer:
        """Ask the person and wait, however long it takes."""
        expires = timestamp(self._clock.now() + timedelta(hours=self._hours))
        began = self._clock.monotonic()
        asked = asks.elicitation_requested(
            self._run.conversation_id,
            run_id=self._run.run_id,
            turn=self._call.turn,
            call_id=self._call.id,
            elicitation_id=ids.ulid(),
            service=self._call.tool.service if self._call.tool else "",
            question=question,
            expires_at=expires,
        )
        answered = await self._run.ask(asked)
        self.waited += self._clock.monotonic() - began
        await self._run.go_on()
        return answer_in(answered)


def answer_in(answered: Event) -> ElicitationAnswer:
    """The answer that a stored `elicitation.answered` carries."""
    return ElicitationAnswer(answered.extra["outcome"], answered.extra.get("content", {}))


def question_in(asked: Event) -> Elicitation:
    """The question that a stored `elicitation.requested` carries."""
    extra = asked.extra
    return Elicitation(
        extra["mode"], extra["message"], extra.get("schema", {}), url=extra.get("url", ""), key=extra["key"]
    )


def _continuation(run: Journal, call_id: str) -> Continuation | None:
    """What the person answered to the questions with which the service answered this call the last time."""
    if not run.progress.continued(call_id):
        return None
    mine = [event for event in run.progress.events if event.tool_call_id == call_id]
    asked = [event for event in mine if event.type == EventType.ELICITATION_REQUESTED and event.extra["key"]]
    made = max(event.seq for event in mine if event.type == EventType.TOOL_CALLED and event.seq < asked[-1].seq)
    latest = [event for event in asked if event.seq > made]
    answers = {
        event.extra["key"]: completed(
            question_in(event), answer_in(run.progress.answers[event.extra["elicitation_id"]])
        )
        for event in latest
    }
    return Continuation(answers, latest[-1].extra.get("state"))


def _intent(run: Journal, call: Call, key: str, decision: Event | None) -> Event:
    tool = call.tool
    assert tool is not None  # noqa: S101 - as above
    return happened.tool_called(
        run.conversation_id,
        run_id=run.run_id,
        turn=call.turn,
        call_id=call.id,
        service=tool.service,
        tool=tool.tool,
        arguments=call.arguments,
        digest=call.digest,
        tool_class=tool.tool_class,
        key=key,
        pin=tool.pin,
        verdict="allow" if decision is None else "approved",
        approval_id="" if decision is None else decision.extra["approval_id"],
    )


def is_intent(event: Event, call_id: str) -> bool:
    """Whether this is the intent of that call."""
    return event.type == EventType.TOOL_CALLED and event.tool_call_id == call_id


def _recorded_key(run: Journal, call_id: str) -> str | None:
    for event in reversed(run.progress.events):
        if is_intent(event, call_id):
            return event.extra["key"]
    return None
