"""The spawner that runs agents in this process keeps the contract."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tom.spawner.memory import MemorySpawner
from tom.testing import tiny_agent
from tom.testing.spawner_contract import SpawnerContract, ask, spec

pytestmark = pytest.mark.anyio


@pytest.fixture
async def spawner() -> AsyncIterator[MemorySpawner]:
    spawner = MemorySpawner(lambda wanted: tiny_agent.application(wanted.user, wanted.document))
    yield spawner
    await spawner.close()


class TestMemorySpawner(SpawnerContract):
    pass


async def test_a_killed_agent_is_reported_and_its_connections_are_cut(spawner, tmp_path):
    handle = await spawner.start(spec(tmp_path))
    await ask(handle)
    reader, writer = await asyncio.open_unix_connection(handle.socket)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    await spawner.kill(handle)
    assert await spawner.poll(handle) == -9
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


async def test_an_application_that_does_not_start_ends_with_a_status(tmp_path, until):
    async def broken(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    spawner = MemorySpawner(lambda _: broken)
    handle = await spawner.start(spec(tmp_path))

    async def ended():
        return await spawner.poll(handle) is not None

    await until(ended)
    assert await spawner.poll(handle) == 3
    await spawner.close()
