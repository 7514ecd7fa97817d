"""An agent alone lets in whom `chat.auth` says: whoever sits there, whoever shows a token, or everybody."""

import asyncio
import json
import re
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tom.agent.doorfile import control_socket
from tom.agent.identify import WithoutTokens
from tom.config.agent import RateSettings
from tom.conversation.tool import ToolClass
from tom.services.memory import MemoryToolbox
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

UNKNOWN = "tom_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "x" * 43
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ADMIN = "an admin token of length"


def said(action, request_id="r", **payload):
    return json.dumps({"action": action, "request_id": request_id, "payload": payload})


async def until_frame(socket, *statuses):
    """The first frame of one of these statuses."""
    async with asyncio.timeout(10):
        while True:
            frame = json.loads(await socket.recv())
            if frame["status"] in statuses:
                return frame


async def ask(socket, action, request_id="r", **payload):
    await socket.send(said(action, request_id, **payload))
    return await until_frame(socket, "complete", "error", "pong")


# --- token -------------------------------------------------------------------------------------------------------


REACH = [
    (("chat",), "POST", "/sessions", 201, None),
    (("read",), "POST", "/sessions", 403, "scope_missing"),
    (("read",), "GET", "/sessions", 200, None),
    (("chat",), "GET", "/sessions", 403, "scope_missing"),
    (("chat", "read"), "GET", "/v1/models", 403, "scope_missing"),
    (("openai",), "GET", "/v1/models", 200, None),
    (("chat",), "POST", "/ws/ticket", 200, None),
    (("read",), "POST", "/ws/ticket", 403, "scope_missing"),
    (("chat",), "POST", "/reset", 200, None),
    (("read",), "GET", "/tasks", 200, None),
    (("chat",), "GET", "/tasks", 403, "scope_missing"),
    (("chat",), "GET", "/notifications", 403, "scope_missing"),
    (("notifications",), "GET", "/notifications", 200, None),
    (("chat", "read", "admin"), "POST", "/triage/replay", 404, "not_found"),
    (("chat", "read"), "GET", "/policy/explain?tool=a.b", 404, "not_found"),
    (("chat", "read"), "GET", "/history/retention", 404, "not_found"),
    (("chat", "read"), "GET", "/tokens", 404, "not_found"),
]
"""Scopes of a token, what it asks for, and the answer."""


async def test_a_token_reaches_as_far_as_its_scopes(open_alone):
    async with open_alone("token") as agent:
        for scopes, method, path, status, code in REACH:
            _, text = await agent.token(*scopes)
            got, answer = await agent.client(text).ask(method, path, {} if method == "POST" else None)
            assert got == status, (path, scopes, answer)
            assert code is None or answer["error"]["code"] == code, (path, scopes)


async def test_without_a_good_token_nothing_is_answered_but_what_is_open(open_alone):
    async with open_alone("token") as agent:
        nobody, wrong = agent.client(), agent.client(UNKNOWN)
        for method, path in (("GET", "/sessions/x"), ("POST", "/sessions"), ("GET", "/tasks"), ("GET", "/nothing"), ("GET", "/v1/models"), ("POST", "/ws/ticket"), ("GET", "/triage/replay")):  # fmt: skip
            status, answer = await nobody.ask(method, path)
            assert (status, answer["error"]["code"]) == (401, "authentication_required"), path
            assert nobody.headers["WWW-Authenticate"] == "Bearer"
            status, answer = await wrong.ask(method, path)
            assert (status, answer["error"]["code"]) == (401, "invalid_token"), path
            assert wrong.headers["WWW-Authenticate"] == "Bearer"
        for client in (nobody, wrong):
            assert (await client.ask("GET", "/health"))[0] == 200
            assert (await client.ask("GET", "/openapi.json"))[0] == 200


