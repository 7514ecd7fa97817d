"""An agent inside the test's own event loop: the real parts over a store in memory, tools in Python, a told model."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
import redis.asyncio
from websockets.asyncio.client import connect as websocket

from tom.accounts.tokens import read_wish
from tom.agent.alone import door_alone
from tom.agent.app import AgentApp
from tom.agent.bootstrap import build_cell
from tom.agent.doorfile import DoorFile
from tom.agent.identify import Admitted, AtThisMachine, WithoutTokens
from tom.agent.options import choices_of
from tom.agent.outbox import Outbox
from tom.agent.serving import make_server
from tom.agent.socket import Socket
from tom.agent.websocket import Entry
from tom.clock import SystemClock
from tom.config.agent import AgentSettings, ChatSettings, DoorSettings, LlmEntry, RedisSettings, ServiceEntry
from tom.config.secret import Secret
from tom.conversation.tool import ToolClass
from tom.policy.permissions import LOCAL_SCOPES, Caller
from tom.services.memory import MemoryToolbox
from tom.store.memory import MemoryEventStore
from tom.testing.simulated_llm import SimulatedLLM


def local_caller(cell):
    return Caller(cell.settings.user, "local", LOCAL_SCOPES, f"user:{cell.settings.user}")


class Client:
    """A socket without a transport: what it is sent is a list."""

    def __init__(self, cell, *, streaming=True, thinking=False, device="a test", plain=False, caller=None):
        self.outbox = Outbox(1_000_000, plain=plain)
        self.socket = Socket(
            cell.conversations, self.outbox, cell.clock, cell.approvals, caller=caller or local_caller(cell), device=device,
            choices=choices_of(cell.settings), streaming=streaming, show_thinking=thinking, tool_notices=cell.settings.chat.tool_notifications,
        )  # fmt: skip
        self.frames = []
        self.arrived = asyncio.Event()
        self.sending = asyncio.ensure_future(self.outbox.send_to(self._take))

    async def _take(self, text):
        self.frames.append(json.loads(text))
        self.arrived.set()

    async def do(self, action, request_id=None, **payload):
        await self.socket.receive(json.dumps({"action": action, "request_id": request_id, "payload": payload}))

    async def first(self, wanted, seconds=10):
        """The first frame that ``wanted`` says yes to."""
        async with asyncio.timeout(seconds):
            while True:
                self.arrived.clear()
                found = next((frame for frame in self.frames if wanted(frame)), None)
                if found is not None:
                    return found
                await self.arrived.wait()

    async def end_of(self, request_id):
        return await self.first(
            lambda frame: frame["request_id"] == request_id and frame["status"] in {"complete", "error"}
        )

    def said(self, request_id):
        return "".join(
            frame["chunk"]["data"]
            for frame in self.frames
            if frame["status"] == "chunk" and frame["request_id"] == request_id
        )

    def statuses(self):
        return [frame["status"] for frame in self.frames]

    async def close(self):
        self.socket.close()
        self.sending.cancel()
        await asyncio.wait([self.sending])


@pytest.fixture
def llm():
    with SimulatedLLM() as endpoint:
        yield endpoint


def _entry(service):
    return service if isinstance(service, ServiceEntry) else ServiceEntry(name=service)


@pytest.fixture
def open_cell(tmp_path, llm):
    """``async with open_cell(toolbox=…, store=…, **chat settings) as cell``: an agent that works.

    ``services`` are the enabled services, or their names; ``vision`` is the model's, ``more`` other settings of the agent.
    """

    @asynccontextmanager
    async def open_one(
        toolbox=None, store=None, clock=None, services=(), vision=None, more=None, model="simulated", **chat
    ):
        entry = LlmEntry(
            name="simulated", provider="compatible", base_url=llm.url, key=Secret(""), models=("s", "m", "l"),
            timeout=2, vision=vision, max_tokens=1000,
        )  # fmt: skip
        chat = {"context_max_tokens": 32000, "titles": False} | chat
        settings = AgentSettings(
            user="alice", home=tmp_path, llm=model, llms={"simulated": entry}, chat=ChatSettings(**chat),
            services=tuple(map(_entry, services)), **(more or {}),
        )  # fmt: skip
        clock = clock or SystemClock()
        store = store or MemoryEventStore(clock=clock)
        toolbox = toolbox or MemoryToolbox()
        cell = build_cell(settings, store, clock, toolbox=toolbox, library=toolbox)
        ready, stopped = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(cell.scheduler.serve(ready, stopped))
        await ready.wait()
        try:
            yield cell
        finally:
            await cell.scheduler.drain(0, 2)
            stopped.set()
            await serving
            await cell.models.close()

    return open_one


@pytest.fixture
def entry_of():
    """``entry_of(cell)``: how the person comes in who sits at the machine."""
    return lambda cell: Entry(Admitted(local_caller(cell)), lambda: True)


@pytest.fixture
async def connect():
    """``connect(cell)`` opens a client; all are closed at the end."""
    clients = []

    def open_one(cell, **options):
        client = Client(cell, **options)
        clients.append(client)
        return client

    yield open_one
    for client in clients:
        await client.close()


# --- the REST door over real HTTP --------------------------------------------------------------------------------


@dataclass
class Letter:
    """One event of a stream."""

    name: str
    id: str
    data: dict


class Rest:
    """A client of one agent's REST door."""

    def __init__(self, http):
        self.http = http

    async def ask(self, method, path, body=None, **options):
        """The status and the decoded body of one answer; its headers are kept in ``headers``."""
        if isinstance(body, str | bytes):
            options["data"] = body
        elif body is not None:
            options["json"] = body
        async with self.http.request(method, path, **options) as answer:
            text = await answer.text()
            self.headers = answer.headers
            return answer.status, json.loads(text) if text else None

    async def refused(self, method, path, body=None, **options):
        """The status, the code and the whole error of one refusal."""
        status, given = await self.ask(method, path, body, **options)
        assert given["request_id"] == self.headers["X-Request-ID"]
        return status, given["error"]["code"], given["error"]

    async def open(self, **body):
        status, given = await self.ask("POST", "/sessions", body)
        assert status == 201
        return given["id"]

    async def say(self, session, content, **more):
        options = {name: more.pop(name) for name in ("headers",) if name in more}
        return await self.ask("POST", f"/sessions/{session}/messages", {"content": content, **more}, **options)

    @asynccontextmanager
    async def stream(self, method, path, body=None, headers=None):
        """``async with rest.stream(…) as letters``: an iterator over the events of an open stream."""
        headers = {"Accept": "text/event-stream", **(headers or {})}
        async with self.http.request(method, path, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            yield _letters(answer.content)

    async def letters(self, method, path, body=None, headers=None):
        """All events of a stream that ends."""
        async with asyncio.timeout(20), self.stream(method, path, body, headers) as letters:
            return [letter async for letter in letters]


async def _letters(content):
    fields = {}
    async for line in content:
        text = line.decode().rstrip("\n")
        if not text and fields:
            yield Letter(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
        elif text.startswith(":"):
            yield Letter("comment", "", {"text": text})
        elif text:
            name, _, value = text.partition(": ")
            fields[name] = value


@dataclass
class KnownCaller(WithoutTokens):
    """A door that takes everybody for the same caller."""

    caller: object
    alone: bool = True

    def identify(self, scope):
        return self.caller


@pytest.fixture
def open_rest(open_cell):
    """``async with open_rest(**settings) as (rest, cell)``; ``doors`` are settings of them, ``caller`` who is calling."""

    @asynccontextmanager
    async def open_one(*, doors=None, caller=None, door=None, more=None, **options):
        more = {"doors": DoorSettings(**(doors or {})), **(more or {})}
        async with open_cell(more=more, **options) as opened:
            # With its protocol named, asyncio sends each answer at once; without it waits 40 ms for an acknowledgement.
            listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            known = AtThisMachine() if caller is None else KnownCaller(caller)
            server = make_server(AgentApp(opened, door or known), opened)
            opened.ready = True
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with aiohttp.ClientSession(url) as http:
                    yield Rest(http), opened
            finally:
                opened.feed.close()
                server.should_exit = True
                await serving
                listening.close()

    return open_one


class Completions:
    """A client of an agent's ``/v1``, as those of OpenAI are: whole answers, or the chunks of a stream."""

    def __init__(self, http):
        self.http = http

    async def get(self, path, **headers):
        async with self.http.get(path, headers=headers) as given:
            return given.status, json.loads(await given.text())

    async def post(self, messages, *, headers=None, path="/v1/chat/completions", **body):
        asked = {"model": "tom", "messages": said(messages)} | body
        async with self.http.post(path, json=asked, headers=headers) as given:
            self.headers = given.headers
            return given.status, json.loads(await given.text())

    async def stream(self, messages, *, headers=None, **body):
        """The data of each event, ``[DONE]`` as it is; what is no data stands in ``comments``."""
        asked = {"model": "tom", "messages": said(messages), "stream": True} | body
        async with self.http.post("/v1/chat/completions", json=asked, headers=headers) as given:
            self.headers, self.status = given.headers, given.status
            text = (await given.read()).decode()
        lines = [line for line in text.split("\n") if line]
        self.comments = [line for line in lines if not line.startswith("data: ")]
        told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [piece if piece == "[DONE]" else json.loads(piece) for piece in told]

    @staticmethod
    def text(pieces):
        choices = [choice for piece in pieces if piece != "[DONE]" for choice in piece.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


def said(messages):
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


@pytest.fixture
def v1():
    """``async with v1(cell, door) as client``: the agent on a port of loopback, and a client of its ``/v1``."""

    @asynccontextmanager
    async def serve(cell, door=None, headers=None):
        listening = socket.create_server(("127.0.0.1", 0))
        server = make_server(AgentApp(cell, door or AtThisMachine()), cell)
        cell.ready = True
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with aiohttp.ClientSession(url, headers=headers) as http:
                yield Completions(http)
        finally:
            server.should_exit = True
            await serving
            listening.close()

    return serve


# --- an agent alone, by each of its modes ------------------------------------------------------------------------


class Alone:
    """An agent alone on a port of loopback; ``token(*scopes)`` makes a token of its person."""

    def __init__(self, cell, file, port):
        self.cell, self.file, self.port = cell, file, port
        self.url = f"http://127.0.0.1:{port}"
        self.sessions = []

    async def token(self, *scopes, days=1):
        wish = read_wish("a test", list(scopes or ("chat",)), days, admin=True)
        return await self.file.tokens.create(self.cell.settings.user, wish)

    def client(self, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        session = aiohttp.ClientSession(self.url, headers=headers)
        self.sessions.append(session)
        return Rest(session)

    def socket(self, path="/ws/chat", *, token=None, headers=None, **options):
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        options.setdefault("compression", None)
        return websocket(
            f"ws://127.0.0.1:{self.port}{path}", additional_headers=sent | (headers or {}), proxy=None, **options
        )


@pytest.fixture
def open_alone(open_cell, tmp_path):
    """``async with open_alone("token", **chat) as agent``: an agent alone that serves; ``doors`` are more of its doors."""

    @asynccontextmanager
    async def open_one(auth="local", *, doors=None, clock=None, more=None, **options):
        clock = clock or SystemClock()
        more = {"doors": DoorSettings(auth=auth, **(doors or {})), **(more or {})}
        async with open_cell(clock=clock, more=more, **options) as cell:
            file = cell.door_file = await DoorFile.open(tmp_path, clock)
            listening = socket.create_server(("127.0.0.1", 0))
            server = make_server(AgentApp(cell, door_alone(cell.settings, file)), cell)
            cell.ready = True
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            agent = Alone(cell, file, listening.getsockname()[1])
            try:
                yield agent
            finally:
                for session in agent.sessions:
                    await session.close()
                cell.feed.close()
                server.should_exit = True
                await serving
                listening.close()
                await file.close()

    return open_one


@pytest.fixture
def shop():
    """``shop()``: a toolbox whose `search` only reads; with ``sends`` also `send`, which its person is asked about."""

    async def search(query=""):
        return f"found {query}"

    async def send(text=""):
        return f"sent {text}"

    def made(*, sends=False):
        toolbox, anything = MemoryToolbox(), {"type": "object"}
        toolbox.add(search, service="shop", parameters=anything, tool_class=ToolClass.READ_PUBLIC)
        if sends:
            toolbox.add(send, service="shop", parameters=anything, tool_class=ToolClass.WRITE_EXTERNAL)
        return toolbox

    return made


# --- agents that share a Redis -----------------------------------------------------------------------------------


@pytest.fixture
async def server(redis_server):
    """A Redis that is up and empty, with a client of the test's own as ``client``."""
    redis_server.usable()
    async with redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True) as client:
        await client.flushall()
    yield redis_server
    redis_server.usable()


@pytest.fixture
async def client(server):
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as opened:
        yield opened


@pytest.fixture
def agent(open_rest, server):
    """``async with agent(store=…) as (rest, cell)``: one of several agents that share the Redis."""

    @asynccontextmanager
    async def open_one(store=None, patience=5.0, **options):  # a slow machine must not look like an outage
        doors = {"redis": RedisSettings(url=Secret(server.url)), **options.pop("doors", {})}
        store = store or MemoryEventStore(clock=SystemClock(), shared=True)
        opened = None
        try:
            async with open_rest(store=store, doors=doors, **options) as opened:
                opened[1].rates.limiter.link.seconds = patience
                yield opened
        finally:
            if opened is not None:
                await opened[1].rates.limiter.close()

    return open_one
