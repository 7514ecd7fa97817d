"""Conversations written out, usage told, retention shown: over the agent's real door."""

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from tom.agent.app import AgentApp
from tom.agent.export import fenced, file_name
from tom.agent.identify import AtThisMachine, BehindGateway
from tom.agent.serving import make_server
from tom.config.agent import LimitSettings, PersistenceSettings
from tom.config.secret import Secret
from tom.conversation import codec
from tom.conversation.event import prompt_set
from tom.conversation.part import ToolCall
from tom.conversation.usage import Usage
from tom.testing.store_events import (
    asked,
    called,
    cancelled,
    changed,
    compacted,
    completed,
    failed,
    granted,
    opened,
    replied,
    returned,
    started,
    unresolved,
    waiting,
    wished,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def serve():
    @asynccontextmanager
    async def serve_one(cell, door=None, **headers):
        listening = socket.create_server(("127.0.0.1", 0))
        server = make_server(AgentApp(cell, door or AtThisMachine(frozenset())), cell)
        cell.ready = True
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(url, headers=headers) as http:
                yield http
        finally:
            server.should_exit = True
            await serving
            listening.close()

    return serve_one


async def tell(store, runs=1):
    calls = (ToolCall("call-1", "notes_add", '{"text": "milk"}'),)
    await store.append([opened(), prompt_set("c", "Be kind."), asked("r0", text="Žluťoučký ``` kůň")])
    await store.append([started("r0"), replied("r0", calls=calls, text=""), wished("r0"), waiting("r0")])
    resumed = replace(started("r0"), type="run.resumed")
    await store.append([granted("r0"), resumed, called("r0"), returned("r0"), unresolved("r0", "call-2")])
    await store.append([replied("r0", text="Done."), completed("r0"), compacted(text="A summary.")])
    await store.append([asked("r1"), cancelled("r1"), asked("r2"), started("r2"), failed("r2")])
    for number in range(3, 3 + runs):
        await store.append([asked(f"r{number}"), started(f"r{number}"), replied(f"r{number}"), completed(f"r{number}")])


async def test_json_is_complete_and_reads_back(open_cell, serve):
    async with open_cell() as cell, serve(cell) as http:
        await tell(cell.store, runs=400)
        events = await cell.store.read("c", limit=5000)
        async with http.get("/sessions/c/export") as response:
            assert response.status == 200
            assert response.headers["content-type"] == "application/json; charset=utf-8"
            assert response.headers["content-disposition"] == 'attachment; filename="lu-ou-k-k.json"'
            found = await response.json()
        assert (found["format"], found["version"]) == ("tom.conversation", 1)
        shown = [replace(event, content=None) if event.type == "prompt.set" else event for event in events]
        assert [codec.from_json(event) for event in found["events"]] == shown
        assert "Be kind." not in str(found), "the house's own instruction stays in the house"
        about = found["conversation"]
        assert (about["id"], about["metadata"]) == ("c", {"pin": 1})
        assert about["usage"]["prompt_tokens"] == (await cell.store.conversations(ids=["c"]))[0].usage.prompt_tokens


async def test_markdown_is_for_people(open_cell, serve):
    async with open_cell() as cell, serve(cell) as http:
        await tell(cell.store)
        await cell.store.append([changed(title="Milk\nand  oats", title_by="person")])
        async with http.get("/sessions/c/export?format=markdown") as response:
            assert response.headers["content-type"] == "text/markdown; charset=utf-8"
            assert response.headers["content-disposition"] == 'attachment; filename="Milk-and-oats.md"'
            text = await response.text()
    assert text.startswith("# Milk and oats\n")
    headings = re.findall(r"^(#+ [A-Za-z ]+?)(?: ·.*)?(?: `.*`)?$", text, re.MULTILINE)
    wanted = ["# Milk and oats", "## User", "### Called", "### Result", "### Outcome unknown", "## Assistant"]
    assert headings[:6] == wanted
    assert "*Allowed: `notes.add`*" in text
    assert '```json\n{\n "text": "milk"\n}\n```' in text
    assert "*Ended: stopped*" in text
    assert "Be kind" not in text
    assert "A summary" not in text


async def test_openai_messages_can_be_sent_elsewhere(open_cell, serve):
    async with open_cell() as cell, serve(cell) as http:
        await tell(cell.store)
        async with http.get("/sessions/c/export?format=openai") as response:
            messages = (await response.json())["messages"]
    assert [message["role"] for message in messages[:5]] == ["user", "assistant", "tool", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "notes_add", "arguments": '{"text": "milk"}'}
    assert messages[2]["tool_call_id"] == "call-1"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/sessions/nobody/export", 404, "session_not_found"),
        ("/sessions/c/export?format=pdf", 422, "validation_error"),
        ("/usage?from=2026-02-30", 422, "validation_error"),
        ("/usage?from=20260101", 422, "validation_error"),
        ("/usage?from=2026-02-01&to=2026-01-01", 422, "validation_error"),
        ("/usage?from=2020-01-01&to=2026-01-01", 422, "validation_error"),
    ],
)
async def test_what_cannot_be_is_refused(open_cell, serve, path, status, code):
    async with open_cell() as cell, serve(cell) as http:
        await tell(cell.store)
        async with http.get(path) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (status, code)


