"""``tom history``: conversations written out and retention shown, asked of an agent that really runs."""

import json

import aiohttp
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CONFIG = """
global: {llm: scripted}
repository: {persistence: {retention_policy: message_count, max_messages_per_conversation: 50}}
"""


@pytest.fixture
async def agent(start, tmp_path, free_port, until):
    """The address of an agent that runs alone."""
    data = tmp_path / "alone"
    data.mkdir(mode=0o700)
    (data / "config.yml").write_text(CONFIG)
    (data / "config.yml").chmod(0o600)
    running = start("agent", "--standalone", "--port", str(free_port), "--data", str(data))
    await until(running.said("ws://"), seconds=30, what="the agent serves")
    return f"http://localhost:{free_port}"


async def talk(url, text):
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws/chat") as ws:
        await ws.send_json({"action": "chat", "request_id": "q", "payload": {"text": text}})
        while (frame := await ws.receive_json(timeout=20))["status"] != "complete":
            pass
        return frame["conversation_id"]


async def test_a_conversation_is_written_out(agent, tom, tmp_path):
    conversation = await talk(agent, "hello there")
    told = tom("history", "export", conversation, "--url", agent)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["conversation"]["id"] == conversation
    assert "hello there" in [event["content"] for event in found["events"]]
    target = tmp_path / "talk.md"
    for status in (0, 2):
        wanted = ("--format", "markdown", "-o", str(target))
        assert tom("history", "export", conversation, *wanted, "--url", agent).returncode == status
    assert target.read_text().startswith("# hello there\n")
    assert tom("history", "export", "nobody", "--url", agent).returncode == 5


async def test_what_would_be_erased_is_shown_and_nothing_is(agent, tom):
    told = tom("history", "retention", "--dry-run", "--json", "--url", agent)
    assert json.loads(told.stdout) == {"policy": "message_count", "limit": 50, "sessions": []}
    told = tom("history", "retention", "--dry-run", "--url", agent)
    assert told.stdout == "Kept: the newest 50 messages\nNothing would be erased.\n"
    assert tom("history", "retention", "--url", agent).returncode == 2
