"""The agent's doors over real HTTP: who is let in, what is answered, in which dialect."""

import asyncio
import io
import json
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.identify import AtThisMachine, BehindGateway
from tom.agent.serving import make_server
from tom.config.secret import Secret
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

SECRET = "the agent's own secret"
GATEWAY = {"X-Tom-User": "alice", "X-Tom-Agent-Secret": SECRET}


@pytest.fixture
def serve():
    """``async with serve(cell, door) as http``: the agent on a port of loopback, and a client of it."""

    @asynccontextmanager
    async def serve_one(cell, door=None, headers=GATEWAY):
        door = door or BehindGateway("alice", Secret(SECRET))
        listening = socket.create_server(("127.0.0.1", 0))
        server = make_server(AgentApp(cell, door), cell)
        cell.ready = True
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(url, headers=headers) as http:
                yield http
        finally:
            server.should_exit = True
            await serving
            listening.close()

    return serve_one


async def answer(response):
    async with response as given:
        text = await given.text()
        return given.status, json.loads(text) if text else None


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Tom-User": "alice"},
        {"X-Tom-Agent-Secret": SECRET},
        {"X-Tom-User": "bob", "X-Tom-Agent-Secret": SECRET},
        {"X-Tom-User": "alice", "X-Tom-Agent-Secret": SECRET + "x"},
        {"X-Tom-User": "alice", "X-Tom-Agent-Secret": ""},
    ],
)
async def test_without_its_own_secret_and_its_own_user_an_agent_answers_401_and_nothing_else(open_cell, serve, headers):
    async with open_cell() as cell, serve(cell, headers=headers) as http:
        for path in ("/sessions", "/tasks", "/status", "/nowhere", "/health/ready"):
            status, body = await answer(http.get(path))
            assert (status, body) == (401, {"status": "ERROR", "message": "Authentication required."})
        assert (await answer(http.post("/process", json={"request": "hi"})))[0] == 401
        assert await answer(http.get("/health")) == (200, {"status": "ok"})
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/ws/chat")
        assert refused.value.status == 401


async def test_an_agent_without_a_secret_lets_nobody_in(open_cell, serve):
    async with (
        open_cell() as cell,
        serve(cell, BehindGateway("alice", Secret("")), {**GATEWAY, "X-Tom-Agent-Secret": ""}) as http,
    ):
        assert (await answer(http.get("/tasks")))[0] == 401


async def test_the_gateway_is_told_how_busy_an_agent_is(open_cell, serve, llm, connect, until):
    llm.otherwise(Script.chunks(50, 5, delay=0.02))
    async with open_cell() as cell, serve(cell) as http:
        assert (await answer(http.get("/health")))[1]["active_runs"] == 0
        await connect(cell).do("chat", "q1", text="hello")
        assert (await answer(http.get("/health")))[1]["active_runs"] == 1
        assert await answer(http.get("/health/ready")) == (200, {"ready": True})
        cell.scheduler.draining = True
        assert await answer(http.get("/health/ready")) == (503, {"ready": False})


@pytest.mark.promise("P16")
async def test_alone_only_loopback_names_and_the_own_origin_are_served(open_cell, serve):
    async with open_cell() as cell, serve(cell, AtThisMachine(), headers={}) as http:
        port = http._base_url.port
        assert (await answer(http.get("/sessions")))[0] == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "169.254.169.254", ""):
            status, body = await answer(http.get("/sessions", headers={"Host": host}))
            assert (status, body["error"]["code"]) == (421, "wrong_host"), host
        for origin, status in (
            (f"http://127.0.0.1:{port}", 200),
            ("https://evil.example", 403),
            ("null", 403),
            (f"http://127.0.0.1:{port + 1}", 403),
        ):
            got, _ = await answer(http.post("/reset", headers={"Origin": origin}))
            assert got == status, origin
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/ws/chat", headers={"Origin": "https://evil.example"})
        assert refused.value.status == 403


async def test_every_answer_carries_the_request_id_it_was_given_or_one_of_its_own(open_cell, serve):
    async with open_cell() as cell, serve(cell) as http:
        async with http.get("/tasks", headers={"X-Request-ID": "abc-1"}) as given:
            assert given.headers["X-Request-ID"] == "abc-1"
        async with http.get("/nowhere", headers={"X-Request-ID": "not ok!"}) as made:
            assert made.status == 404
            assert len(made.headers["X-Request-ID"]) == 26
        async with http.post("/tasks") as wrong_method:
            assert wrong_method.status == 405