async def test_usage_is_told_by_day_with_the_limits(open_cell, serve):
    limits = {"limits": LimitSettings(cost_per_day=7, tokens_per_day=99)}
    async with open_cell(more=limits) as cell, serve(cell) as http:
        spent = replace(replied("r1"), usage=Usage(10, 5, cost=2_500_000))
        await cell.store.append([asked("r1"), started("r1"), spent, completed("r1"), asked("r2")])
        day = cell.clock.now().date().isoformat()
        async with http.get("/usage") as response:
            found = await response.json()
        for days in ("from=2026-01-01&to=2026-01-02", "to=0001-01-01", "from=9999-01-01&to=9999-12-31"):
            async with http.get(f"/usage?{days}") as response:
                assert (await response.json())["usage"] == []
    (one,) = found["usage"]
    assert one == {"day": day, "prompt_tokens": 10, "completion_tokens": 5, "runs": 2, "cost": 2.5}
    used = {limit["name"]: (limit["limit"], limit["used"]) for limit in found["limits"]}
    assert used == {"user.cost_per_day": (7, 2.5), "user.tokens_per_day": (99, 15), "run.cost": (2, None)}


async def test_only_the_operator_sees_what_retention_would_erase(open_cell, serve):
    kept = {"persistence": PersistenceSettings(retention="message_count", retention_messages=2)}
    async with open_cell(more=kept) as cell:
        async with serve(cell) as http:
            async with http.get("/health"):  # what is due at start is done by now
                await tell(cell.store, runs=2)
            async with http.get("/history/retention") as response:
                found = await response.json()
        assert (found["policy"], found["limit"]) == ("message_count", 2)
        assert [cut["session_id"] for cut in found["sessions"]] == ["c"]
        door = BehindGateway("alice", Secret("s"))
        headers = {"X-Tom-User": "alice", "X-Tom-Agent-Secret": "s", "X-Tom-Door": "cookie"}
        async with serve(cell, door, **headers) as http, http.get("/history/retention") as response:
            assert response.status == 403


def test_a_block_of_code_is_not_ended_by_what_is_in_it():
    assert fenced("a ```` b").splitlines()[0] == "`````"
    assert fenced("plain", "json") == "```json\nplain\n```"


@pytest.mark.parametrize(
    ("title", "name"), [("سلام", "c.md"), ("../../etc/passwd", "etc-passwd.md"), ('a"b\r\nc', "a-b-c.md")]
)
async def test_a_file_s_name_holds_nothing_of_a_path(open_cell, title, name):
    async with open_cell() as cell:
        await cell.store.append([opened(), changed(title=title)])
        (row,) = await cell.store.conversations()
    assert file_name(row, ".md") == name
    assert json.dumps(name).isascii()
