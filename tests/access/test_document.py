"""What is documented is the same from the gateway and from an agent alone, and open to everybody."""

import asyncio

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.identify import AtThisMachine
from tom.openapi import document, page
from tom.spawner.memory import make_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def alone(town, free_port):
    """The agent of alice as it would answer without a gateway."""
    server = make_server(AgentApp(town.agents.cells["alice"], AtThisMachine()))
    server.config.port = free_port
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{free_port}") as http:
        yield http
    server.should_exit = True
    await serving


@pytest.mark.parametrize(("path", "body"), [("/openapi.json", document.rendered), ("/docs", page.rendered)])
async def test_both_answer_the_same_to_everybody(town, alone, path, body):
    for knocker in town.knockers.values():
        status, raw, headers = await town.ask(knocker.headers, "GET", path)
        assert (status, raw) == (200, body()), knocker.name
        assert headers["Content-Security-Policy"] == (page.policy() if path == "/docs" else town_policy(headers))
    async with alone.get(path) as answer:
        assert await answer.read() == body()
        assert "Set-Cookie" not in answer.headers
    for http in (town.http, alone):
        async with http.head(path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")


async def test_a_host_that_is_none_is_refused_here_too(town, alone):
    for http in (town.http, alone):
        async with http.get("/docs", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 421


def town_policy(headers):
    return headers["Content-Security-Policy"] if "script-src 'self'" in headers["Content-Security-Policy"] else "…"
