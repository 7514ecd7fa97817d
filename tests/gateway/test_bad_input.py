"""Requests that are none, too large, too slow, or for somebody else (bad inputs I5, I10, I13)."""

import asyncio
import contextlib
import io
import json
import ssl

import pytest

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /health HTTP/1.1", "Host: evil.example"], 421),
        (["GET /health HTTP/1.1"], 421),
        (["GET /health HTTP/1.1", "Host: localhost", "Host: evil.example"], 421),
        (["GET https://evil.example/health HTTP/1.1", "Host: localhost"], 200),
        (["GET /health HTTP/1.1", "Host: localhost", *[f"X-{n}: 1" for n in range(10_000)]], 431),
        (["GET /health HTTP/1.1", "Host: localhost", "Cookie: " + "a=b; " * 30_000], 431),
        (["GET /" + "a" * 100_000 + " HTTP/1.1", "Host: localhost"], 414),
        (["POST /login HTTP/1.1", "Host: localhost", "Content-Length: 3", "Transfer-Encoding: chunked"], 400),
        (["POST /login HTTP/1.1", "Host: localhost", "Content-Length: 3", "Content-Length: 4"], 400),
        (["POST /login HTTP/1.1", "Host: localhost", "Content-Length: -1"], 400),
        (["GET /health HTTP/1.1", "Host : localhost"], 400),
        (["GET /health HTTP/1.1", "Host: local\x00host"], 400),
        (["GET /health HTTP/3.9", "Host: localhost"], 400),
        (["NONSENSE"], 400),
        (["\x16\x03\x01"], 400),
    ],
)
async def test_what_is_wrong_is_refused_with_one_clear_answer(door, lines, status):
    answer = await door.raw(request(*lines, *(["Connection: close"] if status in {200, 421} else [])))
    assert status_of(answer) == status
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nx-request-id: " in head.lower()
    assert json.loads(body)["status"] in {"ERROR", "ok"}
    async with door.stranger().get("/health") as other:
        assert other.status == 200


async def test_a_wrong_host_is_told_in_the_contracts_words(door):
    async with door.stranger().get("/tasks", headers={"Host": "evil.example"}) as answer:
        body = await answer.json()
        assert (answer.status, body["status"], body["message"]) == (421, "ERROR", "Unknown host")
    async with door.stranger().get("/sessions", headers={"Host": "evil.example"}) as answer:
        assert (await answer.json())["error"] == {"code": "wrong_host", "message": "Unknown host"}


async def test_many_and_strange_cookies_are_nobody(door):
    for cookies in (
        "__Host-tom=" + "x" * 5000,
        "; ".join(["__Host-tom=" + "A" * 43] * 300),
        "__Host-tom",
        "=;=;;",
        "\xff=\xff",
    ):
        headers = {"Cookie": cookies.encode("latin-1").decode("latin-1")}
        async with door.stranger(**headers).get("/tasks") as answer:
            assert answer.status == 401


async def test_a_header_without_end_is_cut_off_at_its_limit(door):
    async with asyncio.timeout(10):
        assert status_of(await door.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 80_000)) == 431


async def test_a_head_that_does_not_end_is_cut(door, monkeypatch):
    monkeypatch.setattr("tom.limits.boundedhttp.HEAD_SECONDS", 0.2)
    for beginning in (b"", b"GET / HTTP/1.1\r\nHost: local"):
        async with asyncio.timeout(5):
            assert await door.raw(beginning) == b""


async def test_a_body_that_does_not_come_is_408(door, monkeypatch):
    monkeypatch.setattr("tom.gateway.request.BODY_SECONDS", 0.2)
    lines = ["POST /login HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 50"]
    reader, writer = await asyncio.open_connection("localhost", door.port, ssl=door.context)
    writer.write(request(*lines, body=b'{"username"'))
    async with asyncio.timeout(5):
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 408
    writer.close()


async def test_a_connection_whose_request_was_answered_before_its_end_is_closed(door):
    lines = ["POST /login HTTP/1.1", "Host: localhost", "Content-Type: text/plain", "Content-Length: 50000"]
    async with asyncio.timeout(10):
        answer = await door.raw(request(*lines, body=b"x" * 10))
    assert status_of(answer) == 413
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("bound", ["MOST_PER_ADDRESS", "MOST_CONNECTIONS"])
async def test_connections_beyond_their_number_are_closed_and_open_sockets_are_none_of_them(
    door, monkeypatch, until, bound
):
    cookie = await door.log_in("alice")
    await door.close()
    connections = door.gateway._parts.servers[0]._state.connections
    await until(lambda: not connections)
    monkeypatch.setattr(f"tom.gateway.serving.{bound}", 1)
    async with door.socket(cookie) as socket:
        _, held = await asyncio.open_connection("localhost", door.port, ssl=door.context)
        await until(lambda: len(connections) == 2)
        with contextlib.suppress(OSError, ssl.SSLError):
            assert await door.raw(request("GET /health HTTP/1.1", "Host: localhost")) == b""
        await socket.send("still here")
        assert await socket.recv() == "alice: still here"
        held.close()
        await until(lambda: len(connections) == 1)
        answer = await door.raw(request("GET /health HTTP/1.1", "Host: localhost", "Connection: close"))
        assert status_of(answer) == 200


