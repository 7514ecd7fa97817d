"""Calling the tools of one turn: verdicts first, then intent, call and result, one after the other.

Every call of the turn is judged before any is made. When one needs the person's yes, all that need one are asked in a
single commit and the run waits, without a worker (ADR 7). The intent (`tool.called`) is on disk before a call
leaves: after a crash there are only calls that were surely not made, and calls that may have been. Those are repeated
when they only read, else reported as unresolved.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tom.agent.calling import Calling, is_intent
from tom.agent.calls import Call, parse_arguments, refused
from tom.agent.feed import Feed, ToolsAnnounced
from tom.agent.journal import Journal
from tom.agent.judging import Judging
from tom.agent.runtools import RunTools
from tom.conversation import asks
from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall
from tom.conversation.run import CallTools, RunState
from tom.errors import TooManyAsks
from tom.policy.verdict import Answer, Verdict

PARALLEL = 8
"""Calls of one turn that run at the same time at most, where the limits say nothing."""

DECLINED = "The user declined."
TOO_LATE = "No answer in time."
DOUBTFUL = (
    "Not called: {reason}. Look first with a tool that only reads, and tell the user; then it may be asked again."
)


class CallLimit(Protocol):
    """How many calls a run may make; see `limits.py`."""

    def check_calls(self, made: int) -> None:
        """Raise `ToolLimit` when no further call may be made after ``made``."""
        ...


class ToolRunner:
    """Calls tools on behalf of one run."""

    def __init__(
        self,
        tools: RunTools,
        judging: Judging,
        calling: Calling,
        feed: Feed,
        *,
        limit: CallLimit | None = None,
        parallel: int = PARALLEL,
        max_asks: int = 10,
    ) -> None:
        """Judge with ``judging``, call with ``calling``; a run may ask in at most ``max_asks`` turns."""
        self._tools = tools
        self._judging = judging
        self._calling = calling
        self._feed = feed
        self._limit = limit
        self._parallel = parallel
        self._max_asks = max_asks

    async def call(self, run: Journal, wanted: CallTools) -> None:
        """Make every call of the turn that has no result yet, or ask the person and leave the run waiting.

        Calls that all only read are made beside each other, others in order. Raises `TooManyAsks`, `ToolLimit`.
        """
        calls = [await self._prepared(run, wanted.turn, call) for call in wanted.calls]
        if await self._ask(run, calls):
            return
        names = tuple(call.name for call in calls)
        self._feed.publish(ToolsAnnounced(run.conversation_id, run.run_id, run.request_id, wanted.turn, names))
        if all(call.tool is not None and call.tool.tool_class.reads_only for call in calls):
            places = asyncio.Semaphore(self._parallel)
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(self._within(places, run, call))
        else:
            for call in calls:
                if run.parked or run.progress.open_asks:
                    break
                await self._one(run, call)
        if run.progress.open_asks and run.progress.state is not RunState.WAITING:
            await run.record(asks.run_waiting(run.conversation_id, run_id=run.run_id, reason="elicitation"))

    async def _within(self, places: asyncio.Semaphore, run: Journal, call: Call) -> None:
        async with places:
            await self._one(run, call)

    # --- what is wanted ----------------------------------------------------------------------------------------

    async def _prepared(self, run: Journal, turn: int, wanted: ToolCall) -> Call:
        tool = await self._tools.named(wanted.name)
        if tool is None:
            held = self._tools.held(wanted.name)
            missing = f"Tool '{wanted.name}' not found"
            return Call(
                turn, wanted, None, problem=missing if held is None else f"Denied by policy: {held}", held=bool(held)
            )
        edited = _edited(run, wanted.id)
        try:
            arguments = parse_arguments(wanted.arguments) if edited is None else edited
        except ValueError as error:
            return Call(turn, wanted, tool, problem=f"Invalid tool arguments: {error}", bad=True)
        misfit = self._tools.check(tool, arguments)
        if misfit is None:
            return Call(turn, wanted, tool, arguments)
        text, errors = misfit
        return Call(turn, wanted, tool, arguments, f"Invalid tool arguments: {text}", errors=errors)

    # --- asking ------------------------------------------------------------------------------------------------

    async def _ask(self, run: Journal, calls: Sequence[Call]) -> bool:
        """Ask for every call that needs a yes and has no answer; whether the run now waits."""
        wanting = [(call, verdict) for call in calls if (verdict := await self._undecided(run, call)) is not None]
        if not wanting:
            return False
        if run.progress.asked >= self._max_asks and not run.progress.asks:
            message = f"The run wanted to ask more than {self._max_asks} times."
            raise TooManyAsks(message)
        new = [(call, verdict) for call, verdict in wanting if call.id not in run.progress.asks]
        requested = [self._judging.request(run, call, verdict) for call, verdict in new]
        await run.record(*requested, asks.run_waiting(run.conversation_id, run_id=run.run_id, reason="approval"))
        return True

    async def _undecided(self, run: Journal, call: Call) -> Verdict | None:
        """The verdict, when it is to ask and nobody has been asked yet."""
        progress = run.progress
        if call.tool is None or call.problem or call.id in progress.intended or call.id in progress.decisions:
            return None
        verdict = await self._judging.verdict(run, call)
        return verdict if verdict.answer is Answer.ASK else None

    # --- one call ----------------------------------------------------------------------------------------------

    async def _one(self, run: Journal, call: Call) -> None:
        if call.tool is None or call.problem:
            await run.record(refused(run, call, call.problem, denied="tool_changed" if call.held else ""))
            return
        if any(asked.tool_call_id == call.id for asked in run.progress.open_asks):
            return  # its service wants to know something that nobody has answered yet
        decision = run.progress.decisions.get(call.id)
        repeated = call.id in run.progress.intended
        denial = await (self._denial_again(run, call) if repeated else self._denial(run, call, decision))
        if denial is not None:
            await run.record(denial)
            return
        if not repeated and self._limit is not None:
            self._limit.check_calls(run.progress.tool_calls)
        await self._calling.make(run, call, decision)

    async def _denial(self, run: Journal, call: Call, decision: Event | None) -> Event | None:
        """The result of a call that is not to be made; None when it may be. Everything is looked at once more."""
        if decision is not None and decision.extra["decision"] == asks.DENY:
            return refused(run, call, _declined(decision), denied="declined")
        verdict = await self._judging.verdict(run, call)
        if verdict.answer is Answer.DENY:
            return refused(run, call, f"Denied by policy: {verdict.reason}", denied=verdict.ground)
        if verdict.answer is Answer.ALLOW:
            return None
        if decision is None or _older_than_doubt(run, call, decision):
            return refused(run, call, DOUBTFUL.format(reason=verdict.reason), denied=verdict.ground)
        changed = self._judging.changed_since(run, call, decision)
        return refused(run, call, f"Denied by policy: {changed}", denied="tool_changed") if changed else None

    async def _denial_again(self, run: Journal, call: Call) -> Event | None:
        """The same for a call that is made once more: because it only reads, or because its service asked something.

        Its intent stands for the verdict of then, as long as it is the very same call of the very same tool.
        """
        intent = next(event for event in reversed(run.progress.events) if is_intent(event, call.id))
        changed = self._judging.differs(call, intent)
        if changed:
            return refused(run, call, f"Denied by policy: {changed}", denied="tool_changed")
        verdict = await self._judging.verdict(run, call)
        if verdict.answer is Answer.DENY:
            return refused(run, call, f"Denied by policy: {verdict.reason}", denied=verdict.ground)
        return None


def _edited(run: Journal, call_id: str) -> dict[str, object] | None:
    decision = run.progress.decisions.get(call_id)
    return None if decision is None else decision.extra.get("arguments")


def _declined(decision: Event) -> str:
    if decision.extra["by"] == asks.EXPIRED:
        return TOO_LATE
    note = decision.extra.get("note", "")
    return f"{DECLINED} They said: {note}" if note else DECLINED


def _older_than_doubt(run: Journal, call: Call, decision: Event) -> bool:
    """Whether a call of the same tool became unresolved after the person had said yes to this one."""
    assert call.tool is not None  # noqa: S101 - told apart by the caller
    return any(
        event.type == EventType.TOOL_UNRESOLVED
        and event.seq > decision.seq
        and f"{event.extra['service']}.{event.extra['tool']}" == call.tool.full_name
        for event in run.progress.events
    )
