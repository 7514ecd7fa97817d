"""Two people of one house, mirrored to one real database: each their own, through kills, deletions and a stop."""

import asyncio
import json
import sys

import pytest
import redis

pytestmark = [pytest.mark.anyio, pytest.mark.services]


@pytest.fixture
def client(redis_server):
    redis_server.usable()
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        client.flushall()
        yield client
    redis_server.usable()


@pytest.fixture
def mirrored(redis_server):
    return {"history_storage_backend": "redis", "history_redis_url": redis_server.url, "history_namespace": "house"}


async def tom(house, *arguments):
    """The command line on the house's own data; status and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tom.cli.main", *arguments, "--data", str(house.directory),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode() + err.decode()


def texts(client, user, conversation):
    return [json.loads(item)["content"] for item in client.lrange(f"house:messages:{user}:{conversation}", 0, -1)]


@pytest.mark.promise("P26")
async def test_each_person_s_words_are_mirrored_under_their_name(
    open_house, llm, mirrored, client, until, redis_server
):
    house = await open_house(**mirrored)
    async with house.person("alice") as alice, house.person("bob") as bob:
        first = (await alice.say("of alice")).conversation_id
        second = (await bob.say("of bob")).conversation_id
        await until(
            lambda: len(texts(client, "alice", first)) == 2 and len(texts(client, "bob", second)) == 2, seconds=20
        )
        assert texts(client, "alice", first)[0] == "of alice"
        assert len(client.keys("house:messages:*")) == 2
        for user in ("alice", "bob"):
            status, told = await tom(house, "archive", "verify", "--user", user)
            assert (status, "✅ Equal: 1 conversations with 2 messages" in told) == (0, True), told

        for path, method in (("/archive", "GET"), ("/archive/verify", "POST"), ("/archive/rebuild", "POST")):
            async with alice.http.request(method, house.url + path, headers={"X-Tom-Client": "test"}) as answer:
                assert answer.status in {403, 404}

        redis_server.kill()
        await alice.say("while it was away", conversation_id=first)
        await bob.say("while it was away", conversation_id=second)
        await house.kill_agent("alice")
        status, said = 502, ""
        while status == 502:  # what meets an agent in the moment of its death is told so, and asked again
            async with alice.http.delete(f"{house.url}/sessions/{first}", headers={"X-Tom-Client": "test"}) as answer:
                status, said = answer.status, await answer.text()
        assert status == 204, said
        redis_server.start()
        await until(lambda: len(texts(client, "bob", second)) == 4, seconds=60)
        await until(lambda: not client.keys("house:*:alice:*"), seconds=60)
        assert [json.loads(item)["user"] for item in client.lrange("house:sessions", 0, -1)] == ["bob"]


@pytest.mark.promise("P26")
async def test_what_is_said_just_before_a_stop_is_told_before_it_or_after_the_next_start(
    open_house, llm, mirrored, client, until
):
    house = await open_house(**mirrored)
    async with house.person("alice") as alice:
        conversation = (await alice.say("goodbye")).conversation_id
        await house.stop()
    assert texts(client, "alice", conversation)[0] == "goodbye"
    client.flushall()
    await house.start()
    async with house.person("alice") as alice:
        await alice.get("/sessions")
        await until(lambda: len(texts(client, "alice", conversation)) == 2, seconds=30)
