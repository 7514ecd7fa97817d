"""What a stdio service may see, and what is left of it: nothing."""

import asyncio
import json
import os
import resource
import signal
import sys
import time

import pytest

from tom.config.agent import ServiceEntry
from tom.config.secret import Secret
from tom.services.child import Child, Grace
from tom.services.command import Command
from tom.services.unreachable import Unreachable
from tom.testing.hostile_services import PROGRAM, hostile

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)], scope="module")
def anyio_backend(request):
    """Event loops differ in how they start and collect children; the agent runs on uvloop."""
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


GRACE = Grace(terminate=0.3, kill=0.6)


def program(mode, *arguments):
    return Command(sys.executable, ("-S", "-E", PROGRAM, mode, *arguments), {"PATH": os.environ["PATH"]})


async def only_call(registry, **arguments):
    tool = (await registry.tools()).tools[0]
    return await registry.call(tool, arguments, timeout=10)


async def facts_of(registry):
    return json.loads((await only_call(registry)).content)


async def test_a_service_sees_only_the_environment_it_was_given(quick, monkeypatch):
    own = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC", "TOM_ALL_DATADIR": "/all"}
    monkeypatch.setenv("OPENROUTER_KEY", "secret")
    entry = hostile("environment", env={"TOKEN": Secret("t")})
    async with quick(entry, environment={**own, "OPENROUTER_KEY": "secret", "USER": "me"}) as registry:
        facts = await facts_of(registry)
    seen = {name: value for name, value in facts["environment"].items() if name != "LC_CTYPE"}
    assert seen == {**own, "TOKEN": "t"}


async def test_what_is_not_set_is_not_passed_on(quick):
    async with quick(hostile("environment"), environment={"PATH": "/bin", "TOM_ALL_DATADIR": ""}) as registry:
        assert set((await facts_of(registry))["environment"]) - {"LC_CTYPE"} == {"PATH"}


async def test_a_service_leads_a_session_and_inherits_no_descriptor(quick, tmp_path):
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        async with quick(hostile("environment", cwd=str(tmp_path))) as registry:
            facts = await facts_of(registry)
    finally:
        os.close(held)
    assert facts["pid"] == facts["group"] == facts["session"]
    assert facts["cwd"] == str(tmp_path)
    assert set(facts["descriptors"]) <= {0, 1, 2, 3}  # 3: the listing itself


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (ServiceEntry(name="x", command="no-such-program"), "Command 'no-such-program' not found in PATH"),
        (ServiceEntry(name="x", command="./run.sh"), "Command './run.sh' not found in PATH"),
        (ServiceEntry(name="x", command="/no/such/program"), "Command '/no/such/program' not found in PATH"),
        (ServiceEntry(name="x", command="sh", cwd="/no/such/directory"), "Directory '/no/such/directory' not found"),
        (ServiceEntry(name="x", command="sh", args=("a\0b",)), "Command 'sh' has a NUL character in its arguments"),
    ],
)
async def test_what_cannot_be_started_says_why(quick, entry, reason):
    async with quick(entry) as registry:
        assert dict((await registry.tools()).unavailable) == {"x": reason}


async def test_a_service_that_ends_at_its_start_gives_its_last_words(quick):
    async with quick(hostile("crash_at_start", env={"KEY": Secret("licence")})) as registry:
        (reason,) = (await registry.tools()).unavailable.values()
    assert reason == "it ended with status 3: Traceback: no *** found"


async def with_a_grandchild(grace):
    child = Child.start(program("leaves_children"), grace)
    await child.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"child"}}\n')
    return child, int(json.loads(await child.receive())["result"]["content"][0]["text"])


async def test_stop_takes_grandchildren_along(alive):
    child, grandchild = await with_a_grandchild(GRACE)
    assert alive(grandchild)
    await child.stop()
    assert not alive(grandchild)
    assert not alive(child.pid)


async def test_a_service_that_ignores_everything_is_asked_then_killed_in_time(alive, tmp_path):
    child = Child.start(program("stays", str(tmp_path / "asked")), GRACE)
    await child.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
    await child.receive()  # so it has installed its signal's disposition
    started = time.monotonic()
    await child.stop()
    assert GRACE.kill <= time.monotonic() - started + 0.05 < GRACE.kill + 2
    assert (tmp_path / "asked").exists()
    assert not alive(child.pid)


