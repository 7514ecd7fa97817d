"""Opened when needed, kept warm, stopped when idle, reached for again when lost."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from tom.config.agent import Reconnect, ServiceEntry
from tom.config.secret import Secret
from tom.services.registry import ServiceRegistry, without_secrets
from tom.services.service import Pace, paced
from tom.testing.hostile_services import hostile
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio

ABSENT = ServiceEntry(name="absent", command="no-such-program")


@pytest.fixture
def clock():
    return ManualClock()


def named(offered, name):
    return next(tool for tool in offered.tools if tool.tool == name)


def status_of(registry):
    (status,) = registry.status()
    return status


async def test_nothing_is_started_or_imported_before_a_tool_is_asked_for(children):
    script = (
        "import asyncio, sys\n"
        "from tom.services.registry import ServiceRegistry\n"
        "from tom.testing.hostile_services import hostile\n"
        "async def main():\n"
        "    async with ServiceRegistry([hostile('sample')]) as registry:\n"
        "        registry.status()\n"
        "        await asyncio.sleep(0)\n"
        "        print(sorted({'mcp', 'jsonschema', 'httpx2', 'pydantic'} & set(sys.modules)))\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]"


async def test_ten_services_open_at_the_same_time(quick):
    entries = [hostile("slow_start", "0.5", name=f"s{n}") for n in range(10)]
    async with quick(*entries, hostile("sample")) as registry:
        await registry.tools(["sample"])
        started = time.monotonic()
        assert len((await registry.tools()).tools) == 20
        assert time.monotonic() - started < 2.5  # one after the other would be five seconds


async def test_asking_at_the_same_time_opens_once(quick, children):
    before = children()
    async with quick(hostile("sample")) as registry:
        lists = await asyncio.gather(*(registry.tools() for _ in range(20)))
        assert len({tuple(tool.name for tool in offered.tools) for offered in lists}) == 1
        assert len(children() - before) == 1


async def test_the_list_is_asked_for_once_a_connection(quick):
    async with quick(hostile("sample")) as registry:
        for _ in range(5):
            offered = await registry.tools()
        assert (await registry.call(named(offered, "lists"), {})).content == "1"
        assert (await registry.tools()).tools[0] is offered.tools[0]


async def test_an_idle_service_is_stopped_and_opened_again_when_called(quick, clock, children, until):
    before = children()
    async with quick(hostile("sample"), clock=clock, pace=Pace()) as registry:
        offered = await registry.tools()
        await until(lambda: clock.sleeping == 1)
        clock.advance(599)
        assert (await registry.call(named(offered, "add"), {"a": 1, "b": 2})).content == "3"
        clock.advance(2)
        await until(lambda: clock.next_due == pytest.approx(598))
        assert len(children() - before) == 1
        clock.advance(599)
        await until(lambda: children() == before)
        assert status_of(registry).status == "connected"
        assert [tool.name for tool in (await registry.tools()).tools] == [tool.name for tool in offered.tools]
        assert children() == before
        assert (await registry.call(named(offered, "add"), {"a": 1, "b": 2})).content == "3"
        assert len(children() - before) == 1


async def test_a_call_that_lasts_keeps_its_service_from_being_idle(quick, clock, until):
    async with quick(hostile("sample"), clock=clock, pace=Pace()) as registry:
        offered = await registry.tools()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(registry.call(named(offered, "wait"), {}, timeout=30))
            await registry.call(named(offered, "add"), {"a": 1, "b": 2})
            await until(lambda: clock.sleeping == 1)
            clock.advance(700)
            await until(lambda: clock.next_due == 600)
            assert (await registry.call(named(offered, "add"), {"a": 1, "b": 2})).content == "3"
            assert not waiting.done()
            waiting.cancel()


async def test_a_service_that_cannot_be_reached_is_tried_again_ever_more_rarely(quick, clock, until):
    async with quick(ABSENT, clock=clock, pace=Pace()) as registry:
        assert (await registry.tools()).unavailable
        for delay in (1, 2, 4, 8, 16, 300, 300):
            await until(lambda: clock.sleeping == 1)
            assert clock.next_due == pytest.approx(delay)
            clock.advance(delay)
            await until(lambda: clock.next_due is None or clock.next_due > 0)


async def test_a_service_comes_back_by_itself(quick, tmp_path, until):
    program = tmp_path / "service"
    entry = ServiceEntry(name="s", command=str(program))
    async with quick(entry) as registry:
        assert dict((await registry.tools()).unavailable) == {"s": f"Command '{program}' not found in PATH"}
        sample = hostile("sample")
        program.write_text(f"#!/bin/sh\nexec {sample.command} {' '.join(sample.args)}\n")
        program.chmod(0o700)
        await until(lambda: status_of(registry).status == "connected")
        offered = await registry.tools()
        assert len(offered.tools) == 10
        assert not offered.unavailable
        assert status_of(registry).error is None


async def test_a_killed_service_is_opened_again_at_once_when_needed(quick, clock, children, until):
    before = children()
    async with quick(hostile("sample"), clock=clock, pace=Pace()) as registry:
        offered = await registry.tools()
        (pid,) = children() - before
        os.kill(pid, signal.SIGKILL)
        await until(lambda: status_of(registry).status == "connecting")
        assert (await registry.call(named(offered, "add"), {"a": 1, "b": 2}, timeout=10)).content == "3"


async def test_a_killed_service_is_opened_again_in_the_background(quick, children, until):
    before = children()
    async with quick(hostile("sample")) as registry:
        await registry.tools()
        (pid,) = children() - before
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(children() - before - {pid}) == 1)
        await until(lambda: status_of(registry).status == "connected")


async def test_a_service_that_cannot_be_reached_is_told_by_its_name(quick, clock, log):
    async with quick(ABSENT, clock=clock, pace=Pace()) as registry:
        assert set((await registry.tools()).unavailable) == {"absent"}
    told = [record for record in log() if record.get("event") == "mcp_server_failed"]
    assert told
    assert {(record["service"], record["level"]) for record in told} == {("absent", "WARNING")}


async def test_a_service_that_failed_lately_is_reported_at_once(quick, clock):
    async with quick(hostile("silent", connect_timeout=0.3), clock=clock, pace=Pace()) as registry:
        await registry.tools()
        tool = named(await sample_tools(quick), "add")
        started = time.monotonic()
        for _ in range(100):
            assert (await registry.tools()).unavailable == {"silent": "it did not answer in time"}
        assert time.monotonic() - started < 0.2
        assert (await registry.call(tool, {})).is_error


async def sample_tools(quick):
    async with quick(hostile("sample")) as registry:
        return await registry.tools()


async def test_a_disabled_service_is_shown_and_not_started(quick, children):
    before = children()
    async with quick(hostile("sample", enabled=False, description="Off")) as registry:
        assert await registry.tools() == type(await registry.tools())((), {})
        assert (await registry.tools(["sample"])).unavailable == {"sample": "it is disabled"}
        status = status_of(registry)
        assert (status.status, status.enabled, status.description) == ("disabled", False, "Off")
        assert children() == before


async def test_a_service_that_is_not_configured_is_named(quick):
    async with quick(hostile("sample")) as registry:
        assert (await registry.tools(["mail"])).unavailable == {"mail": "it is not configured"}


async def test_status_says_what_is_known(quick):
    entry = hostile("sample", complexity=2, llm="big", name="tools")
    async with quick(entry) as registry:
        assert status_of(registry).status == "connecting"
        await registry.tools()
        status = status_of(registry)
    assert (status.name, status.status, status.complexity, status.llm, status.url) == (
        "tools",
        "connected",
        2,
        "big",
        None,
    )
    assert status.tools_count == 10
    assert status.description.startswith("The tool echo.; The tool add.")


def test_an_address_is_shown_without_what_is_secret():
    assert without_secrets("https://me:pw@host:8443/mcp?key=1#x") == "https://host:8443/mcp"


async def test_no_secret_of_the_entry_is_in_the_status(quick):
    entry = ServiceEntry(name="s", url="http://u:p@127.0.0.1:9/m?token=canary", headers={"X": Secret("canary")})
    async with quick(entry) as registry:
        await registry.tools()
        assert "canary" not in str(registry.status())
        assert "u:p" not in str(registry.status())


async def test_it_starts_when_first_asked_and_not_again_when_closed(children):
    before = children()
    registry = ServiceRegistry([hostile("sample")])
    offered = await registry.tools()
    assert offered.tools
    await registry.close()
    assert children() == before
    assert (await registry.call(offered.tools[0], {})).is_error
    await registry.tools()
    assert children() == before


async def test_it_is_said_once_that_no_service_is_there(quick, capsys, until):
    async with quick() as registry:
        await registry.tools()
        await registry.tools()
    async with quick(hostile("sample")) as registry:
        await registry.tools()
    heard = []

    def connected():
        heard.append(capsys.readouterr().err)
        return "'sample' connected" in "".join(heard)

    await until(connected)
    assert "".join(heard).count("No MCP clients connected - running with") == 1


@pytest.mark.parametrize(
    ("told", "pauses"),
    [
        (Reconnect(attempts=0), [300, 300]),
        (Reconnect(attempts=1, first_delay=7), [7, 300]),
        (Reconnect(first_delay=40), [40, 40]),
        (Reconnect(), [1, 2]),
    ],
)
def test_a_service_is_tried_again_when_its_settings_say(told, pauses):
    pace = paced(Pace(), told)
    assert [pace.delay(failures) for failures in (1, 2)] == pauses
