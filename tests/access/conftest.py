"""A town: a real gateway, real agents of several people inside this process, and everybody who may knock."""

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tom import ids
from tom.agent.app import AgentApp
from tom.agent.bootstrap import build_cell
from tom.agent.identify import BehindGateway
from tom.clock import SystemClock
from tom.config.document import decode_agent
from tom.config.settings import Settings
from tom.conversation.elicitation import Elicitation, InputNeeded
from tom.conversation.tool import ToolClass, ToolOutcome
from tom.gateway import bootstrap
from tom.gateway.selfsigned import ensure_pair
from tom.policy.permissions import LOGIN_SCOPES, Scope
from tom.services.memory import MemoryToolbox
from tom.spawner.memory import MemorySpawner
from tom.store.memory import MemoryEventStore
from tom.testing.house import free_port

PASSWORD = "correct horse battery"
ADMIN_TOKEN = "token-of-the-operator"
UNHURRIED = 100_000
PEOPLE = {"alice": "user", "bob": "user", "carol": "user", "dave": "admin", "erin": "admin"}
"""Carol is disabled and Dave no admin any more before anything is asked."""


@dataclass(frozen=True)
class Knocker:
    """Somebody who knocks. ``scopes`` None: nobody that is known; ``login``: by a cookie."""

    name: str
    user: str
    headers: dict[str, str]
    scopes: frozenset[Scope] | None
    code: str = ""
    login: bool = False


@dataclass(eq=False)
class Agents(MemorySpawner):
    """Real agents, each with its own store and tools, in this process."""

    cells: dict = field(default_factory=dict)
    apps: dict = field(default_factory=dict)

    def __post_init__(self):
        super().__init__(self._make)
        self._stopped = asyncio.Event()
        self._serving = []

    def _make(self, spec):
        settings = decode_agent(spec.document)
        clock = SystemClock()
        tools = _tools(spec.user)
        cell = build_cell(settings, MemoryEventStore(clock=clock), clock, toolbox=tools, library=tools)
        self._serving.append(asyncio.ensure_future(cell.scheduler.serve(asyncio.Event(), self._stopped)))
        cell.ready = True
        self.cells[spec.user] = cell
        self.apps[spec.user] = AgentApp(cell, BehindGateway(settings.user, settings.agent_secret))
        return self.apps[spec.user]

    async def end(self):
        for cell in self.cells.values():
            await cell.scheduler.drain(0, 2)
        self._stopped.set()
        await asyncio.gather(*self._serving)
        for cell in self.cells.values():
            await cell.models.close()


def _tools(user):
    toolbox = MemoryToolbox()

    async def send_letter(to: str = ""):
        return "sent"

    async def ask_where():
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        return ToolOutcome("", needs=InputNeeded((Elicitation("form", "Where?", schema, key="where"),)))

    async def search_memories(query: str, user_id: str = ""):
        return f"What is remembered of {user_id}."

    async def forget(user_id: str = ""):
        return f"Forgotten of {user_id}."

    whose = {"type": "object", "properties": {"query": {"type": "string"}, "user_id": {"type": "string"}}}
    toolbox.add(search_memories, service="memory", parameters=whose, tool_class=ToolClass.READ_PRIVATE)
    toolbox.add(forget, service="memory", parameters=whose, tool_class=ToolClass.WRITE_OWN)
    toolbox.add_resource(f"letter://{user}", f"A letter to {user}.", service="post", name="letter")
    to = {"type": "object", "properties": {"to": {"type": "string"}}}
    toolbox.add(send_letter, service="post", parameters=to, tool_class=ToolClass.WRITE_EXTERNAL)
    toolbox.add(ask_where, service="post", tool_class=ToolClass.READ_PUBLIC)
    return toolbox


