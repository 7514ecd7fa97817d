"""Agents forked from the warm parent: real processes, real sockets, real signals."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tom.errors import AgentFailed
from tom.spawner import cell, wire
from tom.spawner.link import INHERITED_VARIABLES
from tom.spawner.process import ProcessSpawner
from tom.testing.spawner_contract import SpawnerContract, ask, spec

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PRELOAD = ("tom.testing.tiny_agent", "uvicorn", "uvicorn.protocols.http.httptools_impl")


def make(**options) -> ProcessSpawner:
    return ProcessSpawner(**{"entry": "tom.testing.tiny_agent:serve", "preload": PRELOAD, "later": ()} | options)


@pytest.fixture
async def spawner() -> AsyncIterator[ProcessSpawner]:
    spawner = make()
    yield spawner
    await spawner.close()


class TestProcessSpawner(SpawnerContract):
    pass


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def family(pid: int) -> list[int]:
    """The children of a process that run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def ends(spawner, handle):
    async def ended():
        return await spawner.poll(handle) is not None

    return ended


@pytest.mark.promise("P12")
async def test_an_agent_has_its_walls(spawner, tmp_path):
    answer = await ask(await spawner.start(spec(tmp_path)))
    walls = answer["walls"]
    assert walls["session_leader"]
    assert walls["no_new_privileges"]
    assert walls["core_size"] == 0
    assert walls["open_files"] >= 1024
    assert walls["threads"] == 1
    assert walls["parent"] == spawner.zygote_pid
    assert set(walls["environment"]) <= {*INHERITED_VARIABLES, "LC_CTYPE"}


@pytest.mark.promise("P12")
async def test_an_agent_is_given_its_own_descriptors_and_no_other(spawner, tmp_path):
    for number in range(3):
        await spawner.start(spec(tmp_path, f"user{number}"))
    answer = await ask(await spawner.start(spec(tmp_path, "bob")))
    assert answer["inherited"] == [0, 1, 2, cell.DOCUMENT_DESCRIPTOR, cell.LISTEN_DESCRIPTOR]


@pytest.mark.promise("P13")
async def test_the_document_stands_in_no_environment_argument_or_memory_map_name(spawner, tmp_path, monkeypatch):
    canary = "sk-canary-7f3a9c"
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    handle = await spawner.start(spec(tmp_path, document=json.dumps({"key": canary}).encode()))
    await ask(handle)
    for pid in (handle.pid, spawner.zygote_pid):
        for name in ("environ", "cmdline", "comm"):
            assert canary.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


async def test_the_warm_parent_has_one_thread(spawner, tmp_path):
    await ask(await spawner.start(spec(tmp_path)))
    assert len(list(Path(f"/proc/{spawner.zygote_pid}/task").iterdir())) == 1


async def test_a_preload_that_cannot_be_imported_is_named(tmp_path):
    spawner = make(preload=("tests_no_such_module",))
    with pytest.raises(AgentFailed, match="tests_no_such_module"):
        await spawner.start(spec(tmp_path))
    await spawner.close()


THREADED = """
import socket, sys, threading
from tom.spawner.zygote import Zygote
threading.Thread(target=threading.Event().wait, daemon=True).start()
sys.exit(Zygote(socket.socket(fileno=int(sys.argv[1]))).run())
"""


