"""WebSockets through the gateway: bytes as they are, closes passed on, ended with the login."""

import asyncio
import os
import struct
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(params=["uvloop", pytest.param("asyncio", marks=pytest.mark.slow)])
def anyio_backend(request):
    """The product runs on uvloop; both loops must do."""
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


async def closed(socket):
    """The code and reason with which the other side closes."""
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code, socket.close_reason


async def refused(door, *arguments, **options):
    with pytest.raises(InvalidStatus) as caught:
        async with door.socket(*arguments, **options):
            pass
    return caught.value.response


async def test_text_and_binary_frames_of_any_size_pass_both_ways(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie, max_size=None) as socket:
        for size in (0, 1, 125, 126, 127, 65_535, 65_536, 3_000_000):
            content = os.urandom(size)
            await socket.send(content)
            assert await socket.recv() == content
        await socket.send("grüße")
        assert await socket.recv() == "alice: grüße"
        await socket.send(["in ", "pieces"])
        assert await socket.recv() == "alice: in pieces"


async def test_pings_are_answered_by_the_agent(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        pong = await socket.ping(b"1234")
        async with asyncio.timeout(5):
            await pong


@pytest.mark.parametrize("code", [1000, 1011, 1013, 4400, 4429])
async def test_the_agents_close_code_reaches_the_client(door, code):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        await socket.send(f"close {code}")
        assert await closed(socket) == (code, "as told")


async def test_the_clients_close_reaches_the_agent(door, until):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        await socket.send("hello")
        await socket.recv()
        agent = door.agents.by_user["alice"]
        assert agent.streams == 1
    await until(lambda: agent.streams == 0)


async def test_a_client_that_vanishes_is_noticed_by_the_agent(door, until):
    cookie = await door.log_in("alice")
    socket = await door.socket(cookie)
    agent = door.agents.by_user["alice"]
    await until(lambda: agent.streams == 1)
    socket.transport.abort()
    await until(lambda: agent.streams == 0)


@pytest.mark.promise("P18")
async def test_logging_out_closes_open_sockets_with_4401_within_a_second(door):
    cookie = await door.log_in("alice")
    other = await door.log_in("alice")
    async with door.socket(cookie) as first, door.socket(cookie) as second, door.socket(other) as third:
        for socket in (first, second, third):
            await socket.send("hello")
            await socket.recv()
        began = time.monotonic()
        headers = {"X-Tom-Client": "test"}
        async with door.stranger(Cookie=f"__Host-tom={cookie}").post("/logout", json={}, headers=headers) as answer:
            assert answer.status == 200
        assert (await closed(first))[0] == 4401
        assert (await closed(second))[0] == 4401
        assert time.monotonic() - began < 1
        await third.send("still here")
        assert await third.recv() == "alice: still here"
    assert (await refused(door, cookie)).status_code == 401


@pytest.mark.promise("P18")
async def test_a_new_password_closes_sockets_too(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        await door.gateway._parts.accounts.set_password("alice", "another long password")
        assert (await closed(socket))[0] == 4401


async def test_a_logout_during_a_burst_ends_between_two_frames(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie, max_queue=None) as socket:
        await socket.send("burst 2000")
        await socket.recv()
        alice = door.stranger(Cookie=f"__Host-tom={cookie}")
        async with alice.post("/logout", json={}, headers={"X-Tom-Client": "x"}):
            pass
        assert (await closed(socket))[0] == 4401


async def test_a_dead_agent_closes_the_socket_with_1012_and_is_there_again(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        await socket.send("hello")
        await socket.recv()
        await door.agents.crash("alice")
        assert (await closed(socket))[0] == 1012
    async with door.socket(cookie) as socket:
        await socket.send("again")
        assert await socket.recv() == "alice: again"
    assert door.agents.starts == ["alice", "alice"]


async def test_a_gateway_that_stops_closes_sockets_with_1012(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie) as socket:
        await socket.send("hello")
        await socket.recv()
        door.gateway.stop()
        assert (await closed(socket))[0] == 1012


async def test_no_or_a_bad_credential_is_401_before_the_upgrade(door):
    for cookie in (None, "A" * 43, "x"):
        response = await refused(door, cookie)
        assert response.status_code == 401
        assert b'"code":"authentication_required"' in response.body
        assert response.headers["X-Request-ID"]
        assert response.headers["Content-Security-Policy"]
    assert door.agents.starts == [], "nothing was started for a stranger"


async def test_only_one_path_is_a_socket_and_only_as_an_upgrade(door):
    cookie = await door.log_in("alice")
    assert (await refused(door, cookie, path="/tasks")).status_code == 404
    assert (await refused(door, cookie, path="/ws/chat/")).status_code == 404
    alice = await door.person("alice")
    async with alice.get("/ws/chat") as answer:
        assert answer.status == 426


async def test_an_unknown_host_is_refused_before_the_upgrade(door):
    cookie = await door.log_in("alice")
    response = await refused(door, cookie, headers={"Host": "evil.example", "X-Tom-Client": "x"})
    assert response.status_code == 421
    assert b'"code":"wrong_host"' in response.body


async def test_the_agent_is_told_who_by_the_gateway_only(door):
    cookie = await door.log_in("alice")
    headers = {
        "X-Tom-Client": "x", "X-Tom-User": "bob", "X-Tom-Agent-Secret": "guess", "X-Forwarded-For": "1.2.3.4",
        "Authorization": "Basic eDp5", "X-Request-ID": "mine.1",
    }  # fmt: skip
    async with door.socket(
        cookie, path="/ws/chat?frames=plain", headers=headers, subprotocols=["tom.chat.v1"]
    ) as socket:
        assert socket.subprotocol == "tom.chat.v1"
        assert socket.response.headers["X-Request-ID"] == "mine.1"
        (told,) = door.agents.by_user["alice"].seen
    sent = dict(told["headers"])
    assert told["query"] == "frames=plain"
    assert sent["x-tom-user"] == "alice"
    assert sent["x-tom-door"] == "cookie"
    assert sent["x-tom-agent-secret"] == door.agents.by_user["alice"].secret
    assert sent["x-request-id"] == "mine.1"
    names = [name for name, _ in told["headers"]]
    assert len(names) == len(set(names))
    assert not {"cookie", "authorization", "x-forwarded-for", "x-tom-client", "sec-websocket-extensions"} & set(names)


async def test_compression_is_never_agreed(door):
    cookie = await door.log_in("alice")
    async with door.socket(cookie, compression="deflate") as socket:
        assert socket.response.headers.get("Sec-WebSocket-Extensions") is None
        await socket.send("x" * 1000)
        assert await socket.recv() == "alice: " + "x" * 1000


async def test_what_the_agent_refuses_is_answered_as_it_said(door):
    cookie = await door.log_in("alice")
    response = await refused(door, cookie, path="/ws/chat?refuse=1")
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "3"
    assert b"rate_limited" in response.body
    assert response.headers["X-Request-ID"]


async def test_an_agent_that_cannot_start_is_503_before_the_upgrade(door):
    cookie = await door.log_in("alice")
    door.agents.failing = 1
    response = await refused(door, cookie)
    assert response.status_code == 503
    assert b'"code":"agent_unavailable"' in response.body
    assert int(response.headers["Retry-After"]) >= 1


async def test_two_people_reach_their_own_agents(door):
    async with door.socket(await door.log_in("alice")) as alice, door.socket(await door.log_in("bob")) as bob:
        await alice.send("1")
        await bob.send("2")
        assert await alice.recv() == "alice: 1"
        assert await bob.recv() == "bob: 2"


async def test_a_reader_that_does_not_read_stops_the_agent_and_nobody_else(door):
    cookie = await door.log_in("alice")
    count = 30_000
    async with door.socket(cookie, max_queue=1) as slow, door.socket(cookie) as quick:
        await slow.send(f"burst {count}")
        agent = door.agents.by_user["alice"]
        before, still = -1, 0
        while still < 50:
            still = still + 1 if agent.sent == before and before > 0 else 0
            before = agent.sent
            assert before < count, "what is not read must not be piled up on the way"
            await quick.send("hi")
            async with asyncio.timeout(5):
                assert await quick.recv() == "alice: hi"
        for number in range(count):
            async with asyncio.timeout(20):
                assert (await slow.recv()).startswith(f"{number} ")


def frame(opcode, payload, *, fin=True):
    mask = b"\x01\x02\x03\x04"
    head = (
        bytes([opcode | (0x80 if fin else 0), 0x80 | len(payload)])
        if len(payload) < 126
        else (bytes([opcode | (0x80 if fin else 0), 0x80 | 126]) + struct.pack("!H", len(payload)))
    )
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


async def test_bytes_that_are_no_frames_end_that_socket_only(door):
    cookie = await door.log_in("alice")
    head = (
        f"GET /ws/chat HTTP/1.1\r\nHost: localhost:{door.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Tom-Client: x\r\n"
        f"Cookie: __Host-tom={cookie}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("localhost", door.port, ssl=door.context)
    writer.write(head)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    writer.write(frame(0x1, b"split")[:3])
    await writer.drain()
    writer.write(frame(0x1, b"split")[3:])
    async with asyncio.timeout(10):
        assert b"alice: split" in await reader.read(100)
    writer.write(b"\xff" * 50)
    async with asyncio.timeout(10):
        rest = await reader.read()
    assert rest[:1] == b"\x88"
    assert struct.unpack("!H", rest[2:4])[0] == 1002
    writer.close()
    async with door.socket(cookie) as socket:
        await socket.send("fine")
        assert await socket.recv() == "alice: fine"


async def test_a_handshake_that_is_none_is_refused(door):
    cookie = await door.log_in("alice")
    answer = await door.raw(
        f"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"X-Tom-Client: x\r\nCookie: __Host-tom={cookie}\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 400")


async def test_the_answer_to_a_handshake_is_made_anew(door, imposter):
    cookie = await door.log_in("alice")
    head = (
        b"HTTP/1.1 101 Switching\r\nUpgrade: other\r\nConnection: Upgrade, X-A\r\nSet-Cookie: a=b\r\nX-A: 1\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: evil\nX-B: 1\r\n"
    )
    asking = (
        f"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Tom-Client: x\r\n"
        f"Sec-WebSocket-Protocol: good\r\nCookie: __Host-tom={cookie}\r\n\r\n"
    ).encode()
    await imposter(door, head + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", end=False)
    reader, writer = await asyncio.open_connection("localhost", door.port, ssl=door.context)
    writer.write(asking)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert not any(word in answer.lower() for word in (b"x-a", b"x-b", b"evil", b"deflate", b"set-cookie", b"other"))


@pytest.mark.slow
async def test_an_agent_that_switches_without_a_handshake_is_502(door, imposter):
    cookie = await door.log_in("alice")
    await imposter(door, b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: a\nX-B: 1\r\n\r\n")
    response = await refused(door, cookie)
    assert response.status_code == 502
