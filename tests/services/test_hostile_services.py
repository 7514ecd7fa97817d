"""Services that misbehave cost a run their own tools and nothing else, within their deadlines."""

import asyncio
import time

import pytest

from tom.testing.hostile_services import hostile

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P9")]


async def tool_named(registry, name):
    return next(tool for tool in (await registry.tools()).tools if tool.tool == name)


async def ask(registry, name, limit=10.0, **arguments):
    return await registry.call(await tool_named(registry, name), arguments, timeout=limit)


async def test_a_crash_in_a_call_is_an_outcome_and_the_service_comes_back(quick):
    async with quick(hostile("crash_in_call")) as registry:
        for _ in range(3):
            outcome = await ask(registry, "crash")
            assert outcome.is_error
            assert "ended during the call: it was ended by SIGKILL" in outcome.content
            assert (await ask(registry, "echo")).content == "alive"


async def test_a_crash_ends_every_call_that_was_under_way_and_no_others(quick):
    async with quick(hostile("crash_in_call"), hostile("sample")) as registry:
        crash, wait = await tool_named(registry, "crash"), await tool_named(registry, "wait")
        async with asyncio.TaskGroup() as group:
            elsewhere = group.create_task(registry.call(wait, {}, timeout=30))
            outcomes = await asyncio.gather(*(registry.call(crash, {}, timeout=10) for _ in range(5)))
            assert all(outcome.is_error for outcome in outcomes)
            assert not elsewhere.done()
            elsewhere.cancel()


async def test_a_service_that_ends_after_every_start_backs_off(quick, until):
    async with quick(hostile("crash_after_start")) as registry:
        await registry.tools()
        await until(lambda: registry.status()[0].status == "error")
        assert "status 1" in registry.status()[0].error
        started = time.monotonic()
        assert (await registry.tools()).unavailable
        assert time.monotonic() - started < 0.1


async def test_rubbish_on_stdout_is_skipped(quick):
    async with quick(hostile("rubbish")) as registry:
        for _ in range(3):
            assert (await ask(registry, "echo")).content == "between rubbish"


async def test_an_endless_line_ends_the_connection(quick):
    async with quick(hostile("endless_line"), hostile("sample")) as registry:
        started = time.monotonic()
        outcome = await ask(registry, "flood", 30)
        assert time.monotonic() - started < 15
        assert outcome.is_error
        assert "a line of more than 16 MiB" in outcome.content
        assert (await ask(registry, "add", a=1, b=1)).content == "2"


async def test_a_service_that_never_answers_costs_its_deadline_once(quick):
    async with quick(hostile("silent", connect_timeout=0.6), hostile("sample")) as registry:
        started = time.monotonic()
        offered = await registry.tools()
        assert 0.5 < time.monotonic() - started < 0.6 * 1.1 + 0.5
        assert offered.unavailable == {"silent": "it did not answer in time"}
        assert len(offered.tools) == 10
        started = time.monotonic()
        assert (await registry.tools()).unavailable
        assert time.monotonic() - started < 0.1


async def test_a_service_that_stops_reading_does_not_hold_calls_beyond_their_deadline(quick):
    async with quick(hostile("deaf")) as registry:
        tool = await tool_named(registry, "echo")
        started = time.monotonic()
        calls = (registry.call(tool, {"text": "x" * 200_000}, timeout=0.5) for _ in range(10))
        outcomes = await asyncio.gather(*calls)
        assert time.monotonic() - started < 0.5 * 1.1 + 0.5
        assert all("did not answer within 0.5 s" in outcome.content for outcome in outcomes)


async def test_ten_thousand_tools_are_too_many_to_offer(quick):
    async with quick(hostile("many_tools", allow=("tool_0*",)), hostile("sample")) as registry:
        offered = await registry.tools()
        assert sum(tool.service == "many_tools" for tool in offered.tools) == 128
        assert (await ask(registry, "tool_00000")).content == "tool_00000"
        assert (await ask(registry, "add", a=1, b=1)).content == "2"


async def test_pages_without_an_end_do_not_keep_a_service_from_opening(quick):
    async with quick(hostile("endless_pages")) as registry:
        assert 0 < len((await registry.tools()).tools) <= 128


async def test_odd_schemas_cost_at_most_their_own_tool(quick):
    async with quick(hostile("odd_schemas")) as registry:
        offered = {tool.tool: tool for tool in (await registry.tools()).tools}
        assert set(offered) == {
            *("recursive", "itself", "remote", "dangling", "deep", "doubling", "untyped", "backtracking", "good"),
            "missing",
        }
        for tool in offered.values():
            assert registry.check(tool, {"x": "a" * 50 + "!"}) is None or tool.tool == "backtracking"
            assert (await registry.call(tool, {"x": 1}, timeout=10)).content == tool.tool


async def test_what_only_a_model_reads_is_stripped(quick):
    async with quick(hostile("invisible")) as registry:
        (tool,) = (await registry.tools()).tools
    assert tool.description.startswith("Reads mail[31m.yyy")
    assert len(tool.description.encode()) <= 2048
    assert tool.parameters["properties"]["box"]["description"] == "The box"


async def test_results_that_are_none_are_outcomes(quick):
    async with quick(hostile("nonsense")) as registry:
        for _ in range(4):
            outcome = await ask(registry, "ask")
            assert outcome.is_error or outcome.content == "✓ done"
        assert (await ask(registry, "ask")).content == "sense"


async def test_a_slow_start_is_waited_for(quick):
    async with quick(hostile("slow_start", "0.5")) as registry:
        assert (await ask(registry, "slow")).content == "at last"


async def test_a_changed_list_is_offered_in_the_next_turn(quick, until):
    async with quick(hostile("changes"), hostile("sample")) as registry:
        assert (await ask(registry, "first")).content == "changed"

        async def names():
            return "after_first" in {tool.tool for tool in (await registry.tools()).tools}

        await until(names)
        assert (await ask(registry, "after_first")).content == "changed"


async def test_a_dead_service_delays_nobody(quick):
    dead = [hostile("silent", name=f"dead{n}", connect_timeout=1.0) for n in range(5)]
    async with quick(*dead, hostile("sample")) as registry:
        started = time.monotonic()
        offered = await registry.tools(["sample"])
        assert time.monotonic() - started < 1.0
        assert len(offered.tools) == 10
        assert len((await registry.tools()).unavailable) == 5
        assert time.monotonic() - started < 1.0 * 1.1 + 1.5
