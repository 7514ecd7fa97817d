"""A house on a real address, with a model that does as it is told and services from elsewhere."""

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.bootstrap import build_cell
from tom.agent.identify import BehindGateway
from tom.agent.serving import make_server
from tom.clock import SystemClock
from tom.config.agent import AgentSettings, ChatSettings, LlmEntry
from tom.config.secret import Secret
from tom.store.memory import MemoryEventStore
from tom.testing.house import House
from tom.testing.simulated_llm import Script, SimulatedLLM


@pytest.fixture
def llm():
    """The model of every house of this test."""
    with SimulatedLLM() as endpoint:
        yield endpoint


def settings_for(endpoint, services=None, **more):
    """A configuration whose only model is the simulated one."""
    return {
        "global": {
            "llm": "simulated",
            "llms": {
                "simulated": {
                    "api": "none",
                    "base_url": endpoint.url,
                    "models": ["compatible/small", "compatible/medium", "compatible/large"],
                    "timeout": 5,
                }
            },
        },
        "chat": {"service": {"context": {"max_tokens": 32000}, "titles": False}},
        "services": services or {},
        **more,
    }


@pytest.fixture
def time_service():
    """mcp-server-time, a third-party service from the Python package index."""
    program = Path(sys.executable).with_name("mcp-server-time")
    return {"time": {"command": str(program), "args": ["--local-timezone", "UTC"]}}


class Ledger:
    """What the ledger service did, and the gates that hold it."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()

    @property
    def service(self):
        module = ["-m", "tom.testing.ledger_service", str(self.directory)]
        classes = {"write_note": "write_own"}  # notes of one's own: a write that needs no yes
        return {"ledger": {"command": sys.executable, "args": module, "tools": {"classes": classes}}}

    def hold(self, gate):
        (self.directory / gate).touch()

    def release(self, gate):
        (self.directory / gate).unlink()

    @property
    def held(self):
        return (self.directory / "held").exists()

    def lines(self, name):
        path = self.directory / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def processes(self):
        """The pids of services that work on this directory."""
        found = set()
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and str(self.directory).encode() in (process / "cmdline").read_bytes():
                    found.add(int(process.name))
            except OSError:
                continue
        return found

    @property
    def effects(self):
        return self.lines("effects.jsonl")

    @property
    def reads(self):
        return self.lines("reads.jsonl")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


@pytest.fixture
async def open_house(tmp_path, llm):
    """``await open_house(services, **settings)`` starts a house; all of them are stopped at the end."""
    houses = []

    async def open_one(services=None, **more):
        house = House(tmp_path / f"house{len(houses)}", settings_for(llm, services, **more))
        houses.append(house)
        await house.start()
        return house

    yield open_one
    for house in houses:
        await house.stop()


# --- the request pipeline: an agent in the test's own event loop, its doors over real HTTP -----------------------

SELECT = "modules_needed_to_answer_user_prompt"
FRESH = "start_new_conversation"


class Models:
    """What the simulated model says: by purpose, and what it was sent for it."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.chosen = Script.tool_calls((SELECT, {"modules_name": []}))
        self.spoken = Script.text("Spoken words.")
        self.answers = []
        endpoint.otherwise(self._author)

    def _author(self, request):
        purpose = self.purpose(request)
        if purpose == "triage":
            return self.chosen
        if purpose == "speech":
            return self.spoken
        return self.answers.pop(0) if purpose == "answer" and self.answers else Script.text("ok")

    @staticmethod
    def purpose(request):
        if SELECT in request.tool_names:
            return "triage"
        first = request.messages[0]["content"] if request.messages else ""
        if first.startswith("Word the assistant's answer"):
            return "speech"
        return "answer" if first.startswith("You are ") else "upkeep"

    def sent(self, purpose="answer"):
        """The requests for ``purpose``, oldest first."""
        return [request for request in self.endpoint.requests if self.purpose(request) == purpose]

    def choose(self, *services, level=None):
        arguments = {"modules_name": list(services)} | ({} if level is None else {"level": level})
        self.chosen = Script.tool_calls((SELECT, arguments))


class Pipeline:
    """One agent and a client of its Tom routes."""

    def __init__(self, cell, http, models):
        self.cell = cell
        self.http = http
        self.models = models

    async def post(self, path, body=None):
        async with self.http.post(path, json=body) as answer:
            return await answer.json()

    async def get(self, path):
        async with self.http.get(path) as answer:
            return await answer.json()

    async def process(self, text, **more):
        return await self.post("/process", {"request": text, **more})

    async def events(self, conversation_id):
        return await self.cell.store.read(conversation_id, limit=1000)


@pytest.fixture
def open_pipeline(tmp_path, llm):
    """``async with open_pipeline(toolbox, [ServiceEntry…], **settings) as pipeline``: an agent behind its doors."""

    @asynccontextmanager
    async def open_one(toolbox, services=(), *, store=None, chat=None, **settings):
        entry = LlmEntry(
            name="simulated", provider="compatible", base_url=llm.url, key=Secret(""),
            models=("small", "medium", "large"), timeout=2, max_retries=0,
        )  # fmt: skip
        others = settings.pop("llms", {})
        given = AgentSettings(
            user="alice", home=tmp_path / "alice", agent_secret=Secret("s"), llm="simulated",
            llms={"simulated": entry, **{name: replace(entry, **changes) for name, changes in others.items()}},
            services=tuple(services), chat=ChatSettings(**({"context_max_tokens": 32000} | (chat or {}))), **settings,
        )  # fmt: skip
        clock = SystemClock()
        cell = build_cell(given, store or MemoryEventStore(clock=clock), clock, toolbox=toolbox, library=toolbox)
        ready, stopped = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(cell.scheduler.serve(ready, stopped))
        await ready.wait()
        listening = socket.create_server(("127.0.0.1", 0))
        server = make_server(AgentApp(cell, BehindGateway("alice", Secret("s"))), cell)
        cell.ready = True
        answering = asyncio.ensure_future(server.serve(sockets=[listening]))
        headers = {"X-Tom-User": "alice", "X-Tom-Agent-Secret": "s", "X-Tom-Door": "cookie"}
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(url, headers=headers) as http:
                yield Pipeline(cell, http, Models(llm))
        finally:
            server.should_exit = True
            await answering
            listening.close()
            await cell.scheduler.drain(0, 2)
            stopped.set()
            await serving
            await cell.models.close()

    return open_one