@dataclass(eq=False)
class Town:
    """The gateway, its agents, and who knocks."""

    gateway: object
    agents: Agents
    url: str
    context: ssl.SSLContext
    http: aiohttp.ClientSession
    knockers: dict[str, Knocker] = field(default_factory=dict)
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def routes(self):
        """The routes that the gateway has."""
        return self.gateway._parts.app._table.routes

    async def ask(self, headers, method, path, body=None):
        """(status, body without its request id, headers)."""
        sent = {"json": body} if body is not None else {}
        async with self.http.request(method, path, headers=headers, allow_redirects=False, **sent) as answer:
            raw = await answer.read()
            given = answer.headers.get("X-Request-ID", "")
            assert given, (method, path)
            return answer.status, raw.replace(given.encode(), b"~"), answer.headers

    async def said(self, knocker, method, path, body=None):
        """The same for a knocker, its body read as JSON where it is some."""
        status, raw, _ = await self.ask(knocker.headers, method, path, body)
        return status, json.loads(raw) if raw[:1] in {b"{", b"["} else raw

    @contextlib.asynccontextmanager
    async def socket(self, knocker):
        """A socket of a knocker."""
        url = self.url.replace("https", "wss") + "/ws/chat"
        async with connect(
            url, ssl=self.context, additional_headers=knocker.headers, proxy=None, compression=None
        ) as one:
            yield one


def settings_of(data, port, people, *, disabled=()):
    config = {
        "global": {"listen": {"host": "127.0.0.1", "port": port}, "llm": "scripted"},
        "users": [
            {"username": name, "password": PASSWORD, "role": role, "disabled": name in disabled}
            for name, role in people.items()
        ],
        "rate_rps": UNHURRIED,
        "rate_burst": UNHURRIED,
        "rate_limits": {"read": {"rps": UNHURRIED, "burst": UNHURRIED}},
        "admin_token": ADMIN_TOKEN,
        "services": {"behavior": {"builtin": "behavior"}, "post": {"command": "true"}, "memory": {"command": "true"}},
        "chat": {"service": {"titles": False}},
    }
    (data / "config.yml").write_text(json.dumps(config))
    return Settings.load(data, env={})


@pytest.fixture(scope="module")
async def town(tmp_path_factory):
    port = free_port()
    data = tmp_path_factory.mktemp("town")
    data.chmod(0o700)
    ensure_pair(data / "tls", datetime.now(UTC))
    agents = Agents()
    gateway = bootstrap.build(settings_of(data, port, PEOPLE), agents, env={})
    context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(gateway.serve())
        started = group.create_task(gateway.started.wait())
        await asyncio.wait([serving, started], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            started.cancel()
            await serving
        url = gateway.addresses[0]
        session = aiohttp.ClientSession(
            url, connector=aiohttp.TCPConnector(ssl=context), cookie_jar=aiohttp.DummyCookieJar()
        )
        try:
            town = Town(gateway, agents, url, context, session)
            await _let_them_in(town, data, port)
            yield town
        finally:
            await session.close()
            await agents.end()
            gateway.stop()
            async with asyncio.timeout(20):
                await serving
            await agents.close()


async def _let_them_in(town, data, port):
    """Everybody logs in and makes tokens; then Carol is disabled and Dave is an admin no more."""
    cookies = {name: await _log_in(town, name) for name in PEOPLE}
    tokens = {
        "carol": await _token(town, cookies["carol"], ["chat", "read"]),
        "dave": await _token(town, cookies["dave"], ["admin", "chat"]),
        "bare": await _token(town, cookies["alice"], ["health"]),
        "reading": await _token(town, cookies["alice"], ["read"]),
        "clients": await _token(town, cookies["alice"], ["openai"]),
        "whole": await _token(town, cookies["alice"], [str(scope) for scope in Scope if scope is not Scope.ADMIN]),
    }
    for cookie in cookies.values():
        await town.ask(_cookie(cookie), "GET", "/sessions")  # their agents are up
    people = PEOPLE | {"dave": "user"}
    await town.gateway.apply(settings_of(data, port, people, disabled=("carol",)))
    cookies["dave"] = await _log_in(town, "dave")
    town.cookies |= {name: _cookie(cookie) for name, cookie in cookies.items()}
    everything = frozenset(Scope) - {Scope.ADMIN}
    knockers = [
        Knocker("nobody", "", {}, None, "authentication_required"),
        Knocker("owner", "alice", _cookie(cookies["alice"]), LOGIN_SCOPES, login=True),
        Knocker("other user", "bob", _cookie(cookies["bob"]), LOGIN_SCOPES, login=True),
        Knocker("disabled user", "", _bearer(tokens["carol"]), None, "invalid_token"),
        Knocker("disabled user's cookie", "", _cookie(cookies["carol"]), None, "authentication_required"),
        Knocker("demoted admin", "dave", _cookie(cookies["dave"]), LOGIN_SCOPES, login=True),
        Knocker("demoted admin's token", "dave", _bearer(tokens["dave"]), frozenset({Scope.CHAT})),
        Knocker("token without scope", "alice", _bearer(tokens["bare"]), frozenset({Scope.HEALTH})),
        Knocker("token", "alice", _bearer(tokens["whole"]), everything),
        Knocker("token that reads", "alice", _bearer(tokens["reading"]), frozenset({Scope.READ})),
        Knocker("token of /v1", "alice", _bearer(tokens["clients"]), frozenset({Scope.OPENAI})),
        Knocker("admin", "erin", _cookie(cookies["erin"]), LOGIN_SCOPES | {Scope.ADMIN}, login=True),
    ]
    town.knockers |= {knocker.name: knocker for knocker in knockers}


async def _log_in(town, name):
    async with town.http.post("/login", json={"username": name, "password": PASSWORD}) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]


