"""What stands in Redis, exactly; and what it does rarely."""

import asyncio
import json

import pytest
import redis

from tom.archive.archive import ArchiveUnavailable, RecordRefused
from tom.archive.redis import RedisArchive
from tom.testing.archive_contract import message, session, texts

pytestmark = [pytest.mark.anyio, pytest.mark.services]


@pytest.fixture
def client(redis_server, open_redis):
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


async def test_lists_hash_and_last_seq_are_as_written(open_redis, client):
    archive = open_redis(user="alice", namespace="ns")
    await archive.write(session("a:b", limit=3, k="ä"), (message(2, "two", of="a:b"), message(4, "four", of="a:b")))
    await archive.write(session("a:b", limit=4), ())
    assert sorted(client.keys()) == [
        "ns:last:alice:a:b",
        "ns:messages:alice:a:b",
        "ns:session:alice:a:b",
        "ns:sessions",
    ]
    (pushed,) = client.lrange("ns:sessions", 0, -1)
    begun = session("a:b").created_at
    assert json.loads(pushed) == {
        "id": "a:b",
        "user": "alice",
        "memory_limit": 3,
        "created_at": begun,
        "metadata": {"k": "ä"},
    }
    assert client.hgetall("ns:session:alice:a:b") == {
        "id": "a:b", "user": "alice", "memory_limit": "4", "created_at": begun, "metadata": "{}",
    }  # fmt: skip
    assert client.get("ns:last:alice:a:b") == "4"
    first = json.loads(client.lindex("ns:messages:alice:a:b", 0))
    assert list(first) == ["seq", "role", "content", "created_at", "stored_at", "metadata"]
    await archive.erase("a:b")
    assert client.keys() == []


@pytest.mark.promise("P26")
async def test_a_list_that_was_lost_is_written_again_though_the_last_seq_stayed(open_redis, client):
    archive = open_redis()
    records = [message(seq, str(seq)) for seq in (1, 2, 3)]
    await archive.write(session(), records)
    client.delete("chat_history:messages:local:c")
    await archive.write(session(), records[:2])
    client.lrem("chat_history:messages:local:c", 0, client.lindex("chat_history:messages:local:c", 0))
    await archive.write(session(), records)
    assert await texts(archive) == [(1, "1"), (2, "2"), (3, "3")]
    assert client.get("chat_history:last:local:c") == "3"


async def test_two_that_tell_the_same_at_once_leave_it_there_once(open_redis):
    archives = [open_redis() for _ in range(4)]
    records = [message(seq, str(seq)) for seq in range(1, 51)]
    await asyncio.gather(*(archive.write(session(), records) for archive in archives for _ in range(5)))
    assert await texts(archives[0]) == [(seq, str(seq)) for seq in range(1, 51)]
    assert (await archives[0].sessions(limit=5, offset=0))[1] == 1


async def test_a_key_of_another_kind_is_a_refusal(open_redis, client):
    client.set("chat_history:messages:local:c", "odd")
    archive = open_redis()
    with pytest.raises(RecordRefused):
        await archive.write(session(), (message(1),))
    with pytest.raises(RecordRefused):
        await archive.write(session("d"), (message(1, "half \ud83d a character", of="d"),))


async def test_a_session_whose_state_was_lost_is_not_listed(open_redis, client):
    archive = open_redis()
    await archive.write(session(), ())
    client.delete("chat_history:session:local:c")
    assert await archive.sessions(limit=5, offset=0) == ((), 1)


async def test_what_somebody_else_wrote_is_passed_over(open_redis, client):
    archive = open_redis()
    odd = [
        '{"id":"old","created_at":"2025-01-01T00:00:00Z"}',
        "no json",
        "[]",
        '{"user":"local"}',
        '{"user":"local","id":1}',
    ]
    client.rpush("chat_history:sessions", *odd)
    await archive.write(session(), (message(1, "one"),))
    client.rpush("chat_history:messages:local:c", *odd)
    ((row,), total) = await archive.sessions(limit=5, offset=0)
    assert (row.id, total) == ("c", 1)
    assert await texts(archive) == [(1, "one")]
    client.hdel("chat_history:session:local:c", "metadata")
    assert (await archive.sessions(limit=5, offset=0))[0] == ()
    await archive.erase("c")
    assert client.lrange("chat_history:sessions", 0, -1) == odd


@pytest.mark.promise("P26")
async def test_an_archive_that_is_away_or_takes_nothing_says_so(open_redis, client, redis_server, clock, free_port):
    archive = open_redis(seconds=0.5)
    await archive.write(session(), ())
    client.replicaof("127.0.0.1", 1)
    with pytest.raises(ArchiveUnavailable):
        await archive.write(session(), (message(1),))
    client.replicaof("NO", "ONE")
    redis_server.stop()
    with pytest.raises(ArchiveUnavailable, match="in time"):
        await archive.prepare()
    redis_server.go_on()
    await archive.prepare()
    nobody = RedisArchive(f"redis://127.0.0.1:{free_port}", namespace="n", user="u", clock=clock, seconds=0.5)
    with pytest.raises(ArchiveUnavailable, match="not reachable"):
        await nobody.prepare()
    client.config_set("requirepass", "secret")
    try:
        with pytest.raises(ArchiveUnavailable):
            await open_redis().prepare()
    finally:
        client.execute_command("AUTH", "secret")
        client.config_set("requirepass", "")
