"""An agent alone and a gateway answer the same requests with the same words: each case is asked of both, and compared.

Ids, times and what is a secret are left out, and of the headers everything that is not the chat door's.
"""

import asyncio
import contextlib
import io
import json
import re
import ssl
import subprocess
import sys
from dataclasses import dataclass, field

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tom.testing.alone import Alone
from tom.testing.house import House
from tom.testing.simulated_llm import Script, SimulatedLLM

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SCOPES = ("chat", "read", "options", "openai")
HEADERS = (
    "content-type", "allow", "location", "retry-after", "www-authenticate", "x-should-retry", "x-accel-buffering",
    "preference-applied", "content-disposition",
)  # fmt: skip
JSON = {"Content-Type": "application/json"}
EVENTS = {"Accept": "text/event-stream"}
FOREIGN = {"Origin": "https://evil.example"}
FAIL = {"model": "tom", "messages": [{"role": "user", "content": "fail"}]}

LARGE = b"x" * 1_100_000

CASES = [
    ("POST", "/sessions", {"json": {"memory_limit": 3}}),
    ("POST", "/sessions", {"json": {"memory_limit": 80}}),
    ("POST", "/sessions", {"data": "{", "headers": JSON}),
    ("POST", "/sessions", {"data": "[]", "headers": JSON}),
    ("POST", "/sessions", {"data": "{}", "headers": {"Content-Type": "text/plain"}}),
    ("POST", "/sessions", {"data": LARGE, "headers": JSON}),
    ("POST", "/sessions", {"data": LARGE, "headers": {"Content-Type": "text/plain"}}),
    ("POST", "/sessions", {"headers": FOREIGN}),
    ("PUT", "/sessions", {}),
    ("OPTIONS", "/sessions", {}),
    ("TRACE", "/sessions", {}),
    ("HEAD", "/sessions", {}),
    ("PUT", "/prompts", {}),
    ("DELETE", "/usage", {}),
    ("PATCH", "/services", {}),
    ("PUT", "/sessions/{id}", {}),
    ("PUT", "/sessions/{id}", {"headers": FOREIGN}),
    ("GET", "/sessions/{id}", {}),
    ("GET", "/sessions/{id}", {"headers": {"Host": "evil.example"}}),
    ("GET", "/sessions/{id}", {"headers": {"Authorization": "Bearer nope"}}),
    ("GET", "/sessions/{id}", {"headers": {"X-API-Key": "nope"}}),
    ("GET", "/sessions/nope", {}),
    ("GET", "/sessions/a%2Fb", {}),
    ("GET", "/sessions//x", {}),
    ("GET", "/sessions/", {}),
    ("POST", "/sessions/a/b/c", {}),
    ("GET", "/sessions?limit=x", {}),
    ("GET", "/sessions?before=zz", {}),
    ("POST", "/sessions/{id}/messages", {"json": {}}),
    ("POST", "/sessions/{id}/messages", {"json": {"content": "hi", "role": "system"}}),
    ("POST", "/sessions/{id}/messages", {"json": {"content": "hi", "request_id": "e"}, "headers": EVENTS}),
    ("POST", "/sessions/{id}/messages", {"json": {"content": "fail", "request_id": "f"}}),
    ("POST", "/sessions/{id}/messages", {"json": {"content": "fail", "request_id": "f"}}),
    ("POST", "/sessions/{id}/stop", {}),
    ("POST", "/sessions/{id}/runs/x/retry", {}),
    ("GET", "/sessions/{id}/export?format=x", {}),
    ("POST", "/approvals/x", {"json": {"decision": "deny", "arguments_digest": "sha256:" + "0" * 64}}),
    ("POST", "/elicitations/x", {"json": {"outcome": "decline"}}),
    ("GET", "/v1/nope", {}),
    ("GET", "/v1/models", {}),
    ("GET", "/v1/models", {"headers": {"Authorization": "Bearer nope"}}),
    ("GET", "/v1/models/nope", {}),
    ("GET", "/v1/chat/completions", {}),
    ("POST", "/v1/chat/completions", {"json": {"model": "tom"}}),
    ("POST", "/v1/chat/completions", {"data": "{", "headers": JSON}),
    ("POST", "/v1/chat/completions", {"json": FAIL}),
    ("POST", "/v1/chat/completions", {"json": FAIL | {"stream": True}}),
    ("GET", "/admin/runtime", {}),
    ("GET", "/admin/nope", {}),
    ("PUT", "/admin/runtime", {}),
    ("GET", "/metrics?format=x", {}),
    ("POST", "/metrics", {}),
    ("PUT", "/docs", {}),
    ("DELETE", "/openapi.json", {}),
    ("GET", "/ws/chat", {}),
    ("HEAD", "/ws/chat", {}),
    ("POST", "/ws/chat", {}),
    ("GET", "/ws/nope", {}),
    ("GET", "/sessions?token=tom_" + "A" * 26 + "_" + "b" * 43, {}),
    ("DELETE", "/sessions/nope", {}),
]

