"""A real gateway on a real port with TLS, people who use it, and agents that tell what reached them."""

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from tom.config.settings import Settings
from tom.errors import AgentFailed
from tom.gateway import bootstrap
from tom.gateway.selfsigned import ensure_pair
from tom.spawner.memory import MemorySpawner
from tom.spawner.spawner import AgentSpec

PASSWORD = "correct horse battery"


@dataclass(eq=False)
class Double:
    """One user's agent: it answers what it was asked, and does as it is told."""

    user: str
    secret: str
    starts: int = 1
    active_runs: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0
    sent: int = 0
    finished_runs: int = 0

    def app(self):
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/process", self.process, methods=["POST"]),
                Route("/process/{id}", self.outcome),
                Route("/reset", self.echo, methods=["POST"]),
                Route("/tasks", self.echo),
                Route("/status", self.echo),
                Route("/notifications", self.echo, methods=["GET", "POST"]),
                Route("/sessions", self.echo),
                Route("/sessions/{id}", self.echo, methods=["GET", "DELETE"]),
                Route("/sessions/{id}/events", self.events),
                Route("/approvals", self.echo),
                Route("/approvals/{id}", self.echo, methods=["POST"]),
                Route("/elicitations", self.echo),
                Route("/elicitations/{id}", self.echo, methods=["POST"]),
                Route("/prompts", self.echo),
                Route("/resources", self.echo),
                WebSocketRoute("/ws/chat", self.socket),
            ]
        )

    def describe(self, request):
        return {
            "user": self.user,
            "method": request.scope.get("method", "GET"),
            "path": request.url.path,
            "query": request.url.query,
            "headers": [[name.decode(), value.decode()] for name, value in request.scope["headers"]],
        }

    async def health(self, request: Request):
        if request.headers.get("x-tom-agent-secret") != self.secret:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "ok", "active_runs": self.active_runs, "sockets": 0})

    async def echo(self, request: Request):
        told = self.describe(request) | {"body": (await request.body()).decode()}
        self.seen.append(told)
        headers = {
            "Server": "double", "Set-Cookie": "a=b", "X-Other": "yes", "Content-Security-Policy": "none",
            "Location": "https://elsewhere.example/", "WWW-Authenticate": "Basic", "Cache-Control": "public, max-age=9",
            "Retry-After": "3",
        }  # fmt: skip
        return JSONResponse(told, headers=headers)

    async def process(self, request: Request):
        body = json.loads(await request.body())
        self.seen.append(self.describe(request) | {"body": body})
        match body.get("request"):
            case "wait":
                await self.release.wait()
                self.finished_runs += 1
            case "redirect":
                return JSONResponse({}, 307, {"Location": "https://elsewhere.example/"})
        return JSONResponse({"status": "OK", "response": body.get("request"), "user": self.user})

    async def outcome(self, request: Request):
        self.asked.append(self.describe(request))
        return JSONResponse(
            {"status": "OK", "state": "running", "run_id": "R1", "request_id": request.path_params["id"]}
        )

    async def events(self, request: Request):
        async def stream():
            self.streams += 1
            try:
                yield b"event: event\ndata: 1\n\n"
                while not self.release.is_set():
                    await asyncio.sleep(0.01)
                    yield b": ping\n\n"
                yield b"event: event\ndata: 2\n\n"
            finally:
                self.streams -= 1

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def socket(self, socket: WebSocket):
        self.seen.append(self.describe(socket))
        if "refuse" in socket.query_params:
            await socket.send_denial_response(
                JSONResponse({"error": {"code": "rate_limited"}}, 429, {"Retry-After": "3"})
            )
            return
        wanted = socket.scope["subprotocols"]
        await socket.accept(subprotocol=wanted[0] if wanted else None)
        self.streams += 1
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                text = message.get("text")
                if text is None:
                    await socket.send_bytes(message["bytes"])
                elif text.startswith("close "):
                    await socket.close(int(text[6:]), "as told")
                    break
                elif text.startswith("burst "):
                    for number in range(int(text[6:])):
                        await socket.send_text(f"{number} " + "x" * 1000)
                        self.sent += 1
                else:
                    await socket.send_text(f"{self.user}: {text}")
        except WebSocketDisconnect:
            pass
        finally:
            self.streams -= 1


class Doubles(MemorySpawner):
    """A spawner of doubles; ``failing`` and ``delay`` make starts fail or last."""

    def __init__(self):
        super().__init__(self.make)
        self.by_user: dict[str, Double] = {}
        self.handles: dict[str, Any] = {}
        self.starts: list[str] = []
        self.stops: list[str] = []
        self.failing = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def make(self, spec: AgentSpec):
        told = json.loads(spec.document)
        double = Double(spec.user, told["agent_secret"])
        self.by_user[spec.user] = double
        return double.app()

    async def start(self, spec):
        self.starts.append(spec.user)
        await self.gate.wait()
        if self.failing:
            self.failing -= 1
            raise AgentFailed("as told")
        handle = self.handles[spec.user] = await super().start(spec)
        return handle

    async def stop(self, handle, *, grace=30.0):
        self.stops.append(handle.user)
        return await super().stop(handle, grace=grace)

    async def crash(self, user):
        await self.kill(self.handles[user])


