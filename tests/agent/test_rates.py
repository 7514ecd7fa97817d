"""How often a caller may ask an agent: what counts, for whom, and how the refusal is worded at each door."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.identify import AtThisMachine, BehindGateway
from tom.agent.serving import make_server
from tom.config.agent import DoorSettings, RateSettings
from tom.config.secret import Secret
from tom.errors import RateLimited
from tom.openapi.operations import OPERATIONS, Rate, operation
from tom.policy.permissions import LOGIN_SCOPES, VISITOR_SCOPES, Caller
from tom.testing.manual_clock import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECRET = "the agent's own secret"
RATES = RateSettings(rps=0.5, burst=2, read_rps=20.0, read_burst=4)
ANNA = Caller("alice", "cookie", LOGIN_SCOPES, "user:alice", "192.0.2.1")
SEND = operation("POST", "/sessions/{session_id}/messages")
READ = operation("GET", "/sessions")
REFUSED = {"error": "rate_limited", "retry_after": 2.0}


@pytest.fixture
def open_door(open_cell):
    """``async with open_door(alone=…) as (http, cell, clock)``: an agent over HTTP that counts, by a clock that stands still."""

    @asynccontextmanager
    async def open_one(*, alone=True, headers=None, rates=RATES, **more):
        clock = ManualClock()
        settings = {"doors": DoorSettings(rates=rates), "agent_secret": Secret("" if alone else SECRET), **more}
        async with open_cell(clock=clock, more=settings) as cell:
            door = AtThisMachine() if alone else BehindGateway("alice", Secret(SECRET))
            told = {} if alone else {"X-Tom-User": "alice", "X-Tom-Door": "cookie", "X-Tom-Agent-Secret": SECRET}
            listening = socket.create_server(("127.0.0.1", 0))
            server = make_server(AgentApp(cell, door), cell)
            cell.ready = True
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with aiohttp.ClientSession(url, headers=told | (headers or {})) as http:
                    yield http, cell, clock
            finally:
                server.should_exit = True
                await serving
                listening.close()

    return open_one


async def answer(response):
    async with response as given:
        return given.status, json.loads(await given.text() or "null"), given.headers


async def say(ws, action, request_id, **payload):
    await ws.send_json({"action": action, "request_id": request_id, "payload": payload})
    while True:
        frame = await ws.receive_json(timeout=10)
        if frame.get("request_id") == request_id and frame["status"] in {"accepted", "complete", "error", "pong"}:
            return frame


# --- what is charged ---------------------------------------------------------------------------------------------


async def passes(cell, caller, what):
    try:
        await cell.rates.admit(caller, what)
    except RateLimited:
        return False
    return True


async def test_callers_behind_the_gateway_are_counted_by_their_key_and_not_by_their_address(open_door):
    async with open_door(alone=False) as (_, cell, _clock):
        assert [await passes(cell, ANNA, SEND) for _ in range(3)] == [True, True, False]
        token = Caller("alice", "token", LOGIN_SCOPES, "api_key:" + "0" * 64, ANNA.address)
        assert [await passes(cell, token, SEND) for _ in range(3)] == [True, True, False]


async def test_actions_of_sockets_behind_the_gateway_count_for_their_address_too(open_door):
    async with open_door(alone=False) as (_, cell, _clock):
        callers = [Caller("alice", "token", LOGIN_SCOPES, f"api_key:{number}", "2001:db8::1") for number in range(3)]
        assert [await passes(cell, caller, None) for caller in callers] == [True, True, False]
        assert await passes(cell, callers[2], SEND), "a bucket of its own, and nothing was charged for the refusal"


@pytest.mark.parametrize("action", [True, False])
async def test_an_agent_alone_counts_key_and_address(open_door, action):
    what = None if action else SEND
    async with open_door() as (_, cell, _clock):
        callers = [Caller("local", "token", LOGIN_SCOPES, f"api_key:{number}", "192.0.2.1") for number in range(3)]
        assert [await passes(cell, caller, what) for caller in callers] == [True, True, False]
        elsewhere = Caller("local", "token", LOGIN_SCOPES, "api_key:2", "192.0.2.2")
        assert await passes(cell, elsewhere, what), "the key was not charged for what its address was refused"


async def test_visitors_are_counted_by_their_address_households_as_one(open_door):
    async with open_door() as (_, cell, _clock):
        visitors = [Caller("local", "visitor", VISITOR_SCOPES, "", f"2001:db8:1:2::{number}") for number in range(3)]
        assert [await passes(cell, visitor, SEND) for visitor in visitors] == [True, True, False]
        assert await passes(cell, Caller("local", "visitor", VISITOR_SCOPES, "", "2001:db8:1:3::1"), SEND)


async def test_a_bypassed_address_is_not_counted_but_its_callers_are(open_door):
    async with open_door() as (_, cell, _clock):
        cell.rates.bypassed = lambda address: address == "192.0.2.1"
        callers = [Caller("local", "token", LOGIN_SCOPES, f"api_key:{number}", "192.0.2.1") for number in range(5)]
        assert all([await passes(cell, caller, SEND) for caller in callers])
        assert [await passes(cell, callers[0], SEND) for _ in range(2)] == [True, False]


async def test_the_operator_of_this_machine_is_not_counted_as_the_person(open_door):
    async with open_door(alone=False) as (_, cell, _clock):
        operator = Caller("alice", "control", LOGIN_SCOPES, "user:alice")
        assert all([await passes(cell, operator, what) for what in (SEND, READ, None) for _ in range(10)])
        assert [await passes(cell, ANNA, SEND) for _ in range(3)] == [True, True, False]


async def test_reads_have_a_bucket_of_their_own(open_door):
    async with open_door() as (_, cell, _clock):
        assert [await passes(cell, ANNA, SEND) for _ in range(3)] == [True, True, False]
        assert [await passes(cell, ANNA, READ) for _ in range(5)] == [True, True, True, True, False]


async def test_every_operation_counts_as_its_row_says(open_door):
    async with open_door() as (_, cell, clock):
        for row in OPERATIONS:
            clock.advance(3600.0)
            expected = {Rate.WRITE: RATES.burst, Rate.READ: RATES.read_burst, Rate.NONE: 100}[row.rate]
            assert sum([await passes(cell, ANNA, row) for _ in range(100)]) == expected, row.name


async def test_nothing_is_counted_without_settings(open_door):
    async with open_door(rates=None) as (_, cell, _clock):
        assert all([await passes(cell, ANNA, SEND) for _ in range(100)])


# --- by HTTP -----------------------------------------------------------------------------------------------------


async def test_the_refusal_is_flat_and_says_when(open_door):
    async with open_door() as (http, _, clock):
        for _ in range(2):
            assert (await answer(http.post("/sessions")))[0] == 201
        status, body, headers = await answer(http.post("/sessions", headers={"X-Request-ID": "r-1"}))
        assert (status, body, headers["Retry-After"], headers["X-Request-ID"]) == (429, REFUSED, "2", "r-1")
        clock.advance(1.85)
        status, body, headers = await answer(http.post("/sessions"))
        assert (status, body["retry_after"], headers["Retry-After"]) == (429, 0.2, "1")
        clock.advance(0.15)
        assert (await answer(http.post("/sessions")))[0] == 201


async def test_the_refusal_at_the_openai_door_is_worded_for_its_clients(open_door):
    async with open_door() as (http, _, _clock):
        for _ in range(4):
            await answer(http.get("/v1/models"))
        status, body, headers = await answer(http.get("/v1/models"))
        assert (status, headers["Retry-After"]) == (429, "1")
        assert body["error"]["type"] == "rate_limit_error"
        assert body["retry_after"] == 0.1


async def test_a_refused_message_is_neither_stored_nor_queued(open_door):
    async with open_door() as (http, cell, _clock):
        session = (await answer(http.post("/sessions")))[1]["id"]
        before = (await cell.store.conversations(ids=[session]))[0].last_seq
        await answer(http.post("/sessions"))
        status, _, _ = await answer(http.post(f"/sessions/{session}/messages", json={"content": "hello"}))
        assert status == 429
        assert (await cell.store.conversations(ids=[session]))[0].last_seq == before
        assert cell.scheduler.unfinished_runs == 0


async def test_to_stop_and_to_look_after_health_is_free(open_door):
    async with open_door() as (http, _, _clock):
        session = (await answer(http.post("/sessions")))[1]["id"]
        await answer(http.post("/sessions"))
        assert (await answer(http.post("/sessions")))[0] == 429
        for _ in range(10):
            assert (await answer(http.post(f"/sessions/{session}/stop")))[0] == 200
            assert (await answer(http.get("/health")))[0] == 200


@pytest.mark.promise("P19")
async def test_a_forged_address_gains_nothing(open_door):
    async with open_door() as (http, _, _clock):
        made_up = [
            {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"} for number in range(3)
        ]
        statuses = [(await answer(http.post("/sessions", headers=headers)))[0] for headers in made_up]
        assert statuses == [201, 201, 429]


# --- by WebSocket ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False])
async def test_an_upgrade_is_refused_by_http_before_it_happens(open_door, alone):
    async with open_door(alone=alone) as (http, cell, _clock):
        for _ in range(2):
            await (await http.ws_connect("/ws/chat")).close()
        upgrade = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "X-Request-ID": "r-2",
        }  # fmt: skip
        status, body, headers = await answer(http.get("/ws/chat", headers=upgrade))
        assert (status, body, headers["Retry-After"], headers["X-Request-ID"]) == (429, REFUSED, "2", "r-2")
        assert cell.sockets.open == 0


async def test_an_action_too_many_is_answered_by_a_frame_and_nothing_is_stored(open_door, llm):
    async with open_door() as (http, cell, clock), http.ws_connect("/ws/chat") as ws:
        assert (await say(ws, "chat", "q1", text="one", conversation_id="c"))["status"] == "accepted"
        refused = await say(ws, "chat", "q2", text="two", conversation_id="c")
        assert refused["error"]["code"] == "rate_limited"
        assert refused["error"]["details"] == {"retry_after": 2.0}
        clock.advance(2.0)
        assert (await say(ws, "chat", "q2", text="two", conversation_id="c"))["status"] == "accepted"
        events = await cell.store.read("c")
        assert [event.content for event in events if event.type == "message.received"] == ["one", "two"]


async def test_pings_stops_and_resumes_are_free(open_door):
    async with open_door() as (http, _, _clock), http.ws_connect("/ws/chat") as ws:
        opened = await say(ws, "new", "n")
        conversation = opened["chunk"]["metadata"]["new_conversation_id"]
        for number in range(5):
            assert (await say(ws, "ping", f"p{number}"))["status"] == "pong"
            assert (await say(ws, "stop", f"s{number}", conversation_id=conversation))["status"] == "complete"
            assert (await say(ws, "resume", f"r{number}", conversation_id=conversation))["status"] == "complete"


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("chat", {"text": "hello"}),
        ("prompt", {"name": "notes:greet"}),
        ("retry", {"conversation_id": "c", "run_id": "r"}),
        ("approve", {"approval_id": "a", "decision": "deny", "arguments_digest": "sha256:" + "0" * 64}),
        ("answer", {"elicitation_id": "e", "outcome": "decline"}),
    ],
)
async def test_what_counts_by_http_counts_on_a_socket(open_door, action, payload):
    async with open_door() as (http, _, _clock), http.ws_connect("/ws/chat") as ws:
        assert (await say(ws, action, "q1", **payload)).get("error", {}).get("code") != "rate_limited"
        assert (await say(ws, action, "q2", **payload))["error"]["code"] == "rate_limited"


async def test_the_third_refusal_in_ten_seconds_closes_the_socket(open_door):
    async with open_door() as (http, _, _clock), http.ws_connect("/ws/chat") as ws:
        for number in range(4):
            await ws.send_json({"action": "chat", "request_id": f"q{number}", "payload": {"text": "hello"}})
        while (message := await ws.receive(timeout=10)).type not in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
            pass
        assert ws.close_code == 4429, message