async def test_unknown_revoked_and_expired_tokens_are_answered_alike(open_alone):
    clock = ManualClock()
    async with open_alone("token", clock=clock) as agent:
        revoked, one = await agent.token("read")
        _, two = await agent.token("read", days=1)
        await agent.file.tokens.revoke("alice", revoked.id)
        clock.advance(86_400)
        answers = []
        for text in (UNKNOWN, one, two, "nonsense"):
            client = agent.client(text, **{"X-Request-ID": "same"})
            status, answer = await client.ask("GET", "/sessions")
            answers.append((status, answer, sorted(client.headers.items())))
        assert answers == [answers[0]] * 4


async def test_a_token_in_the_url_is_refused_and_revoked(open_alone):
    async with open_alone("token") as agent:
        _, text = await agent.token("read")
        status, answer = await agent.client(text).ask("GET", f"/sessions?token={text}")
        assert (status, answer["error"]["message"]) == (400, "Tokens are not accepted in the URL")
        assert (await agent.client(text).ask("GET", "/sessions"))[0] == 401


async def test_the_last_event_of_an_answer_whose_token_ended_names_its_message(open_alone, llm):
    llm.otherwise(Script.chunks(200, 22, delay=0.02))
    async with open_alone("token") as agent:
        token, text = await agent.token("chat")
        rest = agent.client(text)
        path, body = f"/sessions/{await rest.open()}/messages", {"content": "tell me", "request_id": "r1"}
        async with rest.stream("POST", path, body) as letters, asyncio.timeout(5):
            told = []
            async for letter in letters:
                if letter.name == "chunk" and not agent.file.tokens.is_over(token):
                    await agent.file.tokens.revoke("alice", token.id)
                told.append(letter)
            assert (told[-1].name, told[-1].data["status"], told[-1].data["request_id"]) == ("error", "error", "r1")


async def test_a_completion_whose_token_ended_says_so_in_its_own_form(open_alone, llm):
    llm.otherwise(Script.chunks(200, 22, delay=0.02))
    async with open_alone("token") as agent:
        token, text = await agent.token("openai")
        body = {"model": "tom", "messages": [{"role": "user", "content": "tell me"}], "stream": True}
        async with agent.client(text).http.post("/v1/chat/completions", json=body) as answer, asyncio.timeout(5):
            await answer.content.readuntil(b"\n\n")
            await agent.file.tokens.revoke("alice", token.id)
            *_, error, done = (await answer.read()).decode().strip().split("\n\n")
            told = json.loads(error.removeprefix("data: "))
            assert (told["error"]["type"], told["error"]["code"]) == ("authentication_error", "invalid_token")
            assert done == "data: [DONE]"


@pytest.mark.promise("P18")
async def test_what_is_open_under_a_token_ends_within_a_second(open_alone, llm):
    async with open_alone("token") as agent:
        token, text = await agent.token("chat")
        rest = agent.client(text)
        session = await rest.open()
        async with (
            agent.socket(token=text) as socket,
            rest.stream("GET", f"/sessions/{session}/events") as letters,
        ):
            assert (await ask(socket, "ping"))["status"] == "pong"
            assert (await anext(letters)).name == "event"
            waiting = asyncio.ensure_future(
                agent.client(text).ask("GET", f"/sessions/{session}/events?after=1&wait=30")
            )
            while token.open_count < 3:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            await agent.file.tokens.revoke("alice", token.id)
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(1):
                    await socket.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "Login or token ended")
            async with asyncio.timeout(1):
                rest_of_it = [letter async for letter in letters if letter.name != "comment"]
            assert rest_of_it[-1].name == "error"
            assert rest_of_it[-1].data == {
                "request_id": "unknown",
                "status": "error",
                "chunk": {"error": "This credential is not valid."},
                "error": {"code": "invalid_token", "message": "This credential is not valid.", "details": {}},
            }
            status, answer = await asyncio.wait_for(waiting, 1)
            assert (status, answer["error"]["code"]) == (401, "invalid_token")
            assert time.monotonic() - began < 1