async def test_a_warm_parent_with_a_second_thread_refuses_to_fork():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(10)
        program = subprocess.Popen([sys.executable, "-c", THREADED, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        theirs.close()
        wire.send(ours, {"preload": [], "later": []})
        assert "thread" in wire.receive(ours)[0]["unusable"]
        assert program.wait(10) == 1


async def test_a_killed_agent_is_reported_with_its_signal(spawner, tmp_path, until):
    handle = await spawner.start(spec(tmp_path))
    await ask(handle)
    os.kill(handle.pid, signal.SIGKILL)
    await until(ends(spawner, handle))
    assert await spawner.poll(handle) == -signal.SIGKILL
    assert not Path(handle.socket).exists()


async def test_an_agent_that_exits_is_reported_with_its_status(spawner, tmp_path, until):
    handle = await spawner.start(spec(tmp_path))
    with pytest.raises(json.JSONDecodeError):
        json.loads(json.dumps(await ask(handle, "/exit")) + "no answer")
    await until(ends(spawner, handle))
    assert await spawner.poll(handle) == 3


async def test_an_agent_that_cannot_serve_ends_with_status_70(tmp_path, until):
    spawner = make(entry="tom.testing.tiny_agent:serve_nothing")
    handle = await spawner.start(spec(tmp_path))
    await until(ends(spawner, handle))
    assert await spawner.poll(handle) == 70
    await spawner.close()


async def test_an_agent_that_does_not_stop_is_ended_after_its_grace(spawner, tmp_path):
    handle = await spawner.start(spec(tmp_path))
    await ask(handle, "/stuck")
    assert await spawner.stop(handle, grace=0.2) == -signal.SIGKILL
    assert not alive(handle.pid)


async def test_no_process_descriptor_or_file_is_left_after_many_cycles(spawner, tmp_path):
    handle = await spawner.start(spec(tmp_path))
    await spawner.stop(handle)
    ours = len(os.listdir("/proc/self/fd"))
    theirs = len(os.listdir(f"/proc/{spawner.zygote_pid}/fd"))
    for _ in range(40):
        handle = await spawner.start(spec(tmp_path))
        await ask(handle)
        os.kill(handle.pid, signal.SIGKILL)
        await spawner.stop(handle)
    assert family(spawner.zygote_pid) == []
    assert len(os.listdir("/proc/self/fd")) == ours
    assert len(os.listdir(f"/proc/{spawner.zygote_pid}/fd")) == theirs
    assert list((tmp_path / "agents").iterdir()) == []


async def test_a_start_that_nobody_waits_for_leaves_no_agent(spawner, tmp_path, until):
    await spawner.stop(await spawner.start(spec(tmp_path, "warm")))
    os.kill(spawner.zygote_pid, signal.SIGSTOP)
    waiting = asyncio.ensure_future(spawner.start(spec(tmp_path)))
    socket_file = tmp_path / "agents" / "alice.sock"
    await until(socket_file.exists, what="the socket is bound, so the zygote is asked next")
    for _ in range(20):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.kill(spawner.zygote_pid, signal.SIGCONT)
    handle = await spawner.start(spec(tmp_path))
    await until(lambda: family(spawner.zygote_pid) == [handle.pid])
    assert (await ask(handle))["user"] == "alice"


async def test_closing_leaves_no_process(tmp_path):
    spawner = make()
    handles = [await spawner.start(spec(tmp_path, user)) for user in ("alice", "bob")]
    zygote = spawner.zygote_pid
    await spawner.close()
    assert not any(alive(pid) for pid in (zygote, *(handle.pid for handle in handles)))


@pytest.mark.promise("P8")
async def test_who_is_in_a_hurry_does_not_wait_for_agents_that_drain(tmp_path, until):
    spawner = make()
    handle = await spawner.start(spec(tmp_path))
    await ask(handle, "/slow")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        closing = group.create_task(spawner.close())

        async def hurried():
            spawner.hurry()
            return closing.done()

        await until(hurried)
    assert await spawner.poll(handle) == 4


async def test_agents_end_with_their_parent_and_a_new_one_is_made(spawner, tmp_path, until):
    handle = await spawner.start(spec(tmp_path))
    await ask(handle)
    zygote = spawner.zygote_pid
    os.kill(zygote, signal.SIGKILL)
    await until(ends(spawner, handle))
    assert not alive(handle.pid)
    again = await spawner.start(spec(tmp_path))
    assert (await ask(again))["user"] == "alice"
    assert spawner.zygote_pid != zygote


async def test_a_parent_that_keeps_dying_is_restarted_with_growing_pauses(tmp_path):
    spawner = make(preload=("tests_no_such_module",))
    for _ in range(2):
        with pytest.raises(AgentFailed, match="tests_no_such_module"):
            await spawner.start(spec(tmp_path))
    with pytest.raises(AgentFailed, match="next try in"):
        await spawner.start(spec(tmp_path))
    await spawner.close()


async def test_modules_for_later_are_imported_while_nothing_is_asked(tmp_path, until):
    spawner = make(later=("tests_no_such_module", "_lsprof"))
    await ask(await spawner.start(spec(tmp_path)))
    maps = Path(f"/proc/{spawner.zygote_pid}/maps")
    assert "_lsprof" not in maps.read_text()
    await until(lambda: "_lsprof" in maps.read_text())
    assert (await ask(await spawner.start(spec(tmp_path, "bob"))))["user"] == "bob"
    await spawner.close()


async def test_a_stop_right_after_the_start_is_heard(spawner, tmp_path):
    async with asyncio.timeout(20):
        for _ in range(30):
            assert await spawner.stop(await spawner.start(spec(tmp_path))) in {0, -signal.SIGTERM}


GATEWAY = """
import asyncio, sys
from pathlib import Path
from tom.spawner.process import ProcessSpawner
from tom.testing.spawner_contract import ask, spec

async def main():
    spawner = ProcessSpawner(entry="tom.testing.tiny_agent:serve", preload=("tom.testing.tiny_agent",), later=())
    handle = await spawner.start(spec(Path(sys.argv[1])))
    await ask(handle)
    print(spawner.zygote_pid, handle.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_everything_ends_when_the_gateway_is_killed(tmp_path, until):
    gateway = subprocess.Popen([sys.executable, "-c", GATEWAY, str(tmp_path)], stdout=subprocess.PIPE)
    pids = [int(pid) for pid in gateway.stdout.readline().split()]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    gateway.kill()
    gateway.wait()
    gateway.stdout.close()
    await until(lambda: not any(alive(pid) for pid in pids))
