"""Who may look at tools and who may review them, over the agent's real door."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.bootstrap import build_cell
from tom.agent.identify import AtThisMachine, BehindGateway
from tom.agent.serving import make_server
from tom.clock import SystemClock
from tom.config.agent import AgentSettings
from tom.config.secret import Secret
from tom.services.memory import MemoryToolbox
from tom.store.memory import MemoryEventStore
from tom.testing.hostile_services import played

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P15"), pytest.mark.slow]

SECRET = "a secret of this agent"


@pytest.fixture
def opened(tmp_path):
    """``async with opened(role=…, door=…) as http``: an agent with one service of two tools."""
    script = tmp_path / "script.json"
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("get_note", "write_note")]
    script.write_text(json.dumps({"tools": tools}))

    @asynccontextmanager
    async def run(role="user", door="cookie", toolbox=None):
        settings = AgentSettings(user="alice", home=tmp_path, role=role, services=(played(script, name="notes"),))
        clock = SystemClock()
        cell = build_cell(settings, MemoryEventStore(clock=clock), clock, toolbox=toolbox)
        cell.ready = True
        identified = AtThisMachine() if door == "local" else BehindGateway("alice", Secret(SECRET))
        headers = {} if door == "local" else {"X-Tom-User": "alice", "X-Tom-Door": door, "X-Tom-Agent-Secret": SECRET}
        if door not in {"local", "control"}:
            headers["X-Tom-Scopes"] = "chat read admin" if role == "admin" else "chat read"
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = make_server(AgentApp(cell, identified), cell)
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with aiohttp.ClientSession(url, headers=headers) as http:
                    yield http
            finally:
                server.should_exit = True
                await serving
                await cell.toolbox.close()
                await cell.models.close()

    return run


async def ask(http, method, path, body=None):
    async with http.request(method, path, json=body) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("role", "door", "by"),
    [("admin", "cookie", "alice"), ("user", "control", "control"), ("user", "local", "local")],
)
async def test_admins_and_whoever_sits_at_the_machine_may_review(opened, role, door, by):
    async with opened(role, door) as http:
        status, told = await ask(http, "GET", "/services/notes/diff")
        assert status == 200
        assert [one["tool"] for one in told["proposals"]] == ["get_note", "write_note"]
        body = {
            "accept": True,
            "tools": ["write_note"],
            "class": {"write_note": "write_own"},
            "outward": {"write_note": True},
        }
        assert await ask(http, "POST", "/services/notes/review", body) == (
            200,
            {"service": "notes", "reviewed": ["write_note"]},
        )
        (service,) = (await ask(http, "GET", "/services"))[1]["services"]
        tools = {one["tool"]: one for one in service["tools"]}
        assert (tools["write_note"]["class"], tools["write_note"]["reviewed_by"]) == ("write_own", by)
        assert tools["write_note"]["outward"]
        assert tools["get_note"]["proposed"]
        assert not tools["write_note"]["proposed"]
        assert (await ask(http, "POST", "/services/notes/review", {"accept": True}))[1]["reviewed"] == ["get_note"]


@pytest.mark.parametrize("door", ["cookie", "token", "", "Control"])
async def test_others_may_look_and_not_review(opened, door):
    async with opened("user", door) as http:
        assert (await ask(http, "GET", "/services/notes/diff"))[0] == 200
        status, told = await ask(http, "POST", "/services/notes/review", {"accept": True})
        assert (status, told["error"]["code"]) == (403, "role_not_allowed")
        assert len((await ask(http, "GET", "/services/notes/diff"))[1]["proposals"]) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "must be a JSON object"),
        ({}, "accept: must be true"),
        ({"accept": "yes"}, "accept: must be true"),
        ({"accept": True, "all": True}, "all: unknown field"),
        ({"accept": True, "tools": "get_note"}, "tools: must be a list"),
        ({"accept": True, "tools": [1]}, "tools: must be a list"),
        ({"accept": True, "class": {"get_note": "harmless"}}, "class.get_note: must be one of read_public"),
        ({"accept": True, "class": {"get_note": ["read_public"]}}, "class.get_note: must be one of"),
        ({"accept": True, "outward": {"get_note": 1}}, "outward.get_note: must be true or false"),
        ({"accept": True, "honours_key": []}, "honours_key: must be a mapping"),
    ],
)
async def test_a_review_that_cannot_be_read_changes_nothing(opened, body, words):
    async with opened("admin") as http:
        status, told = await ask(http, "POST", "/services/notes/review", body)
        assert status == (400 if body == [] else 422)
        assert words in told["error"]["message"]
        assert len((await ask(http, "GET", "/services/notes/diff"))[1]["proposals"]) == 2


async def test_what_is_not_there_is_not_found(opened):
    async with opened("admin") as http:
        for path, body, code in [
            ("/services/nobody/review", {"accept": True}, "service_not_found"),
            ("/services/notes/review", {"accept": True, "tools": ["nothing"]}, "tool_not_found"),
            ("/services/notes/review", {"accept": True, "tools": {"get_note": "sha256:old"}}, "changed_again"),
        ]:
            assert (await ask(http, "POST", path, body))[1]["error"]["code"] == code
    async with opened("admin", toolbox=MemoryToolbox()) as http:
        assert (await ask(http, "GET", "/services"))[0] == 404
