"""An agent alone under somebody else's ASGI server."""

import asyncio
import os
import signal
import sys

import aiohttp
import pytest

from tom.agent.bootstrap import app_alone
from tom.agent.underserver import UnderServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
SECONDS = 30
COMMAND = ("-m", "uvicorn", "--factory", "tom.agent.app:standalone", "--host", "127.0.0.1", "--port")


@pytest.fixture
async def serve(tmp_path):
    """``await serve(port)``: the server as a process; it is ended with the test."""
    running = []
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = kept | {"HOME": str(tmp_path), "TOM_DATA": str(tmp_path / "data"), "DEFAULT_PROVIDER": "scripted"}

    async def start(port, **more):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *COMMAND, str(port), env=environment | more, cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_serves_all_doors_and_ends_with_the_server(serve, free_port, until):
    process = await serve(free_port)
    address = f"http://127.0.0.1:{free_port}"
    async with aiohttp.ClientSession() as http:

        async def ready():
            try:
                async with http.get(f"{address}/health/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await until(ready, SECONDS)
        async with http.post(f"{address}/sessions", json={}) as answer:
            session = (await answer.json())["id"]
        async with http.post(f"{address}/sessions/{session}/messages", json={"content": "Hello"}) as answer:
            assert answer.status == 200
        async with http.ws_connect(f"{address}/ws/chat") as socket:
            await socket.send_json({"action": "chat", "request_id": "r1", "payload": {"text": "Hello"}})
            async with asyncio.timeout(SECONDS):
                frames = [message.data async for message in _until_complete(socket)]
        assert '"complete"' in frames[-1]
        second = await serve(free_port + 1)
        _, said = await asyncio.wait_for(second.communicate(), SECONDS)
        assert f"history.db is in use by process {process.pid}" in said.decode()
        assert second.returncode
    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.wait_for(process.communicate(), SECONDS)
    assert "agent_stopped" in said.decode()


async def _until_complete(socket):
    async for message in socket:
        yield message
        if '"complete"' in message.data or '"error"' in message.data:
            return


async def test_wrong_settings_keep_it_from_starting(serve, free_port):
    process = await serve(free_port, RATE_BURST="0")
    _, said = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode
    assert said.decode() == "config: environment: RATE_BURST must be at least 1.\n"


@pytest.mark.parametrize(
    ("server", "status"),
    [(("127.0.0.1", 8000), 200), (("::1", 8000), 200), (("/run/tom.sock", None), 200), (("192.0.2.7", 8000), 421)],
)
async def test_without_a_word_in_the_settings_only_this_machine_is_let_in(server, status):
    assert await answered(server, loopback_only=True) == status
    assert await answered(server, loopback_only=False) == 200


async def answered(server, *, loopback_only):
    """The status of a request that came to an address, once the application is up."""

    async def own(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def live(outside):
        outside.ready.set_result(own)
        await outside.stopping.wait()
        return 0

    app = UnderServer(live, loopback_only=loopback_only)
    told, sent = asyncio.Queue(), asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        group.create_task(app({"type": "lifespan"}, told.get, sent.put))
        assert (await sent.get())["type"] == "lifespan.startup.complete"
        await app({"type": "http", "path": "/", "server": server}, told.get, sent.put)
        status = (await sent.get())["status"]
        told.put_nowait({"type": "lifespan.shutdown"})
    return status


WEAK, STRONG = "change-me", "an admin token of length"


@pytest.mark.parametrize(
    ("token", "came_to", "status"), [(WEAK, "192.0.2.7", 421), (WEAK, "127.0.0.1", 200), (STRONG, "192.0.2.7", 200)]
)
async def test_a_weak_admin_token_keeps_others_than_this_machine_out(tmp_path, token, came_to, status):
    env = {
        "TOM_DATA": str(tmp_path / "data"),
        "ADMIN_TOKEN": token,
        "CHAT_AUTH": "token",
        "DEFAULT_PROVIDER": "scripted",
    }
    app = app_alone(env)
    told, sent = asyncio.Queue(), asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    headers = [(b"host", b"localhost"), (b"x-admin-token", token.encode())]
    asked = {
        "type": "http", "method": "GET", "path": "/admin/runtime", "raw_path": b"/admin/runtime", "query_string": b"",
        "headers": headers, "server": (came_to, 8000), "client": (came_to, 9), "scheme": "http", "root_path": "",
    }  # fmt: skip
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        group.create_task(app({"type": "lifespan"}, told.get, sent.put))
        assert (await sent.get())["type"] == "lifespan.startup.complete"
        await app(asked, _nothing_more, sent.put)
        assert (await sent.get())["status"] == status
        told.put_nowait({"type": "lifespan.shutdown"})


async def _nothing_more():
    return {"type": "http.request", "body": b"", "more_body": False}
