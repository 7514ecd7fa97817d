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
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

SECRET = "the agent's own secret"
GATEWAY = {"X-Tom-User": "alice", "X-Tom-Agent-Secret": SECRET, "X-Tom-Door": "cookie"}


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
            assert (status, body) == (401, {"status": "ERROR", "message": "Authentication required"})
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


# --- asks and shelves ----------------------------------------------------------------------------------------------


@pytest.fixture
def post():
    """A service that sends mail, and what it sent."""
    toolbox = MemoryToolbox()
    toolbox.sent = []

    async def send_mail(**arguments):
        toolbox.sent.append(arguments)
        return "sent"

    mail = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    toolbox.add(send_mail, service="post", parameters=mail, tool_class=ToolClass.WRITE_EXTERNAL)
    return toolbox


async def asked(http):
    """The one open approval, once there is one."""
    async with asyncio.timeout(10):
        while not (found := (await answer(http.get("/approvals")))[1]["approvals"]):
            await asyncio.sleep(0.005)
    return found[0]


@pytest.mark.promise("P14")
async def test_an_approval_is_listed_and_answered_over_rest_once(open_cell, serve, llm, connect, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post) as cell, serve(cell) as http:
        client = connect(cell)
        await client.do("chat", "q1", text="write", conversation_id="c1")
        ask = await asked(http)
        assert (ask["conversation_id"], ask["tool"], ask["arguments"]) == ("c1", "send_mail", {"to": "bob"})
        assert (await answer(http.get("/elicitations")))[1] == {"elicitations": []}
        path, body = f"/approvals/{ask['approval_id']}", {"decision": "allow", "arguments_digest": "sha256:0"}
        status, refused = await answer(http.post(path, json=body))
        assert (status, refused["error"]["code"]) == (409, "arguments_changed")
        body["arguments_digest"] = ask["arguments_digest"]
        phone = {"User-Agent": "Mozilla/5.0 (Android 16; Mobile; rv:150.0) Gecko/150.0 Firefox/150.0"}
        answers = await asyncio.gather(*(answer(http.post(path, json=body, headers=phone)) for _ in range(3)))
        await client.end_of("q1")
        (recorded,) = [event for event in await cell.store.read("c1") if event.type == "approval.answered"]
        assert (await answer(http.get("/approvals")))[1] == {"approvals": []}
    assert sorted(status for status, _ in answers) == [200, 409, 409]
    done = next(body for status, body in answers if status == 200)
    assert done == {"approval_id": ask["approval_id"], "decision": "allow", "answered_at": recorded.timestamp}
    assert {body["error"]["code"] for status, body in answers if status == 409} == {"already_answered"}
    assert post.sent == [{"to": "bob"}]
    assert (recorded.extra["by"], recorded.extra["device"]) == ("alice", "Firefox on Android")


GOOD = {"decision": "deny", "arguments_digest": "sha256:0"}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/approvals/x", b"", 422, "validation_error"),
        ("/approvals/x", b"[]", 400, "invalid_json"),
        ("/approvals/x", b'{"decision":"deny","decision":"allow"}', 400, "invalid_json"),
        ("/approvals/x", b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", 400, "invalid_json"),
        ("/approvals/x", b'{"note":"' + b"x" * 1_100_000 + b'"}', 413, "payload_too_large"),
        ("/approvals/x", {}, 422, "validation_error"),
        ("/approvals/x", {"decision": "deny"}, 422, "validation_error"),
        ("/approvals/x", GOOD | {"decision": "perhaps"}, 422, "validation_error"),
        ("/approvals/x", GOOD | {"yes": True}, 422, "validation_error"),
        ("/approvals/x", GOOD | {"note": "x" * 501}, 422, "validation_error"),
        ("/approvals/x", GOOD | {"note": "\ud800"}, 422, "validation_error"),
        ("/approvals/x", GOOD | {"remember": "for ever"}, 422, "validation_error"),
        ("/approvals/x", GOOD | {"arguments": {}}, 422, "validation_error"),
        ("/approvals/x", GOOD, 404, "approval_not_found"),
        ("/approvals/" + "x" * 200, GOOD, 404, "approval_not_found"),
        ("/approvals/%F0%9F%98%80", GOOD, 404, "approval_not_found"),
        ("/elicitations/x", {}, 422, "validation_error"),
        ("/elicitations/x", {"outcome": "maybe"}, 422, "validation_error"),
        ("/elicitations/x", {"outcome": "accept", "content": []}, 422, "validation_error"),
        ("/elicitations/x", {"outcome": "accept", "content": {}}, 404, "elicitation_not_found"),
    ],
)
async def test_a_bad_answer_over_rest_gets_its_status_and_code(open_cell, serve, path, body, status, code):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with open_cell() as cell, serve(cell) as http:
        sent = http.post(path, data=io.BytesIO(raw), headers={"Content-Type": "application/json"})
        got, told = await answer(sent)
    assert (got, told["error"]["code"]) == (status, code), told
    assert "request_id" in told
    if code == "validation_error":
        (error,) = told["error"]["details"]["errors"]
        assert set(error) == {"loc", "msg", "type"}


