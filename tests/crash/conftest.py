"""One agent that is started and killed many times, spoken to through its own socket."""

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager

import apsw
import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import WebSocketException

from tom.config.agent import AgentSettings, ChatSettings, LlmEntry, ServiceEntry
from tom.config.document import encode_agent
from tom.config.secret import Secret
from tom.spawner.process import ProcessSpawner
from tom.spawner.spawner import AgentSpec
from tom.testing.house import Chat
from tom.testing.simulated_llm import SimulatedLLM

SECRET = "agent-secret-for-crash-tests"


class Mortal:
    """An agent in a process of its own. ``kill_at`` makes it end itself at an exact moment."""

    def __init__(self, directory, spawner, endpoint, services=()):
        self.home = directory / "users" / "alice"
        self.home.mkdir(parents=True)
        self.socket = str(directory / "agents" / "alice.sock")
        (directory / "agents").mkdir(mode=0o700)
        self.spawner = spawner
        entry = LlmEntry(
            name="simulated", provider="compatible", base_url=endpoint.url, key=Secret(""), models=("m",) * 3, timeout=5
        )
        self.settings = AgentSettings(
            user="alice", home=self.home, agent_secret=Secret(SECRET), llm="simulated", llms={"simulated": entry},
            services=tuple(services), chat=ChatSettings(context_max_tokens=32000, titles=False),
        )  # fmt: skip
        self.handle = None

    async def start(self):
        spec = AgentSpec("alice", encode_agent(self.settings), self.socket)
        self.handle = await self.spawner.start(spec)

    async def ended(self):
        async with asyncio.timeout(20):
            while await self.spawner.poll(self.handle) is None:
                await asyncio.sleep(0.002)
        return await self.spawner.poll(self.handle)

    async def kill(self):
        os.kill(self.handle.pid, signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def stop(self):
        return await self.spawner.stop(self.handle)

    def kill_at(self, moment):
        (self.home / "kill-at").write_text(moment)

    @asynccontextmanager
    async def chat(self):
        headers = {"X-Tom-User": "alice", "X-Tom-Door": "cookie", "X-Tom-Agent-Secret": SECRET}
        async with unix_connect(
            self.handle.socket, "ws://tom-agent/ws/chat", additional_headers=headers, compression=None, max_size=None
        ) as connection:
            yield Chat(connection)

    async def say(self, text, request_id, conversation_id="c1"):
        """Say it until it is answered, sending the same id again after every crash."""
        async with asyncio.timeout(30):
            while True:
                try:
                    async with self.chat() as chat:
                        return await chat.say(text, request_id, conversation_id=conversation_id)
                except (WebSocketException, OSError):
                    await asyncio.sleep(0.005)  # a refused connection yields to nobody
                    if await self.spawner.poll(self.handle) is not None:
                        await self.start()

    def rows(self, sql, *values):
        """What is on disk, read by somebody else."""
        database = apsw.Connection(
            f"file:{self.home / 'history.db'}?mode=ro", flags=apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READONLY
        )
        database.set_busy_timeout(5000)  # the agent may be putting its file in order after a kill
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def events(self, conversation="c1"):
        columns = "seq, type, content, tool_call_id, extra, request_id"
        rows = self.rows(f"SELECT {columns} FROM chat_events WHERE conversation_id = ? ORDER BY seq", conversation)
        names = [name.strip() for name in columns.split(",")]
        events = [dict(zip(names, row, strict=True)) for row in rows]
        return [event | {"extra": json.loads(event["extra"] or "{}")} for event in events]


@pytest.fixture
def llm():
    with SimulatedLLM() as endpoint:
        yield endpoint


@pytest.fixture
async def spawner():
    spawner = ProcessSpawner(
        entry="tom.testing.crashing:serve_cell", preload=("tom.testing.crashing", "uvloop", "aiohttp")
    )
    yield spawner
    await spawner.close()


@pytest.fixture
async def mortal(tmp_path, spawner, llm):
    """``await mortal(services)`` starts an agent."""

    async def open_one(*services: ServiceEntry):
        return Mortal(tmp_path, spawner, llm, services)

    return open_one