RAW = [
    (b"GET /sessions?" + b"q" * 70_000 + b" HTTP/1.1", b"Host: localhost"),
    (b"GET /v1/models?" + b"q" * 70_000 + b" HTTP/1.1", b"Host: localhost"),
    (b"POST /sessions HTTP/1.1", b"Host: localhost", b"Content-Length: x"),
    (b"POST /sessions HTTP/1.1", b"Host: localhost", b"Content-Length: 3", b"Content-Length: 4"),
    (b"POST /v1/chat/completions HTTP/1.1", b"Host: localhost", b"Content-Length: -1"),
    (b"GET /sessions HTTP/1.1", b"Host: localhost", *[b"X-%d: 1" % number for number in range(200)]),
    (b"GET /sessions HTTP/1.1", b"Host : localhost"),
]

UPGRADES = [
    {},
    {"Authorization": "Bearer nope"},
    {"Authorization": "Bearer nope", "X-API-Key": "other"},
    {"Origin": "https://evil.example"},
    {"Host": "evil.example"},
]


@dataclass(eq=False)
class Side:
    """One of the two programs."""

    url: str
    token: str
    context: ssl.SSLContext | None
    session: str = ""
    http: list[aiohttp.ClientSession] = field(default_factory=list)

    async def ask(self, method, path, options, *, known):
        headers = {"Authorization": f"Bearer {self.token}"} if known else {}
        headers |= options.get("headers", {})
        rest = {name: value for name, value in options.items() if name != "headers"}
        if rest.get("data") is LARGE:
            rest["data"] = io.BytesIO(LARGE)
        url = self.url + path.replace("{id}", self.session)
        async with self.http[0].request(method, url, headers=headers, **rest) as answer:
            said = {name.lower(): value for name, value in answer.headers.items()}
            assert said.get("x-request-id"), (method, path)
            return answer.status, plain(await answer.text()), {name: plain(said.get(name, "")) for name in HEADERS}

    async def raw(self, lines):
        host, port = self.url.removeprefix("https://").removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=self.context)
        with contextlib.suppress(OSError):
            writer.write(b"\r\n".join([*lines, b"", b""]))
            await writer.drain()
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"\r\nx-request-id: " in head.lower(), answer[:200]
        return int(head.split(b" ")[1]), plain(body.decode())

    async def upgrade(self, headers):
        try:
            async with connect(
                self.url.replace("http", "ws", 1) + "/ws/chat",
                ssl=self.context, additional_headers=headers, proxy=None,
            ) as socket:  # fmt: skip
                return 101, "", bool(socket.response.headers["X-Request-ID"])
        except InvalidStatus as refused:
            said = refused.response
            return said.status_code, plain(bytes(said.body).decode()), bool(said.headers["X-Request-ID"])


def plain(text):
    """Without what differs from one request to the next, and from one person to another."""
    text = re.sub(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r'"created":\d+', '"created":0', text)
    return re.sub(r"(Internal error: )\w+", r"\1ID", text)