async def test_answers_are_json_and_come_from_their_person_only(open_cell, serve, llm, connect, post):
    llm.reply(Script.tool_calls(("send_mail", {"to": "bob"})), Script.text("Sent."))
    async with open_cell(post) as cell, serve(cell) as http:
        await connect(cell).do("chat", "q1", text="write", conversation_id="c1")
        ask = await asked(http)
        path = f"/approvals/{ask['approval_id']}"
        status, told = await answer(http.post(path, data=json.dumps(GOOD), headers={"Content-Type": "text/plain"}))
        assert (status, told["error"]["code"]) == (415, "unsupported_media_type")
        operator = {"X-Tom-Door": "control"}
        (seen,) = (await answer(http.get("/approvals", headers=operator)))[1]["approvals"]
        assert "arguments" not in seen
        assert seen["tool"] == "send_mail"
        body = {"decision": "allow", "arguments_digest": ask["arguments_digest"]}
        status, told = await answer(http.post(path, json=body, headers=operator))
        assert (status, told["error"]["code"]) == (403, "scope_missing")
        assert post.sent == []


async def test_prompts_and_resources_are_listed(open_cell, serve):
    shelf = MemoryToolbox()
    shelf.add_prompt("review", "Look.", service="docs", title="Review", arguments={"file": ("Which", True)})
    shelf.add_resource("file:///a.txt", "words", service="docs", name="alpha")
    shelf.add_resource("file:///{name}", "words", service="docs", name="beta")
    async with open_cell(shelf, services=["docs"]) as cell, serve(cell) as http:
        (prompt,) = (await answer(http.get("/prompts")))[1]["prompts"]
        every = (await answer(http.get("/resources")))[1]["resources"]
        (found,) = (await answer(http.get("/resources?q=ALPHA")))[1]["resources"]
        status, _ = await answer(http.get("/resources", params={"q": "x" * 201}))
    assert (prompt["service"], prompt["name"], prompt["title"]) == ("docs", "review", "Review")
    assert prompt["arguments"] == [{"name": "file", "description": "Which", "required": True}]
    assert [entry["template"] for entry in every] == [False, True]
    assert (found["service"], found["uri"], found["name"], found["mime_type"]) == (
        "docs", "file:///a.txt", "alpha", "text/plain",
    )  # fmt: skip
    assert status == 422


async def test_a_prompt_typed_at_process_is_put_in_front(open_cell, serve, llm):
    llm.otherwise(Script.text("ok"))
    shelf = MemoryToolbox()
    shelf.add_prompt("review", lambda given: f"Review {given['file']}.", service="docs", arguments={"file": ("", True)})
    async with open_cell(shelf, services=["docs"]) as cell, serve(cell) as http:
        _, told = await answer(http.post("/process", json={"request": "/docs:review file=a.txt"}))
        assert told["status"] == "OK", told
        status, refused = await answer(http.post("/process", json={"request": "/docs:review"}))
        assert (status, refused["status"]) == (200, "ERROR")
        assert "missing: file" in refused["message"]
        status, refused = await answer(http.post("/process", json={"request": "/docs:reviews"}))
        assert (status, refused["status"]) == (200, "ERROR")
    assert "Review a.txt." in json.dumps(llm.requests[0].messages)