async def test_a_run_outlives_the_token_that_asked_for_it(open_alone, llm, until):
    llm.reply(Script.text("a long answer", delay=0.1))
    async with open_alone("token") as agent:
        token, text = await agent.token("chat")
        async with agent.socket(token=text) as socket:
            await socket.send(said("chat", text="hello", conversation_id="c1"))
            await until_frame(socket, "accepted")
            await agent.file.tokens.revoke("alice", token.id)
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(1):
                    while True:
                        await socket.recv()

        async def finished():
            events = await agent.cell.store.read("c1", after=0, limit=100)
            return [event.type for event in events][-1] == "run.completed"

        async with asyncio.timeout(10):
            while not await finished():
                await asyncio.sleep(0.01)


# --- local -------------------------------------------------------------------------------------------------------


HOSTS = [
    ({}, 200),
    ({"Host": "localhost:1"}, 200),
    ({"Host": "[::1]:8000"}, 200),
    ({"Host": "evil.example"}, 421),
    ({"Host": "127.0.0.1.evil.example"}, 421),
    ({"Host": "api:8000"}, 200),
    ({"Authorization": "Bearer whatever"}, 200),
    ({"Origin": "https://evil.example"}, 200),
]


async def test_at_this_machine_everybody_is_the_person_under_a_name_of_this_machine(open_alone):
    async with open_alone("local", doors={"public_hosts": ("api",)}) as agent:
        for headers, status in HOSTS:
            assert (await agent.client(**headers).ask("GET", "/sessions"))[0] == status, headers


ORIGINS = {
    (): [(None, 201), ("own", 201), ("https://evil.example", 403), ("null", 403)],
    ("*",): [("null", 403), ("https://any.example", 201)],
    ("null",): [("null", 201), ("https://any.example", 403)],
    ("https://shop.example",): [
        ("https://shop.example", 201),
        ("https://shop.example:444", 403),
        ("http://shop.example", 403),
    ],
}
"""What is listed, and how pages of these origins fare."""


@pytest.mark.parametrize("listed", ORIGINS)
async def test_a_page_elsewhere_changes_nothing_unless_it_is_listed(open_alone, listed):
    async with open_alone("local", allow_origins=listed) as agent:
        for name, status in ORIGINS[listed]:
            origin = agent.url if name == "own" else name
            client = agent.client(**({"Origin": origin} if origin else {}))
            got, answer = await client.ask("POST", "/sessions", {})
            assert got == status, (origin, answer)
            elsewhere = status == 201 and name not in {None, "own"}
            shown = ("*" if listed == ("*",) else origin) if elsewhere else None
            assert client.headers.get("Access-Control-Allow-Origin") == shown


async def test_a_listed_page_may_ask_before_it_sends(open_alone):
    listed = ("https://shop.example",)
    async with open_alone("token", allow_origins=listed) as agent:
        asked = {"Origin": listed[0], "Access-Control-Request-Method": "PATCH"}
        client = agent.client(**asked)
        assert (await client.ask("OPTIONS", "/sessions/x"))[0] == 204
        assert client.headers["Access-Control-Allow-Origin"] == listed[0]
        assert "PATCH" in client.headers["Access-Control-Allow-Methods"]
        assert client.headers["Access-Control-Allow-Credentials"] == "true"
        assert client.headers["Vary"] == "Origin"
        other = agent.client(**asked | {"Origin": "https://evil.example"})
        assert (await other.ask("OPTIONS", "/sessions/x"))[0] == 401
        assert "Access-Control-Allow-Origin" not in other.headers


# --- public ------------------------------------------------------------------------------------------------------


