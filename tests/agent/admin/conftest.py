"""An agent alone on a port, with its admins' desk and an archive that does as it is told."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tom.agent.adminopening import open_admin
from tom.agent.alone import door_alone
from tom.agent.app import AgentApp
from tom.agent.doorfile import DoorFile
from tom.agent.serving import make_server
from tom.archive.archive import ArchiveUnavailable, MessageRecord, SessionRecord
from tom.audit.desk import Setting
from tom.clock import SystemClock
from tom.config.agent import ArchiveSettings, DoorSettings, RateSettings
from tom.config.secret import Secret

TOKEN = "t0p-secret-admin-token"
ADMIN = {"X-Admin-Token": TOKEN}
SETTINGS = [
    Setting("rate_rps", 1.0, "default", secret=False),
    Setting("global.log_level", "INFO", "config.yml:3", secret=False),
    Setting("admin_token", TOKEN, "environment (ADMIN_TOKEN)", secret=True),
    Setting("openrouter_key", None, "default", secret=True),
]


@dataclass(eq=False)
class House:
    """An agent that runs, and how to ask it."""

    cell: Any
    admin: Any
    http: aiohttp.ClientSession
    url: str

    async def ask(self, method, path, body=None, headers=ADMIN):
        """Status, body and headers of one answer; as an admin, unless other ``headers`` are given."""
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        headers = dict(headers) | ({"Content-Type": "application/json"} if data is not None else {})
        async with self.http.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            assert answer.headers["X-Request-ID"]
            return answer.status, json.loads(text) if text else None, answer.headers

    async def code(self, method, path, body=None, headers=ADMIN):
        """Status and code of a refusal."""
        status, told, _ = await self.ask(method, path, body, headers)
        return status, told["error"]["code"] if isinstance(told, dict) and isinstance(told.get("error"), dict) else told

    async def chat(self, connect, text="hello there", conversation="c1"):
        """One message and its answer over a socket."""
        client = connect(self.cell)
        await client.do("chat", "r-" + conversation, text=text, conversation_id=conversation)
        await client.end_of("r-" + conversation)


class Shelf:
    """An archive that holds what a test puts there, or cannot be reached."""

    def __init__(self):
        self.held = [
            SessionRecord(f"s{number}", None, f"2026-03-0{number}T12:00:00.000Z", {"n": number}) for number in (3, 2, 1)
        ]
        self.down = False

    async def sessions(self, *, limit, offset, since=None, until=None):
        if self.down:
            raise ArchiveUnavailable
        found = [
            one
            for one in self.held
            if (since is None or one.created_at >= since) and (until is None or one.created_at <= until)
        ]
        return tuple(found[offset : offset + limit]), len(found)

    async def messages(self, session_id, *, limit, offset):
        if self.down:
            raise ArchiveUnavailable
        rows = [
            MessageRecord(
                session_id, seq, "user", f"text {seq}", "2026-03-01T12:00:00.000Z", {}, "2026-03-01T12:00:01.000Z"
            )
            for seq in range(1, 4)
        ]
        return tuple(rows[offset : offset + limit])

    async def close(self):
        pass


@pytest.fixture
def shelf():
    """An archive with three sessions."""
    return Shelf()


@pytest.fixture
def open_house(open_cell, tmp_path):
    """``async with open_house(token=…, auth=…, …) as house``: an agent alone on a port, with its desk."""

    @asynccontextmanager
    async def opened(token=TOKEN, *, auth="local", archive=None, door=None, **doors):
        settings = DoorSettings(admin_token=Secret(token), auth=auth, **{"rates": RateSettings()} | doors)
        more = {"doors": settings}
        if archive:
            more["archive"] = ArchiveSettings(backend="mysql", namespace="ns", password=Secret("archive-password"))

        async def open_archive():
            return archive

        async with open_cell(more=more) as cell:
            cell.ready = True
            file = await DoorFile.open(tmp_path, SystemClock())
            admin = await open_admin(
                cell, file.database, explain=lambda: SETTINGS, archive=open_archive if archive else None
            )
            listening = socket.create_server(("127.0.0.1", 0))
            server = make_server(AgentApp(cell, door or door_alone(cell.settings, file)), cell)
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            try:
                async with aiohttp.ClientSession(url) as http:
                    yield House(cell, admin, http, url)
            finally:
                server.should_exit = True
                await serving
                await admin.chain.close()
                await file.close()

    return opened