async def test_a_service_that_ends_with_its_input_is_not_waited_for(alive):
    child = Child.start(program("silent"), Grace(terminate=10, kill=20))
    started = time.monotonic()
    await child.stop()
    assert time.monotonic() - started < 5
    assert not alive(child.pid)


async def test_a_cancelled_stop_still_kills(alive, until):
    child, grandchild = await with_a_grandchild(Grace(terminate=60, kill=120))
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(child.stop())
        await asyncio.sleep(0)
        stopping.cancel()
    await until(lambda: not alive(child.pid) and not alive(grandchild))


async def test_an_agent_that_is_cancelled_leaves_nothing(quick, alive, children):
    before = children()
    registry = quick(hostile("sample"), hostile("leaves_children"))
    entered = asyncio.Event()

    async def agent():
        async with registry:
            await registry.tools()
            entered.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent())
        await asyncio.wait_for(entered.wait(), 10)
        started = children() - before
        assert len(started) == 2
        running.cancel()
    assert not [pid for pid in started if alive(pid)]


async def test_closing_while_a_service_opens_does_not_wait_for_it(quick, children, until):
    before = children()
    registry = quick(hostile("silent", connect_timeout=60))
    await registry.start()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(registry.tools())
        await until(lambda: len(children() - before) == 1)
        started = time.monotonic()
        await registry.close()
        assert time.monotonic() - started < 5
    assert not asking.result().tools
    assert children() == before


async def test_a_line_is_read_whole_however_it_comes():
    child = Child.start(program("sample"), GRACE)
    try:
        child.heard(b'{"a":')
        child.heard(b'1}\n\n{"b":2}\n{"c"')
        child.heard(b":3}\r\n")
        assert [await child.receive() for _ in range(4)] == [b'{"a":1}', b"", b'{"b":2}', b'{"c":3}\r']
    finally:
        await child.stop()


async def test_what_was_written_before_the_end_is_read():
    child = Child.start(program("sample"), GRACE)
    child.heard(b"last\n")
    os.kill(child.pid, signal.SIGKILL)
    try:
        assert await child.receive() == b"last"
        with pytest.raises(EOFError, match="it was ended by SIGKILL"):
            await child.receive()
        with pytest.raises(ConnectionError, match="SIGKILL"):
            await child.send(b"\n")
    finally:
        await child.stop()


async def test_a_child_that_does_not_read_holds_its_writer_and_not_its_cancellations():
    child = Child.start(program("deaf"), GRACE)
    try:
        await child.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
        await child.receive()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await child.send(b"x" * 100_000)
        started = time.monotonic()
        for _ in range(100):
            await child.send(b"y" * 100_000, urgent=True)
        assert time.monotonic() - started < 1
        assert child._stdin.waiting < 5_000_000
    finally:
        await child.stop()


async def test_without_descriptors_a_start_fails_and_keeps_none(descriptors):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = descriptors()
    for spare in range(12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (held + spare, hard))
        try:
            child = Child.start(program("silent"), GRACE)
        except Unreachable as error:
            assert "Too many open files" in str(error)
        else:
            await child.stop()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == held


async def test_starting_a_missing_program_raises():
    with pytest.raises(Unreachable, match="not found in PATH"):
        Child.start(Command("nowhere", (), {"PATH": "/bin"}))


@pytest.mark.parametrize("cycles", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.promise("P9")
async def test_opening_and_closing_leaks_no_child_and_no_descriptor(quick, children, descriptors, cycles):
    async with quick(hostile("sample")) as registry:  # whatever is made once is made here
        await registry.tools()
    processes, held, tasks = children(), descriptors(), len(asyncio.all_tasks())
    for _ in range(cycles):
        async with quick(hostile("sample")) as registry:
            assert len((await registry.tools()).tools) == 10
    assert children() == processes
    assert descriptors() <= held
    assert len(asyncio.all_tasks()) == tasks
