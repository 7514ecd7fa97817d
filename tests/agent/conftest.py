"""An agent inside the test's own event loop: the real parts over a store in memory, tools in Python, a told model."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from tom.agent.bootstrap import build_cell
from tom.agent.options import choices_of
from tom.agent.outbox import Outbox
from tom.agent.socket import Socket
from tom.clock import SystemClock
from tom.config.agent import AgentSettings, ChatSettings, LlmEntry, ServiceEntry
from tom.config.secret import Secret
from tom.services.memory import MemoryToolbox
from tom.store.memory import MemoryEventStore
from tom.testing.simulated_llm import SimulatedLLM


class Client:
    """A socket without a transport: what it is sent is a list."""

    def __init__(self, cell, *, streaming=True, thinking=False, device="a test", plain=False):
        self.outbox = Outbox(1_000_000, plain=plain)
        self.socket = Socket(
            cell.conversations, self.outbox, cell.clock, cell.approvals, user=cell.settings.user, device=device,
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
    async def open_one(toolbox=None, store=None, clock=None, services=(), vision=None, more=None, **chat):
        entry = LlmEntry(
            name="simulated", provider="compatible", base_url=llm.url, key=Secret(""), models=("s", "m", "l"),
            timeout=2, vision=vision, max_tokens=1000,
        )  # fmt: skip
        chat = {"context_max_tokens": 32000, "titles": False} | chat
        settings = AgentSettings(
            user="alice", home=tmp_path, llm="simulated", llms={"simulated": entry}, chat=ChatSettings(**chat),
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
