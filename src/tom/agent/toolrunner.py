"""Calling the tools of one turn: intent first, then the call, then its result.

The intent (`tool.called`) is on disk before the call leaves. So after a crash there are only calls that were surely
not made, and calls that may have been: those are repeated when they only read, else reported as unresolved.
"""

import asyncio
import hashlib
import json
from typing import Any, cast

from tom.agent.feed import Feed, ToolsAnnounced
from tom.agent.journal import Journal, unresolved_call
from tom.agent.runtools import RunTools
from tom.clock import Clock
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.part import ToolCall
from tom.conversation.run import CallTools
from tom.conversation.tool import ToolDefinition
from tom.telemetry import logs

log = logs.get("tools")

PARALLEL = 8
"""Calls of one turn that run at the same time at most."""


class ToolRunner:
    """Calls tools on behalf of one run."""

    def __init__(self, tools: RunTools, feed: Feed, clock: Clock) -> None:
        """Call ``tools``; time is measured with ``clock``."""
        self._tools = tools
        self._feed = feed
        self._clock = clock

    async def call(self, run: Journal, wanted: CallTools) -> None:
        """Make every call of the turn that has no result yet: beside each other when all only read, else in order."""
        known = [(call, await self._tools.named(call.name)) for call in wanted.calls]
        names = tuple(tool.full_name if tool else call.name for call, tool in known)
        self._feed.publish(ToolsAnnounced(run.conversation_id, run.run_id, run.request_id, wanted.turn, names))
        if all(tool is not None and tool.tool_class.reads_only for _, tool in known):
            places = asyncio.Semaphore(PARALLEL)
            async with asyncio.TaskGroup() as group:
                for call, tool in known:
                    group.create_task(self._within(places, run, wanted.turn, call, tool))
            return
        for call, tool in known:
            if run.parked:
                return
            await self._one(run, wanted.turn, call, tool)

    async def _within(
        self, places: asyncio.Semaphore, run: Journal, turn: int, call: ToolCall, tool: ToolDefinition | None
    ) -> None:
        async with places:
            await self._one(run, turn, call, tool)

    async def _one(self, run: Journal, turn: int, call: ToolCall, tool: ToolDefinition | None) -> None:
        if tool is None:
            await run.record(_refused(run, turn, call, f"Tool '{call.name}' not found"))
            return
        try:
            arguments = parse_arguments(call.arguments)
        except ValueError as error:
            await run.record(_refused(run, turn, call, f"Invalid tool arguments: {error}", bad_call=True))
            return
        problem = self._tools.validate(tool, arguments) or _repetition(run, tool)
        if problem is not None:
            await run.record(_refused(run, turn, call, problem))
            return
        await self._make(run, turn, call, tool, arguments)

    async def _make(
        self, run: Journal, turn: int, call: ToolCall, tool: ToolDefinition, arguments: dict[str, Any]
    ) -> None:
        key = run.key_for(turn, call.id)
        if call.id in run.progress.intended:  # a call that only reads, being repeated after a restart
            key = _recorded_key(run, call.id) or key
        else:
            await run.record(_intent(run, turn, call, tool, arguments, key))
        started = self._clock.monotonic()
        outcome = await self._tools.call(tool, arguments, key)
        took = round((self._clock.monotonic() - started) * 1000)
        log.info("✅ Tool called", event="tool_called", service=tool.service, ms=took, error=outcome.is_error)
        if outcome.unknown and not tool.tool_class.reads_only:
            intent = next(event for event in reversed(run.progress.events) if event.tool_call_id == call.id)
            await run.record(unresolved_call(run, intent))
            return
        await run.record(
            happened.tool_returned(
                run.conversation_id,
                outcome.content,
                run_id=run.run_id,
                turn=turn,
                call_id=call.id,
                is_error=outcome.is_error,
                duration_ms=took,
                tool=tool,
                truncated=outcome.truncated,
            )
        )


def parse_arguments(text: str) -> dict[str, Any]:
    """Read the arguments that a model wrote; none at all means none. Raises ValueError saying what is wrong."""
    if not text.strip():
        return {}
    try:
        value: Any = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        message = "nested too deeply"
        raise ValueError(message) from error
    if not isinstance(value, dict):
        message = "not a JSON object"
        raise ValueError(message)  # noqa: TRY004 - the text is wrong, not a type of ours
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        message = "lone surrogates are not text"
        raise ValueError(message) from error
    return cast("dict[str, Any]", value)


def digest_of(arguments: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON of the arguments."""
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _no_constant(name: str) -> float:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _intent(
    run: Journal, turn: int, call: ToolCall, tool: ToolDefinition, arguments: dict[str, Any], key: str
) -> Event:
    return happened.tool_called(
        run.conversation_id,
        run_id=run.run_id,
        turn=turn,
        call_id=call.id,
        service=tool.service,
        tool=tool.tool,
        arguments=arguments,
        digest=digest_of(arguments),
        tool_class=tool.tool_class,
        key=key,
    )


def _refused(run: Journal, turn: int, call: ToolCall, reason: str, *, bad_call: bool = False) -> Event:
    return happened.tool_returned(
        run.conversation_id,
        reason,
        run_id=run.run_id,
        turn=turn,
        call_id=call.id,
        is_error=True,
        duration_ms=0,
        bad_call=bad_call,
    )


def _repetition(run: Journal, tool: ToolDefinition) -> str | None:
    """Why a tool whose earlier outcome is unknown is not called again in this run."""
    if tool.full_name not in run.progress.unresolved_tools:
        return None
    return (
        f"Not called: it is unknown whether an earlier call of '{tool.full_name}' in this run took effect, and a "
        "repetition could do it twice. Look first with a tool that only reads, and tell the user."
    )


def _recorded_key(run: Journal, call_id: str) -> str | None:
    for event in reversed(run.progress.events):
        if event.tool_call_id == call_id and "key" in event.extra:
            return event.extra["key"]
    return None
