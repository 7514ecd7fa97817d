# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `Toolbox` must do. Subclass it in a test module and give it the fixture ``toolbox``.

The toolbox under test has the services ``sample`` and ``other`` with the tools of `sample_toolbox`, and ``absent``,
which cannot be reached.
"""

import asyncio
import json
import time
from typing import Any

import pytest

from tom.conversation.tool import ToolClass, ToolDefinition, ToolOutcome
from tom.services.memory import MemoryToolbox
from tom.services.toolbox import Toolbox

SECONDS = 15.0
_TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_WHOLE = {"type": "integer"}
_PAIR = {"type": "object", "properties": {"a": _WHOLE, "b": _WHOLE}, "required": ["a", "b"]}
_SIZE = {"type": "object", "properties": {"size": _WHOLE}, "required": ["size"]}
_SOME = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"anyOf": [_WHOLE, {"type": "null"}]}}}


class _Sample:
    """The tools that the contract asks for."""

    def __init__(self) -> None:
        self.toolbox = MemoryToolbox()
        self.count = 0

    async def wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.count += 1

    async def echo(self, text: str) -> str:
        return text

    async def add(self, a: int, b: int) -> str:
        return str(a + b)

    async def given(self, **arguments: Any) -> str:
        return json.dumps(sorted(arguments))

    async def fail(self) -> ToolOutcome:
        return ToolOutcome("it went wrong", is_error=True)

    async def nothing(self) -> None:
        return None

    async def long(self, size: int) -> str:
        return "x" * size

    async def last_key(self) -> str:
        asked = {"last_key", "cancelled"}
        return next(call.key for call in reversed(self.toolbox.calls) if call.tool not in asked)

    async def cancelled(self) -> str:
        return str(self.count)

    async def elsewhere(self) -> str:
        return "echo of another service"


def sample_toolbox() -> MemoryToolbox:
    """The services and tools that the contract asks for, as Python functions."""
    sample = _Sample()
    toolbox = sample.toolbox
    for function, schema in (
        *((sample.echo, _TEXT), (sample.add, _PAIR), (sample.given, _SOME), (sample.long, _SIZE)),
        *((one, None) for one in (sample.fail, sample.nothing, sample.wait, sample.last_key, sample.cancelled)),
    ):
        toolbox.add(function, service="sample", parameters=schema)
    toolbox.add(sample.elsewhere, service="other", name="echo")
    toolbox.set_unavailable("absent", "not there")
    return toolbox


async def tool_of(toolbox: Toolbox, full_name: str) -> ToolDefinition:
    """The tool ``service.tool``."""
    async with asyncio.timeout(SECONDS):
        offered = await toolbox.tools()
    return next(tool for tool in offered.tools if tool.full_name == full_name)


async def called(toolbox: Toolbox, full_name: str, /, key: str = "", **arguments: Any) -> ToolOutcome:
    """What a call of ``service.tool`` brings."""
    tool = await tool_of(toolbox, full_name)
    async with asyncio.timeout(SECONDS):
        return await toolbox.call(tool, arguments, key=key)


class ToolboxContract:
    """What there is, and carrying a call, as `tom.services.toolbox.Toolbox` says."""

    pytestmark = pytest.mark.anyio

    async def test_a_tool_is_described(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.add")
        assert (tool.name, tool.service, tool.tool) == ("add", "sample", "add")
        assert tool.parameters["required"] == ["a", "b"]
        assert tool.tool_class is ToolClass.WRITE_EXTERNAL

    async def test_a_name_that_two_services_have_is_prefixed_for_both(self, toolbox: Toolbox) -> None:
        async with asyncio.timeout(SECONDS):
            offered = await toolbox.tools()
        names = {tool.full_name: tool.name for tool in offered.tools}
        assert names["sample.echo"] == "sample__echo"
        assert names["other.echo"] == "other__echo"
        assert len(set(names.values())) == len(offered.tools)

    async def test_what_the_model_sees_is_what_is_dispatched(self, toolbox: Toolbox) -> None:
        assert (await called(toolbox, "sample.echo", text="mine")).content == "mine"
        assert (await called(toolbox, "other.echo")).content == "echo of another service"

    async def test_an_absent_service_is_reported_and_hides_nothing(self, toolbox: Toolbox) -> None:
        async with asyncio.timeout(SECONDS):
            offered = await toolbox.tools()
        assert set(offered.unavailable) == {"absent"}
        assert offered.unavailable["absent"]
        assert {tool.service for tool in offered.tools} == {"sample", "other"}

    async def test_only_the_named_services_are_offered(self, toolbox: Toolbox) -> None:
        async with asyncio.timeout(SECONDS):
            assert {tool.service for tool in (await toolbox.tools(["other"])).tools} == {"other"}
            nothing = await toolbox.tools([])
        assert not nothing.tools
        assert not nothing.unavailable

    async def test_a_name_does_not_depend_on_what_else_is_offered(self, toolbox: Toolbox) -> None:
        await tool_of(toolbox, "sample.echo")
        async with asyncio.timeout(SECONDS):
            (tool,) = (await toolbox.tools(["other"])).tools
        assert tool.name == "other__echo"

    async def test_the_key_travels(self, toolbox: Toolbox) -> None:
        await called(toolbox, "sample.add", key="run-1:2:call-3", a=1, b=2)
        assert (await called(toolbox, "sample.last_key")).content == "run-1:2:call-3"

    async def test_an_error_of_the_tool_is_a_result(self, toolbox: Toolbox) -> None:
        assert await called(toolbox, "sample.fail") == ToolOutcome("it went wrong", is_error=True)

    async def test_no_result_says_done(self, toolbox: Toolbox) -> None:
        assert await called(toolbox, "sample.nothing") == ToolOutcome("✓ done")

    async def test_a_long_result_is_cut_with_a_mark(self, toolbox: Toolbox) -> None:
        whole = await called(toolbox, "sample.long", size=100_000)
        assert whole == ToolOutcome("x" * 100_000)
        cut = await called(toolbox, "sample.long", size=100_001)
        assert cut.truncated
        assert len(cut.content) <= 100_000
        assert cut.content.endswith("100001 characters in all]")
        assert cut.extra["whole"] == "x" * 100_001

    async def test_omitted_arguments_stay_omitted(self, toolbox: Toolbox) -> None:
        assert (await called(toolbox, "sample.given")).content == "[]"
        assert (await called(toolbox, "sample.given", b=None)).content == '["b"]'

    async def test_arguments_are_checked_against_the_schema(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.add")
        assert toolbox.check(tool, {"a": 1, "b": 2}) is None
        missing = toolbox.check(tool, {"a": 1})
        assert missing is not None
        assert missing.text == "Parameter validation failed for tool 'add': b - 'b' is a required property"
        problem = toolbox.check(tool, {"a": "1", "b": "2"})
        assert problem is not None
        assert problem.text.startswith("Parameter validation failed for tool 'add': a - ")
        assert problem.text.endswith(" (2 errors)")
        assert problem.data["tool_name"] == "add"
        assert [one["field"] for one in problem.data["validation_errors"]] == ["a", "b"]

    async def test_many_calls_at_once_get_each_its_own_answer(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.echo")
        async with asyncio.timeout(SECONDS):
            outcomes = await asyncio.gather(*(toolbox.call(tool, {"text": f"n{n}"}) for n in range(200)))
        assert [outcome.content for outcome in outcomes] == [f"n{n}" for n in range(200)]

    async def test_a_slow_call_holds_nobody_up(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.wait")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(toolbox.call(tool, {}, timeout=SECONDS))
            assert (await called(toolbox, "sample.add", a=2, b=3)).content == "5"
            assert not waiting.done()
            waiting.cancel()

    async def test_a_call_that_takes_too_long_is_an_outcome_and_cancelled(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.wait")
        started = time.monotonic()
        outcome = await toolbox.call(tool, {}, timeout=0.3)
        assert time.monotonic() - started < 0.3 * 1.1 + 0.2
        assert outcome.is_error
        assert "within 0.3 s" in outcome.content
        assert await _cancelled(toolbox) == 1

    async def test_cancelling_the_task_cancels_the_call(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.wait")
        before = await called(toolbox, "sample.add", a=1, b=1)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(toolbox.call(tool, {}))
            await asyncio.sleep(0)
            await called(toolbox, "sample.add", a=1, b=1)  # by then the service has the call
            waiting.cancel()
        assert waiting.cancelled()
        assert await _cancelled(toolbox) == 1
        assert before == await called(toolbox, "sample.add", a=1, b=1)

    async def test_an_unknown_tool_is_an_outcome(self, toolbox: Toolbox) -> None:
        stranger = ToolDefinition("x", "nowhere", "x", "", {})
        assert (await toolbox.call(stranger, {})).is_error
        assert toolbox.check(stranger, {}) is None

    async def test_a_call_of_an_absent_service_is_an_outcome(self, toolbox: Toolbox) -> None:
        outcome = await toolbox.call(ToolDefinition("x", "absent", "x", "", {}), {}, timeout=SECONDS)
        assert outcome.is_error
        assert "absent" in outcome.content

    async def test_status_names_every_service(self, toolbox: Toolbox) -> None:
        await tool_of(toolbox, "sample.echo")
        status = {service.name: service for service in toolbox.status()}
        assert list(status) == ["absent", "other", "sample"]
        assert status["absent"].status == "error"
        assert status["absent"].error
        assert status["sample"].status == "connected"
        assert status["other"].tools_count == 1

    async def test_after_close_nothing_is_called(self, toolbox: Toolbox) -> None:
        tool = await tool_of(toolbox, "sample.add")
        await toolbox.close()
        assert (await toolbox.call(tool, {"a": 1, "b": 2})).is_error
        await toolbox.close()


async def _cancelled(toolbox: Toolbox) -> int:
    return int((await called(toolbox, "sample.cancelled")).content)