async def test_a_visitor_talks_in_sessions_that_nobody_could_guess(open_alone, llm):
    llm.reply(Script.text("welcome"))
    async with open_alone("public") as agent:
        visitor = agent.client()
        session = await visitor.open()
        assert UUID.fullmatch(session)
        status, answer = await visitor.say(session, "hello")
        assert (status, answer["message"]["content"]) == (200, "welcome")
        assert (await agent.client().ask("GET", f"/sessions/{session}"))[0] == 200, "the id is all that it takes"
        for method, path in (("GET", "/sessions"), ("GET", "/approvals"), ("GET", "/elicitations"), ("GET", "/prompts"), ("GET", "/usage"), ("GET", "/v1/models"), ("POST", "/process"), ("GET", "/tasks")):  # fmt: skip
            status, answer = await visitor.ask(method, path)
            assert (status, answer["error"]["code"]) == (401, "authentication_required"), path
        assert (await visitor.ask("POST", "/sessions/mine/messages", {"content": "hello"}))[0] == 404
        assert (await visitor.ask("DELETE", f"/sessions/{session}"))[0] == 204


async def test_a_visitors_socket_opens_no_conversation_by_a_name_it_chose_and_lists_nothing(open_alone, llm):
    llm.reply(Script.text("one"), Script.text("two"))
    async with open_alone("public") as agent, agent.socket() as socket:
        refused = await ask(socket, "chat", "r1", text="hello", conversation_id="mine")
        assert refused["error"]["code"] == "conversation_not_found"
        assert await agent.cell.store.conversations(limit=10) == ()
        for number, (action, payload, code) in enumerate(
            (
                ("subscribe", {"conversation_id": "*"}, "authentication_required"),
                ("resume", {"conversation_id": "mine"}, "conversation_not_found"),
                ("approve", {"approval_id": "x", "decision": "allow", "arguments_digest": "d"}, "approval_not_found"),
                ("answer", {"elicitation_id": "x", "outcome": "decline"}, "elicitation_not_found"),
                ("chat", {"text": "hi", "options": {"level": 2}}, "option_not_allowed"),
                ("chat", {"text": "hi", "options": {"services": []}}, "option_not_allowed"),
            )
        ):
            refused = await ask(socket, action, f"n{number}", **payload)
            assert refused["error"]["code"] == code, action
        await socket.send(said("chat", "r2", text="hello"))
        opened = (await until_frame(socket, "accepted"))["conversation_id"]
        assert UUID.fullmatch(opened)
        await until_frame(socket, "complete")
        async with agent.socket() as other:
            await other.send(said("chat", "r2", text="hello"))
            assert (await until_frame(other, "accepted"))["conversation_id"] != opened, (
                "the same words of somebody else"
            )
            await until_frame(other, "complete")
            resumed = await ask(other, "resume", "r3", conversation_id=opened)
            assert resumed["status"] in {"complete", "event"}


async def test_of_a_visitor_nothing_is_asked(open_alone, llm):
    called = []

    async def wipe(what):
        called.append(what)
        return "wiped"

    tools = MemoryToolbox()
    schema = {"type": "object", "properties": {"what": {"type": "string"}}}
    tools.add(wipe, service="disk", parameters=schema, tool_class=ToolClass.DESTRUCTIVE)
    llm.reply(Script.tool_calls(("wipe", {"what": "all"})), Script.text("I may not."))
    async with open_alone("public", toolbox=tools, services=["disk"]) as agent:
        visitor = agent.client()
        session = await visitor.open()
        status, answer = await asyncio.wait_for(visitor.say(session, "wipe it"), 10)
        assert (status, answer["message"]["content"]) == (200, "I may not.")
        assert called == []
        events = await agent.cell.store.read(session, after=0, limit=100)
        assert "approval.requested" not in [event.type for event in events]
        (result,) = [event for event in events if event.type == "tool.returned"]
        assert result.content.startswith("Denied by policy")


