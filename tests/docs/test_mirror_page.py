"""The page about archives: its blocks run against real servers."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest
import redis

from tom.testing import databases

PAGE = "docs/howto/mirror-conversations.md"

pytestmark = pytest.mark.services


def of_the_page(blocks):
    return [block for block in blocks(PAGE) if block.language == "bash"]


@pytest.fixture
def home(shell):
    """The data directory of a reader who has begun."""
    shell.data.mkdir(mode=0o700)
    (shell.data / "config.yml").write_text("global: {llm: scripted}\n")
    (shell.data / "config.yml").chmod(0o600)
    return shell


def test_what_is_said_of_mysql_is_understood(blocks, home, mariadb_server):
    block, *_ = of_the_page(blocks)
    mariadb_server.usable()
    assert databases.PASSWORD in block.text  # as the server of the tests has it: the check connects
    told = home.run(block.text.replace("localhost", "127.0.0.1").replace("3306", str(mariadb_server.port)))
    assert "⚠" not in told


def test_what_is_said_of_mongodb_is_understood(blocks, home, mongodb_server):
    _, block, *_ = of_the_page(blocks)
    mongodb_server.usable()
    told = home.run(block.text.replace("localhost:27017", f"127.0.0.1:{mongodb_server.port}"))
    assert "⚠" not in told


def test_the_commands_of_the_page_look_after_the_archive(blocks, home, started, redis_server):
    _, _, start, status, verify, rebuild = of_the_page(blocks)
    redis_server.usable()
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()
    text = home.adapted(start.text).replace("localhost:6379", f"127.0.0.1:{redis_server.port}")
    start = replace(start, text=text)
    with started(home, start):
        asyncio.run(talk(home.adapted("http://localhost:8000/ws/chat")))
        assert "✅ Equal: 1 conversations with 2 messages" in home.run(verify.text)
        assert "redis: holds everything" in home.run(status.text)
        assert "✅ Written again: 2" in home.run(rebuild.text)


async def talk(url):
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as ws:
        await ws.send_json({"action": "chat", "request_id": "q", "payload": {"text": "hello"}})
        while (await ws.receive_json(timeout=20))["status"] != "complete":
            pass
