"""How a socket is opened at an agent alone, how many there may be, and what closes one."""

import asyncio
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tom.agent import websocket
from tom.agent.inbox import Inbox
from tom.config.agent import RateSettings
from tom.services.memory import MemoryToolbox
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

UNKNOWN = "tom_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "x" * 43
SHOP = "https://shop.example"


def said(action, request_id="r", **payload):
    return json.dumps({"action": action, "request_id": request_id, "payload": payload})


async def until_frame(socket, *statuses):
    async with asyncio.timeout(10):
        while True:
            frame = json.loads(await socket.recv())
            if frame["status"] in statuses:
                return frame


async def opening(agent, path="/ws/chat", **options):
    """101 and the subprotocol, or the status and code of the refusal."""
    try:
        async with agent.socket(path, **options) as socket:
            await socket.send(said("ping"))
            assert json.loads(await socket.recv())["status"] == "pong"
            return 101, socket.subprotocol
    except InvalidStatus as refused:
        body = json.loads(refused.response.body)
        assert body["request_id"] == refused.response.headers["X-Request-ID"]
        return refused.response.status_code, body["error"]["code"]


async def closing(socket, *sent):
    """The code and the reason with which the agent closes after these frames."""
    with pytest.raises(ConnectionClosed) as closed:
        async with asyncio.timeout(10):
            for frame in sent:
                await socket.send(frame)
            while True:
                await socket.recv()
    return closed.value.rcvd.code, closed.value.rcvd.reason


OPENINGS = {
    ("local", ()): [
        ({}, (101, None)),
        ({"Origin": "own"}, (101, None)),
        ({"Origin": SHOP}, (403, "origin_not_allowed")),
        ({"Origin": "https://own"}, (403, "origin_not_allowed")),
        ({"Origin": "null"}, (403, "origin_not_allowed")),
        ({"Host": "evil.example"}, (421, "wrong_host")),
    ],
    ("local", (SHOP,)): [
        ({"Origin": SHOP}, (101, None)),
        ({"Origin": SHOP + ".evil.example"}, (403, "origin_not_allowed")),
    ],
    ("local", ("*",)): [
        ({"Origin": SHOP}, (101, None)),
        ({"Origin": "null"}, (403, "origin_not_allowed")),
    ],
    ("local", ("null",)): [
        ({"Origin": "null"}, (101, None)),
    ],
    ("token", ()): [
        ({}, (401, "authentication_required")),
        ({"Cookie": "__Host-tom=" + "A" * 43, "X-Tom-Client": "x"}, (401, "authentication_required")),
        ({"Authorization": f"Bearer {UNKNOWN}"}, (401, "invalid_token")),
        ({"Authorization": "chat"}, (101, None)),
        ({"X-API-Key": "chat"}, (101, None)),
        ({"Authorization": "chat", "X-API-Key": "read"}, (401, "conflicting_credentials")),
        ({"Authorization": "read"}, (403, "scope_missing")),
        ({"Authorization": "chat", "Origin": SHOP}, (403, "origin_not_allowed")),
    ],
    ("token", (SHOP,)): [
        ({"Authorization": "chat", "Origin": SHOP}, (101, None)),
    ],
    ("public", ()): [
        ({}, (101, None)),
        ({"Origin": SHOP}, (403, "origin_not_allowed")),
        ({"Authorization": f"Bearer {UNKNOWN}"}, (401, "invalid_token")),
    ],
}
"""Mode and listed origins: what is sent with an upgrade, and the answer. A scope stands for a token that has it."""


@pytest.mark.parametrize("place", OPENINGS)
async def test_who_may_open_a_socket(open_alone, place):
    auth, listed = place
    async with open_alone(auth, allow_origins=listed) as agent:
        tokens = {scope: (await agent.token(scope))[1] for scope in ("chat", "read")}
        for headers, expected in OPENINGS[place]:
            sent = dict(headers)
            if sent.get("Authorization") in tokens:
                sent["Authorization"] = f"Bearer {tokens[sent['Authorization']]}"
            if sent.get("X-API-Key") in tokens:
                sent["X-API-Key"] = tokens[sent["X-API-Key"]]
            if "Origin" in sent:
                own = f"127.0.0.1:{agent.port}"
                sent["Origin"] = f"http://{own}" if sent["Origin"] == "own" else sent["Origin"].replace("own", own)
            assert await opening(agent, headers=sent) == expected, headers


