"""A thousand openings and two hundred crashes leave no process and no descriptor behind."""

import asyncio

import pytest

from tom.services.registry import ServiceRegistry
from tom.services.service import Pace
from tom.testing.asking_service import asking
from tom.testing.hostile_services import hostile

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P9")]

AT_ONCE = 4
ALWAYS = Pace(first_delay=0.001, longest_delay=0.001, attempts=10_000)
"""Reached for again at once, so that each crash is followed by a new process."""


async def opened_and_closed(number):
    """One service of either revision: opened, called, closed."""
    entry = hostile("sample") if number % 2 else asking("2026-07-28")
    async with ServiceRegistry([entry]) as registry:
        tools = {tool.tool: tool for tool in (await registry.tools()).tools}
        if number % 2:
            assert (await registry.call(tools["add"], {"a": number, "b": 1})).content == str(number + 1)
        else:
            assert await registry.description("asking", "response_consign", timeout=10) == "Be brief."


async def in_turns(times, one):
    """``one(number)`` so many times, a few at once."""
    numbers = iter(range(times))

    async def worker():
        for number in numbers:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


async def open_and_close(times, children, descriptors):
    await opened_and_closed(0)  # what is made once and kept is made here
    await opened_and_closed(1)
    processes, held, tasks = children(), descriptors(), len(asyncio.all_tasks())
    await in_turns(times, opened_and_closed)
    assert children() == processes
    assert descriptors() == held
    assert len(asyncio.all_tasks()) == tasks


async def crash(times, children, descriptors):
    await opened_and_closed(1)
    processes, held, tasks = children(), descriptors(), len(asyncio.all_tasks())
    async with ServiceRegistry([hostile("crash_in_call")], pace=ALWAYS) as registry:
        tools = {tool.tool: tool for tool in (await registry.tools()).tools}
        for _ in range(times):
            outcome = await registry.call(tools["crash"], {}, timeout=30)
            assert "ended by SIGKILL" in outcome.content, outcome
        assert len(children() - processes) <= 1
    assert children() == processes
    assert descriptors() == held
    assert len(asyncio.all_tasks()) == tasks


async def test_twenty_openings_leave_nothing_behind(children, descriptors):
    await open_and_close(20, children, descriptors)


async def test_ten_crashes_leave_nothing_behind(children, descriptors):
    await crash(10, children, descriptors)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_openings_leave_nothing_behind(children, descriptors):
    await open_and_close(1000, children, descriptors)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_two_hundred_crashes_leave_nothing_behind(children, descriptors):
    await crash(200, children, descriptors)