async def test_a_query_with_too_many_fields_is_400(door):
    async with door.stranger().get("/auth?" + "a=1&" * 200) as answer:
        assert answer.status == 400


async def test_pipelined_requests_are_answered_in_order(door):
    one = request("GET /health HTTP/1.1", "Host: localhost")
    two = request("GET /nowhere HTTP/1.1", "Host: localhost", "Connection: close")
    answer = await door.raw(one + two)
    first, second = answer.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"404")


async def test_a_token_in_the_query_opens_nothing(door):
    cookie = await door.log_in("alice")
    async with door.stranger().get(f"/tasks?token={cookie}&access_token={cookie}") as answer:
        assert answer.status == 401


async def test_the_loopback_listener_has_a_cookie_of_its_own(opened, free_port):
    import socket

    import aiohttp

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listen = {"host": "127.0.0.1", "port": free_port, "loopback_http": f"127.0.0.1:{port}"}
    async with (
        opened(**{"global": {"listen": listen}}),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=aiohttp.DummyCookieJar()) as plain,
    ):
        form = {"username": "alice", "password": "correct horse battery"}
        async with plain.post("/login", json=form) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert cookie.startswith("tom_login=")
            assert "Secure" not in cookie
        value = cookie.partition(";")[0]
        async with plain.get("/tasks", headers={"Cookie": value}) as answer:
            assert answer.status == 200
        async with plain.get("/tasks", headers={"Cookie": value.replace("tom_login", "__Host-tom")}) as answer:
            assert answer.status == 401
        async with plain.get("/tasks", headers={"Cookie": value, "Host": "evil.example"}) as answer:
            assert answer.status == 421
        origin = {"Origin": f"http://127.0.0.1:{port}", "Cookie": value}
        async with plain.post("/reset", headers=origin) as answer:
            assert answer.status == 200
        async with plain.post("/reset", headers={**origin, "Origin": f"https://127.0.0.1:{port}"}) as answer:
            assert answer.status == 403


async def test_an_answer_that_leaves_a_body_unread_says_that_the_connection_ends(door):
    lines = ["POST /login HTTP/1.1", "Host: localhost", "Content-Type: text/plain", "Content-Length: 50000"]
    async with asyncio.timeout(10):
        answer = await door.raw(request(*lines, body=b"x" * 10))
        assert status_of(answer) == 413
        assert b"\r\nconnection: close\r\n" in answer.lower()
        lines = ["POST /login HTTP/1.1", "Host: localhost", "Content-Type: text/plain", "Content-Length: 10"]
        after = request("GET /health HTTP/1.1", "Host: localhost", "Connection: close")
        first, second = (await door.raw(request(*lines, body=b"x" * 10) + after)).split(b"HTTP/1.1 ")[1:]
        assert (first[:3], second[:3]) == (b"415", b"200")
        assert b"connection:" not in first.lower()


async def test_a_client_that_keeps_connections_loses_no_request_after_one_that_was_too_large(door):
    alice = await door.person("alice")
    async with asyncio.timeout(10):
        for _ in range(6):
            async with alice.post("/process", data=io.BytesIO(b"x" * 1_100_000), headers=JSON) as answer:
                assert (answer.status, await answer.read() != b"") == (413, True)
            async with alice.post("/reset", json={}) as answer:  # a client does not send this again by itself
                assert answer.status == 200


async def test_connections_by_way_of_a_trusted_proxy_are_not_one_clients(opened, monkeypatch):
    monkeypatch.setattr("tom.gateway.serving.MOST_PER_ADDRESS", 1)
    settings = {"global": {"trusted_proxies": ["127.0.0.1", "::1"]}}
    for more, taken in ((settings, True), ({}, False)):
        async with opened(**more) as door:
            _, held = await asyncio.open_connection("localhost", door.port, ssl=door.context)
            answer = b""
            with contextlib.suppress(OSError, ssl.SSLError):
                answer = await door.raw(request("GET /health HTTP/1.1", "Host: localhost", "Connection: close"))
            assert answer.startswith(b"HTTP/1.1 200") is taken
            held.close()


@pytest.mark.parametrize("path", ["/sessions", "/prompts/", "/v1/models", "/ws/ticket"])
async def test_what_is_no_request_to_the_chat_door_is_told_in_its_words(door, path):
    answer = await door.raw(request(f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: x"))
    assert status_of(answer) == 400
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"