@dataclass(eq=False)
class Door:
    """A running gateway and how to knock."""

    gateway: Any
    agents: Doubles
    data: Path
    port: int
    context: ssl.SSLContext
    plain_port: int | None = None
    _sessions: list[aiohttp.ClientSession] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def stranger(self, **headers: str) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self.context)
        session = aiohttp.ClientSession(
            self.url, connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=headers
        )
        self._sessions.append(session)
        return session

    async def log_in(self, user: str, password: str = PASSWORD) -> str:
        async with self.stranger().post("/login", json={"username": user, "password": password}) as answer:
            assert answer.status == 200, await answer.text()
            return cookie_of(answer)

    async def person(self, user: str) -> aiohttp.ClientSession:
        cookie = await self.log_in(user)
        session = self.stranger(Cookie=f"__Host-tom={cookie}", **{"X-Tom-Client": "test"})
        session.cookie = cookie
        return session

    def socket(self, cookie: str | None = None, *, path: str = "/ws/chat", headers=None, **options):
        sent = {"X-Tom-Client": "test"} if headers is None else headers
        if cookie:
            sent = {**sent, "Cookie": f"__Host-tom={cookie}"}
        options.setdefault("compression", None)
        return connect(
            f"wss://localhost:{self.port}{path}", ssl=self.context, additional_headers=sent, proxy=None, **options
        )

    async def raw(self, content: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("localhost", self.port, ssl=self.context)
        writer.write(content)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        return answer

    async def close(self):
        for session in self._sessions:
            await session.close()


@pytest.fixture
async def imposter():
    """Put another server in the place of alice's agent: it answers every request with these bytes."""
    servers: list[asyncio.Server] = []

    async def replace(door: Door, *pieces: bytes, pause: float = 0.0, end: bool = True) -> list[Any]:
        (await (await door.person("alice")).get("/tasks")).release()
        closed: list[Any] = []

        async def answer(reader, writer):
            with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a transport that the client closed
                await reader.readuntil(b"\r\n\r\n")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
                if not end:
                    await reader.read()
            closed.append(True)
            writer.close()

        door.data.joinpath("gateway", "agents", "alice.sock").unlink()
        servers.append(await asyncio.start_unix_server(answer, door.agents.handles["alice"].socket))
        return closed

    yield replace
    for server in servers:
        server.close()


def cookie_of(answer) -> str:
    """The value of the login cookie that an answer sets."""
    for header in answer.headers.getall("Set-Cookie", []):
        name, _, rest = header.partition("=")
        if name in {"__Host-tom", "tom_login"}:
            return rest.partition(";")[0]
    return ""


@pytest.fixture
def read_cookie():
    return cookie_of


@pytest.fixture
def write_config():
    """Write a config.yml into a data directory and load it."""

    def write(data: Path, port: int, settings: dict[str, Any]) -> Settings:
        people = settings.get("users") or [{"username": name, "password": PASSWORD} for name in ("alice", "bob")]
        config = {
            "global": {"listen": {"host": "127.0.0.1", "port": port}, "llm": "scripted", **settings.get("global", {})},
            "users": people,
            "rate_rps": 100_000,
            "rate_burst": 100_000,
            "rate_limits": {"read": {"rps": 100_000, "burst": 100_000}},
            **{key: value for key, value in settings.items() if key not in {"global", "users"}},
        }
        (data / "config.yml").write_text(json.dumps(config))
        return Settings.load(data, env={})

    return write


@pytest.fixture
async def opened(tmp_path, free_port, write_config):
    """``async with opened(**settings) as door``: a gateway that runs."""

    @contextlib.asynccontextmanager
    async def run(data: Path | None = None, agents: Doubles | None = None, env=None, **settings):
        data = data or tmp_path / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        ensure_pair(data / "tls", datetime.now(UTC))
        loaded = write_config(data, free_port, settings)
        agents = agents or Doubles()
        gateway = bootstrap.build(loaded, agents, env=env or {})
        context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
        door = Door(gateway, agents, data, free_port, context)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(gateway.serve())
            started = group.create_task(gateway.started.wait())
            await asyncio.wait([serving, started], timeout=20, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                started.cancel()
                await serving
            try:
                yield door
            finally:
                await door.close()
                gateway.stop()
                for double in agents.by_user.values():
                    double.release.set()
                async with asyncio.timeout(20):
                    await serving
                await agents.close()

    return run


@pytest.fixture
async def door(opened):
    """A gateway with alice and bob."""
    async with opened() as running:
        yield running