async def test_in_public_mode_a_token_still_reaches_as_far_as_it_does(open_alone):
    async with open_alone("public") as agent:
        _, text = await agent.token("read")
        assert (await agent.client(text).ask("GET", "/sessions"))[0] == 200
        assert (await agent.client(UNKNOWN).ask("GET", "/sessions"))[0] == 401
        assert (await agent.client(UNKNOWN).ask("POST", "/sessions", {}))[0] == 401, (
            "a bad one is not as if there were none"
        )


async def test_visitors_are_counted_by_their_address(open_alone):
    rates = RateSettings(rps=0.001, burst=2)
    doors = {"rates": rates, "trusted_proxies": ("127.0.0.1",)}
    async with open_alone("public", doors=doors) as agent:
        one, two = (agent.client(**{"X-Forwarded-For": address}) for address in ("192.0.2.1", "192.0.2.2"))
        assert [(await one.ask("POST", "/sessions", {}))[0] for _ in range(3)] == [201, 201, 429]
        assert (await two.ask("POST", "/sessions", {}))[0] == 201


async def test_a_socket_stands_at_one_path_only(open_alone):
    async with open_alone("local") as agent:
        for path in ("/ws/other", "/ws/chat/x", "/sessions"):
            with pytest.raises(InvalidStatus) as refused:
                async with agent.socket(path):
                    pass
            assert refused.value.response.status_code == 404


def test_where_no_control_socket_can_be_the_agent_serves_without_one(tmp_path):
    with control_socket(tmp_path) as listening:
        assert (tmp_path / "agent.sock").stat().st_mode & 0o777 == 0o600
        assert listening is not None
    assert not (tmp_path / "agent.sock").exists()
    tmp_path.chmod(0o755)
    with control_socket(tmp_path) as listening:
        assert listening is None


# --- what nobody expected ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["local", "public"])
async def test_an_origin_that_is_none_is_refused_like_a_foreign_one(open_alone, mode):
    async with open_alone(mode) as agent:
        for origin in ("http://[", "http://[::1", "http://evil.example", "//", "["):
            rest = agent.client(Origin=origin)
            status, answer = await rest.ask("POST", "/sessions", {})
            assert (status, answer["error"]["code"]) == (403, "origin_not_allowed"), origin
            assert rest.headers["X-Request-ID"] == answer["request_id"]
            with pytest.raises(InvalidStatus) as refused:
                async with agent.socket(headers={"Origin": origin}):
                    pass
            assert refused.value.response.status_code == 403


async def test_a_defect_at_the_door_lets_nobody_in_and_is_told_in_words(open_rest):
    class Broken(WithoutTokens):
        alone = True

        def identify(self, scope):
            raise ValueError

    async with open_rest(door=Broken()) as (rest, _):
        status, answer = await rest.ask("GET", "/sessions")
        assert (status, answer["error"]["code"]) == (500, "internal_error")
        assert rest.headers["X-Request-ID"] in answer["error"]["message"]
        async with rest.http.get("/ws/chat", headers=UPGRADE) as refused:
            assert refused.status == 500


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


@pytest.mark.promise("P10")
async def test_a_token_of_v1_alone_goes_on_with_what_began_there_only(open_alone, llm):
    llm.otherwise(Script.text("hello"))
    async with open_alone("token") as agent:
        whole, clients = [(await agent.token(*scopes))[1] for scopes in (("chat", "openai"), ("openai",))]
        session = await agent.client(whole).open()
        await agent.client(whole).say(session, "my secret is 4711")
        for text, named, status in (
            (clients, session, 403), (whole, session, 200), (clients, "mine", 200), (clients, "mine", 200),
        ):  # fmt: skip
            asked = {"model": "tom", "messages": [{"role": "user", "content": f"{status} again"}]}
            asked["metadata"] = {"conversation_id": named}
            got, answer = await agent.client(text).ask("POST", "/v1/chat/completions", asked)
            assert got == status, answer
            assert (b"4711" in llm.requests[-1].body) == (text == whole or status == 403)