async def test_a_ticket_opens_one_socket(open_alone):
    async with open_alone("token", allow_origins=(SHOP,)) as agent:
        token, text = await agent.token("chat")

        async def ticket():
            status, answer = await agent.client(text, Origin=SHOP).ask("POST", "/ws/ticket", {})
            assert (status, answer["expires_in"]) == (200, 30)
            return ["tom.chat.v1", f"tom.ticket.{answer['ticket']}"]

        page, refused = {"Origin": SHOP}, (401, "invalid_token")
        protocols = await ticket()
        assert await opening(agent, headers=page, subprotocols=protocols) == (101, "tom.chat.v1")
        assert await opening(agent, headers=page, subprotocols=protocols) == refused
        assert await opening(agent, headers=page, subprotocols=["tom.chat.v1", "tom.ticket.x"]) == refused
        _, other = await agent.token("chat")
        protocols = await ticket()
        assert (await opening(agent, token=other, subprotocols=protocols))[1] == "conflicting_credentials"
        protocols = await ticket()
        async with agent.socket(headers=page, subprotocols=protocols) as socket:
            await socket.send(said("ping"))
            await socket.recv()
            await agent.file.tokens.revoke("alice", token.id)
            assert await closing(socket) == (4401, "Login or token ended")


async def test_only_one_subprotocol_is_spoken(open_alone):
    async with open_alone("local") as agent:
        for offered, agreed in ((["tom.chat.v1"], "tom.chat.v1"), (["graphql-ws"], None), (None, None)):
            assert await opening(agent, subprotocols=offered) == (101, agreed)


async def test_beyond_the_greatest_numbers_a_socket_is_accepted_and_closed(open_alone):
    limits = {"max_connections": 3, "max_connections_per_user": 2}
    async with open_alone("local", **limits) as agent, agent.socket(), agent.socket() as second:
        async with agent.socket() as third:
            assert await closing(third) == (1013, "Too many connections for this user")
        await second.close()
        assert await opening(agent) == (101, None)


async def test_visitors_are_told_apart_by_their_address(open_alone):
    doors = {"trusted_proxies": ("127.0.0.1",)}
    async with open_alone("public", max_connections=3, max_connections_per_user=2, doors=doors) as agent:
        one, two, three = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2, 3))
        async with agent.socket(headers=one), agent.socket(headers=one):
            async with agent.socket(headers=one) as third:
                assert await closing(third) == (1013, "Too many connections for this user")
            async with agent.socket(headers=two), agent.socket(headers=three) as fourth:
                assert await closing(fourth) == (1013, "Server at maximum capacity")


async def test_upgrades_are_counted_and_refused_by_http(open_alone):
    async with open_alone("local", doors={"rates": RateSettings(rps=0.001, burst=2)}) as agent:
        assert [(await opening(agent))[0] for _ in range(2)] == [101, 101]
        with pytest.raises(InvalidStatus) as refused:
            async with agent.socket():
                pass
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        body = json.loads(refused.value.response.body)
        assert (body["error"], body.keys()) == ("rate_limited", {"error", "retry_after"})


ABUSES = [
    (["no json"] * 20, 4400),
    (["[1]"] * 20, 4400),
    ([b"binary"], 1003),
    (["x" * 70_000], 1009),
    ([said("ping")] * 60, 4429),
]


async def test_what_breaks_the_protocol_closes_the_socket(open_alone):
    async with open_alone("local", max_message_size=65_536) as agent:
        for frames, code in ABUSES:
            async with agent.socket() as socket:
                assert (await closing(socket, *frames))[0] == code


async def test_nineteen_bad_frames_and_a_good_one_begin_the_count_anew(open_alone):
    async with open_alone("local") as agent, agent.socket() as socket:
        for _ in range(2):
            for _ in range(19):
                await socket.send("no json")
            await socket.send(said("ping"))
            assert (await until_frame(socket, "pong"))["request_id"] == "r"


async def test_a_client_that_answers_no_ping_is_closed(open_alone):
    async with open_alone("local", ping_interval=0.1, ping_timeout=0.2) as agent:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
        writer.write(
            f"GET /ws/chat HTTP/1.1\r\nHost: localhost:{agent.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\n\r\n")
            frames = await reader.read()
        writer.close()
        at = frames.rindex(b"\x88")
        assert int.from_bytes(frames[at + 2 : at + 4]) == 1011


async def test_compression_is_never_agreed(open_alone):
    async with open_alone("local") as agent, agent.socket(compression="deflate") as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.mark.promise("P18")
async def test_each_message_is_looked_at_for_whether_its_sender_may_still_be_here(open_alone):
    clock = ManualClock()
    async with open_alone("token", clock=clock) as agent:
        _, text = await agent.token("chat", days=1)
        async with agent.socket(token=text) as socket:
            await socket.send(said("ping"))
            assert (await until_frame(socket, "pong"))["request_id"] == "r"
            clock.advance(86_400)
            assert await closing(socket, said("ping")) == (4401, "Login or token ended")