async def test_conversations_are_listed_page_by_page_newest_first(open_cell, serve, llm, connect):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell, serve(cell) as http:
        client = connect(cell)
        for number in range(5):
            await client.do("chat", f"q{number}", text=f"number {number}", conversation_id=f"c{number}")
            await client.end_of(f"q{number}")
        _, first = await answer(http.get("/sessions?limit=3"))
        _, second = await answer(http.get("/sessions", params={"limit": 3, "before": first["next"]}))
        assert [row["title"] for row in first["sessions"] + second["sessions"]] == [
            f"number {n}" for n in (4, 3, 2, 1, 0)
        ]
        assert second["next"] is None
        for query in ("limit=0", "limit=201", "limit=x", "limit=-1", "limit=99999999999999999999"):
            status, body = await answer(http.get(f"/sessions?{query}"))
            assert (status, body["error"]["code"]) == (422, "validation_error")
        for cursor in ("nonsense", "!!!!", "bm8tc2xhc2g="):
            status, body = await answer(http.get("/sessions", params={"before": cursor}))
            assert (status, body["error"]["code"]) == (400, "invalid_cursor")


async def test_one_conversation_is_shown_without_instructions_and_erased_for_good(open_cell, serve, llm, connect):
    llm.otherwise(Script.text("fine"))
    async with open_cell() as cell, serve(cell) as http:
        client = connect(cell)
        await client.do("chat", "q1", text="how are you?", conversation_id="c1")
        await client.end_of("q1")
        _, shown = await answer(http.get("/sessions/c1"))
        assert [(m["role"], m["content"]) for m in shown["history"]] == [
            ("user", "how are you?"),
            ("assistant", "fine"),
        ]
        assert shown["usage"]["total_tokens"] > 0
        assert (await answer(http.delete("/sessions/c1")))[0] == 204
        for method in (http.delete, http.get):
            status, body = await answer(method("/sessions/c1"))
            assert (status, body["error"]["code"]) == (404, "session_not_found")


async def test_events_are_waited_for_and_bounded(open_cell, serve, llm, connect):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell, serve(cell) as http:
        client = connect(cell)
        await client.do("new", "q0")
        conversation = (await client.end_of("q0"))["chunk"]["metadata"]["new_conversation_id"]
        path = f"/sessions/{conversation}/events"
        waiting = asyncio.ensure_future(answer(http.get(f"{path}?after=1&wait=20")))
        await asyncio.sleep(0)
        await client.do("chat", "q1", text="hello")
        _, page = await asyncio.wait_for(waiting, 10)
        assert page["events"][0]["seq"] == 2
        assert page["next_after"] == page["events"][-1]["seq"]
        _, none = await answer(http.get(f"{path}?after=0&limit=1"))
        assert len(none["events"]) == 1
        await client.end_of("q1")
        status, body = await answer(http.get(f"{path}?after=999"))
        assert (status, body["error"]["code"]) == (422, "validation_error")
        assert body["error"]["details"]["last_seq"] >= page["last_seq"]


async def test_bodies_beyond_the_limit_are_refused_before_they_are_read_whole(open_cell, serve):
    async with open_cell() as cell, serve(cell) as http:
        status, body = await answer(http.post("/process", data=io.BytesIO(b"x" * 1_048_577)))
        assert (status, body["status"]) == (413, "ERROR")

        async def endless():
            for _ in range(200):
                yield b"x" * 10_000

        status, _ = await answer(http.post("/process", data=endless()))
        assert status == 413


async def test_process_waits_for_a_run_that_is_still_going_and_replays_it(open_cell, serve, llm):
    llm.reply(Script.chunks(20, 5, delay=0.01))
    async with open_cell() as cell, serve(cell) as http:
        body = {"request": "hello", "request_id": "p1"}
        one, two = await asyncio.gather(
            answer(http.post("/process", json=body)), answer(http.post("/process", json=body))
        )
    assert one[1]["response"] == two[1]["response"]
    assert sorted([one[1].get("replayed", False), two[1].get("replayed", False)]) == [False, True]
    assert llm.calls == 1


async def test_a_defect_in_a_route_is_one_clear_answer(open_cell, serve):
    async with open_cell() as cell, serve(cell) as http:
        cell.toolbox = None
        status, body = await answer(http.get("/status"))
        assert (status, body["status"]) == (500, "ERROR")
        assert body["message"].startswith("Internal error: ")