async def _token(town, cookie, scopes):
    status, body, _ = await town.ask(_cookie(cookie), "POST", "/tokens", {"name": "a program", "scopes": scopes})
    assert status == 201, body
    return json.loads(body)["token"]


def _cookie(value):
    return {"Cookie": f"__Host-tom={value}", "X-Tom-Client": "test"}


def _bearer(token):
    return {"Authorization": f"Bearer {token}"}


# --- things that belong to somebody ------------------------------------------------------------------------------

SHARED = {"name": "post", "model": "tom", "ip": "10.9.8.7", "path:path": "0/x.js"}
"""Parameters that mean the same to everybody."""


class Things:
    """Makes what belongs to one person, new each time, through that person's own doors."""

    def __init__(self, town, user):
        self._town = town
        self._owner = Knocker("", user, town.cookies[user], frozenset())

    async def make(self, names):
        """A value for each of these parameters, all of one session where they have one."""
        made = {}
        if "session_id" in names or set(names) & {"approval_id", "elicitation_id"}:
            made["session_id"] = (await self._said("POST", "/sessions", {}, 201))["id"]
        for name in names:
            if name not in made:
                made[name] = await getattr(self, f"_{name}")(made.get("session_id", ""))
        return {name: made[name] for name in names}

    async def _run_id(self, session):
        return (await self._send(session, {"content": "help"}, 200))["message"]["metadata"]["run_id"]

    async def _approval_id(self, session):
        waiting = await self._send(session, {"content": "/tool send_letter {}"}, 202)
        return waiting["approval"]["approval_id"]

    async def _elicitation_id(self, session):
        waiting = await self._send(session, {"content": "/tool ask_where {}"}, 202)
        return waiting["elicitation"]["elicitation_id"]

    async def _file(self, session):
        enclosed = [{"type": "text", "name": "a.txt", "data": f"of {self._owner.user}"}]
        await self._send(session, {"content": "help", "attachments": enclosed}, 200)
        events = (await self._said("GET", f"/sessions/{session}/events", None, 200))["events"]
        return next(one["extra"]["attachments"][0]["file"] for one in events if one["type"] == "message.received")

    async def _id(self, _session):
        return (await self._said("POST", "/tokens", {"name": "a program", "scopes": ["chat"]}, 201))["id"]

    async def _request_id(self, _session):
        request_id = ids.ulid()
        await self._said("POST", "/process", {"request": "help", "request_id": request_id}, 200)
        return request_id

    async def _send(self, session, body, status):
        return await self._said("POST", f"/sessions/{session}/messages", body, status)

    async def _said(self, method, path, body, wanted):
        status, answer = await self._town.said(self._owner, method, path, body)
        assert status == wanted, (method, path, answer)
        return answer


@pytest.fixture
def things(town):
    """``things(user)`` makes things of that person."""
    return lambda user: Things(town, user)


@pytest.fixture
def nobodys():
    """``nobodys(names)`` gives for each a value that names nothing: a new one, since a message to it opens it."""
    return lambda names: {name: ids.ulid() if name != "file" else ids.digest(ids.ulid()) for name in names}


@pytest.fixture
def shared():
    return SHARED