# --- what is slow on one socket ----------------------------------------------------------------------------------


class SlowNotes(MemoryToolbox):
    """A service whose resources take as long as the test wants."""

    def __init__(self):
        super().__init__()
        self.asked, self.release = asyncio.Event(), asyncio.Event()

    async def read(self, service, uri, *, timeout=None):
        self.asked.set()
        await self.release.wait()
        return await super().read(service, uri, timeout=timeout)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("queued", [False, True])
async def test_a_stop_does_not_wait_for_the_attachment_of_a_message_before_it(open_alone, llm, queued):
    slow = SlowNotes()
    slow.add_resource("memo:///a", "a note", service="notes")
    llm.reply(Script.text("word " * 200, delay=0.05), Script.text("the second"))
    async with open_alone("local", toolbox=slow, services=["notes"]) as agent, agent.socket() as socket:
        await socket.send(said("chat", "r1", text="tell", conversation_id="c1"))
        await until_frame(socket, "chunk")
        attached = [{"type": "resource", "service": "notes", "uri": "memo:///a"}]
        await socket.send(said("chat", "r2", text="and this", conversation_id="c1", attachments=attached))
        await asyncio.wait_for(slow.asked.wait(), 5)
        began = time.monotonic()
        await socket.send(said("stop", "r3", conversation_id="c1", queued=queued))
        frames = {}
        async with asyncio.timeout(5):
            while "r1" not in frames:
                frame = json.loads(await socket.recv())
                if frame["status"] == "complete":
                    frames[frame["request_id"]] = frame
        assert time.monotonic() - began < 1
        assert frames["r1"]["metadata"]["finish_reason"] == "cancelled"
        slow.release.set()
        async with asyncio.timeout(10):
            while not {"r1", "r2", "r3"} <= frames.keys():
                frame = json.loads(await socket.recv())
                if frame["status"] in {"complete", "error"}:
                    frames[frame["request_id"]] = frame
        assert frames["r3"]["metadata"]["result"] == "stopped"
        assert frames["r2"]["metadata"]["finish_reason"] == ("cancelled" if queued else "stop")


async def test_what_was_sent_before_the_client_left_is_carried_out(open_alone, llm):
    llm.reply(Script.text("one"), Script.text("two"))
    async with open_alone("local") as agent:
        async with agent.socket() as socket:
            for number in (1, 2):
                await socket.send(said("chat", f"r{number}", text="hello", conversation_id=f"c{number}"))
        async with asyncio.timeout(10):
            while len(await agent.cell.store.conversations(limit=10)) < 2:
                await asyncio.sleep(0.01)


async def test_a_socket_reads_no_further_than_it_can_hold():
    carried, going = [], asyncio.Event()

    async def carry_out(text):
        await going.wait()
        carried.append(text)

    async def overtake(_text):
        return False

    inbox = Inbox(carry_out, overtake)
    working = asyncio.ensure_future(inbox.work())
    taken = 0
    with pytest.raises(TimeoutError):
        while taken < 100:
            await asyncio.wait_for(inbox.take(str(taken)), 0.2)
            taken += 1
    assert taken < 33
    going.set()
    await asyncio.wait_for(inbox.empty(), 1)
    assert carried == [str(number) for number in range(taken + 1)]
    working.cancel()
    await asyncio.wait([working])


def test_places_are_given_back():
    count = websocket.SocketCount()
    from tom.policy.permissions import VISITOR_SCOPES, Caller

    visitors = [Caller("local", "visitor", VISITOR_SCOPES, "", address) for address in ("2001:db8::1", "2001:db8::2")]
    assert count.join(visitors[0], most=2, most_each=1) == ""
    assert count.join(visitors[1], most=2, most_each=1) == websocket.TOO_MANY, "one household"
    count.leave(visitors[0])
    assert count.open == 0
    assert count.join(visitors[1], most=2, most_each=1) == ""


# --- subscriptions -----------------------------------------------------------------------------------------------


async def test_a_look_back_does_not_end_a_subscription(open_alone, llm):
    llm.reply(Script.text("one"), Script.text("two"))
    async with open_alone("local") as agent, agent.socket() as socket, agent.socket() as other:
        await other.send(said("chat", "r1", text="hello", conversation_id="c1"))
        await until_frame(other, "complete")
        await socket.send(said("subscribe", "s", conversation_id="c1"))
        await until_frame(socket, "complete")
        await socket.send(said("resume", "l", conversation_id="c1", live=False))
        await until_frame(socket, "complete")
        await other.send(said("chat", "r2", text="again", conversation_id="c1"))
        assert (await until_frame(socket, "event"))["event"]["type"] == "message.received"
