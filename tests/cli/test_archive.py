"""``tom archive``, asked of an agent that really runs and mirrors to a real Redis or MariaDB."""

import json
import uuid

import aiohttp
import pytest
import redis

pytestmark = [pytest.mark.anyio, pytest.mark.services]

CONFIG = "global: {llm: scripted}\n"


@pytest.fixture
def namespace():
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def agent(start, tmp_path, free_port, until, redis_server, namespace):
    """The address of an agent that runs alone and mirrors to Redis."""
    redis_server.usable()
    data = tmp_path / "alone"
    data.mkdir(mode=0o700)
    (data / "config.yml").write_text(CONFIG)
    (data / "config.yml").chmod(0o600)
    mirrored = {
        "HISTORY_STORAGE_BACKEND": "redis", "HISTORY_REDIS_URL": redis_server.url, "HISTORY_NAMESPACE": namespace,
    }  # fmt: skip
    running = start("agent", "--standalone", "--port", str(free_port), "--data", str(data), env=mirrored)
    await until(running.said("ws://"), seconds=60, what="the agent serves")
    yield f"http://localhost:{free_port}"
    redis_server.usable()


@pytest.fixture
def client(redis_server):
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


async def talk(url, *texts):
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws/chat") as ws:
        for text in texts:
            await ws.send_json({"action": "chat", "request_id": uuid.uuid4().hex, "payload": {"text": text}})
            while (frame := await ws.receive_json(timeout=20))["status"] != "complete":
                assert frame["status"] != "error", frame
        return frame["conversation_id"]


@pytest.mark.promise("P26")
async def test_the_archive_is_shown_compared_and_written_again(agent, tom, client, namespace, until, redis_server):
    conversation = await talk(agent, "hello there", "and again")
    messages = f"{namespace}:messages:local:{conversation}"
    await until(lambda: client.llen(messages) == 4, seconds=20)
    told = tom("archive", "status", "--url", agent)
    assert (told.returncode, told.stdout) == (0, "redis: holds everything\nwaiting: 0, the oldest for 0 s\n"), (
        told.stderr
    )
    told = tom("archive", "verify", "--url", agent)
    assert (told.returncode, told.stdout) == (0, "✅ Equal: 1 conversations with 4 messages\n"), told.stderr

    client.rpop(messages)
    client.lset(messages, 0, client.lindex(messages, 0).replace("hello", "goodbye"))
    told = tom("archive", "verify", "--json", "--url", agent)
    found = json.loads(told.stdout)
    assert (told.returncode, found["sessions"], found["messages"]) == (1, 1, 4)
    assert [row["what"] for row in found["differences"]] == ["different", "missing"]
    told = tom("archive", "verify", "--url", agent)
    assert told.returncode == 1
    assert "tom archive rebuild" in told.stderr

    client.delete(messages)
    told = tom("archive", "rebuild", "--url", agent)
    assert (told.returncode, told.stdout) == (0, "✅ Written again: 3\n"), told.stderr
    assert tom("archive", "verify", "--url", agent).returncode == 0

    redis_server.kill()
    told = tom("archive", "rebuild", "--url", agent)
    assert told.returncode == 7
    assert "takes nothing now" in told.stderr
    assert tom("archive", "verify", "--url", agent).returncode == 7
    told = tom("archive", "status", "--json", "--url", agent)
    found = json.loads(told.stdout)
    assert (told.returncode, found["state"], found["archive_behind"], found["waiting"]) == (7, "unreachable", True, 3)
    assert await talk(agent, "still there?")
    redis_server.start()
    told = tom("archive", "rebuild", "--no-wait", "--json", "--url", agent)
    assert json.loads(told.stdout)["queued"] >= 5


@pytest.mark.promise("P20")
async def test_a_deleted_session_is_gone_from_the_archive(agent, client, namespace, until):
    conversation = await talk(agent, "my canary sings")
    kept = await talk(agent, "something else")
    await until(lambda: len(client.keys(f"{namespace}:messages:*")) == 2, seconds=20)
    async with aiohttp.ClientSession() as http, http.delete(f"{agent}/sessions/{conversation}") as answer:
        assert answer.status == 204
    await until(lambda: client.keys(f"{namespace}:messages:*") == [f"{namespace}:messages:local:{kept}"], seconds=20)
    everything = "".join(
        str(client.lrange(key, 0, -1) if client.type(key) == "list" else client.dump(key))
        for key in client.keys(f"{namespace}:*")
    )
    assert "canary" not in everything
    assert conversation not in everything


async def test_without_an_archive_it_is_said(start, tom, tmp_path, free_port, until):
    data = tmp_path / "alone"
    data.mkdir(mode=0o700)
    (data / "config.yml").write_text(CONFIG)
    (data / "config.yml").chmod(0o600)
    running = start("agent", "--standalone", "--port", str(free_port), "--data", str(data))
    await until(running.said("ws://"), seconds=60, what="the agent serves")
    url = f"http://localhost:{free_port}"
    told = tom("archive", "status", "--url", url)
    assert (told.returncode, told.stdout) == (0, "No archive is configured (HISTORY_STORAGE_BACKEND).\n")
    for verb in ("rebuild", "verify"):
        told = tom("archive", verb, "--url", url)
        assert (told.returncode, "HISTORY_STORAGE_BACKEND" in told.stderr) == (3, True)
    async with aiohttp.ClientSession() as http, http.post(f"{url}/archive/rebuild") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (409, "archive_not_configured")