def token_of(directory, *more):
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    command = [sys.executable, "-m", "tom.cli.main", "token", "create", "n", *scopes, *more, "--json"]
    done = subprocess.run([*command, "--data", str(directory)], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(done.stdout)["token"]


def answer_of(request):
    """Messages fail that ask for it."""
    if any("fail" in str(message.get("content")) for message in request.messages):
        return Script.raw(b'{"error":{"message":"bad"}}', status=400, media="application/json")
    return Script.text("Good day.")


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def sides(tmp_path_factory):
    """An agent alone, and a house, each with a token and a session."""
    place = tmp_path_factory.mktemp("both")
    with SimulatedLLM() as endpoint:
        endpoint.otherwise(answer_of)
        model = {
            "api": "none", "base_url": endpoint.url, "timeout": 5,
            "models": ["compatible/small", "compatible/medium", "compatible/large"],
        }  # fmt: skip
        settings = {"global": {"llm": "simulated", "llms": {"simulated": model}}}
        chat = {"service": {"titles": False}}
        house = House(place / "house", {**settings, "chat": chat}, people=("alice",))
        with Alone(place / "alone", {**settings, "chat": {**chat, "auth": "token"}}) as alone:
            await house.start()
            try:
                context = ssl.create_default_context(cafile=house.directory / "tls" / "cert.pem")
                one = Side(alone.url, token_of(alone.directory, "--standalone"), None)
                two = Side(house.url, token_of(house.directory, "--user", "alice"), context)
                for side in (one, two):
                    connector = aiohttp.TCPConnector(ssl=side.context or False, limit=1)
                    side.http.append(aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()))
                    async with side.http[0].post(
                        f"{side.url}/sessions", headers={"Authorization": f"Bearer {side.token}"}
                    ) as answer:
                        side.session = (await answer.json())["id"]
                yield one, two
                for side in (one, two):
                    await side.http[0].close()
            finally:
                await house.stop()


async def test_every_request_is_answered_alike_with_a_credential_and_without(sides):
    different = []
    async with asyncio.timeout(60):
        for known in (True, False):
            for method, path, options in CASES:
                alone, house = [await side.ask(method, path, options, known=known) for side in sides]
                if alone != house:
                    different.append((known, method, path, str(options)[:80], alone, house))
    shown = "\n".join(str(one) for one in different)
    assert not different, shown


async def test_what_is_no_request_is_answered_alike(sides):
    async with asyncio.timeout(30):
        for lines in RAW:
            alone, house = [await side.raw(lines) for side in sides]
            assert alone == house, lines[0][:60]
            assert alone[0] in {400, 414, 431}
            assert set(json.loads(alone[1])) == {"error", "request_id"}


async def test_upgrades_that_are_no_handshakes_are_refused_alike(sides):
    upgrade = [b"GET /ws/chat HTTP/1.1", b"Host: localhost", b"Connection: Upgrade", b"Upgrade: websocket"]
    key, version = b"Sec-WebSocket-Key: " + b"A" * 22 + b"==", b"Sec-WebSocket-Version: 13"
    async with asyncio.timeout(30):
        for lines in ([], [key], [version], [key, b"Sec-WebSocket-Version: 8"], [b"Sec-WebSocket-Key: x", version]):
            alone, house = [
                await side.raw([*upgrade, *lines, b"Authorization: Bearer " + side.token.encode()]) for side in sides
            ]
            assert alone == house, lines
            assert (alone[0], json.loads(alone[1])["error"]["code"]) == (400, "invalid_request")


async def test_upgrades_are_refused_alike(sides):
    async with asyncio.timeout(30):
        for headers in UPGRADES:
            alone, house = [await side.upgrade(headers) for side in sides]
            assert alone == house, headers
            assert alone[0] in {401, 403, 421}
        for side in sides:
            assert await side.upgrade({"Authorization": f"Bearer {side.token}"}) == (101, "", True)
