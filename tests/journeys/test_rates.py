"""The limits of a whole house: gateway and agents, with the Redis that they share, and while it is away."""

import asyncio
import time

import pytest
import redis.asyncio

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

BURST, RATE = 4, 0.05
NARROW = {"rate_rps": RATE, "rate_burst": BURST}


async def post(person, path="/sessions", **headers):
    async with person.http.post(path, json={}, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_person_is_counted_on_all_their_devices_and_an_address_for_all_who_are_at_it(open_house, llm):
    house = await open_house(**NARROW)
    async with house.person("alice") as phone, house.person("alice") as laptop:
        found = [await post(device) for device in (phone, laptop, phone, laptop, phone)]
        assert [status for status, _ in found] == [201] * BURST + [429]
        assert set(found[-1][1]) == {"error", "retry_after"}
    async with house.person("bob") as bob:
        assert (await post(bob))[0] == 429, "the address has asked enough"


@pytest.mark.services
@pytest.mark.promise("P19")
async def test_one_limit_for_gateway_and_agents_that_outlives_redis_and_a_restart(open_house, llm, redis_server):
    redis_server.usable()
    async with redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True) as client:
        await client.flushall()
        llm.otherwise(Script.text("Yes."))
        house = await open_house(**NARROW, redis_url=redis_server.url)
        async with house.person("alice") as alice:
            await _until_counted(alice, client)
            _, session = await post(alice)
            async with alice.http.post(f"/sessions/{session['id']}/messages", json={"content": "hello"}) as answer:
                assert answer.status == 200
            assert await _until(client.exists, f"chat_memory:history:alice:{session['id']}")
            assert await _until(client.exists, "rate_limiter:ip:127.0.0.1", "rate_limiter:user:alice", both=2)
        await house.stop()
        await house.start()
        async with house.person("alice") as alice:
            found = [(await post(alice))[0] for _ in range(BURST + 1)]
            assert found[-1] == 429
            # A machine that is slow for a moment is a Redis that is away for five seconds.
            if "does not count arrivals" not in house.log:
                assert found == [201, 201, 429, 429, 429], "a restart forgets nothing"
            redis_server.stop()
            took = []
            for _ in range(20):
                began = time.monotonic()
                status, _ = await post(alice)
                took.append(time.monotonic() - began)
                assert status == 429, "what this process has let pass is counted on"
            assert sorted(took)[-2] < 0.15
            redis_server.usable()


async def _until(question, *arguments, both=1):
    for _ in range(500):
        if await question(*arguments) >= both:
            return True
        await asyncio.sleep(0.01)
    return False


async def _until_counted(person, client):
    """Wait until gateway and agent have found their Redis; reads have a bucket of their own."""
    keys = ("rate_limiter:read:ip:127.0.0.1", "rate_limiter:read:user:alice")
    for _ in range(500):
        await person.get("/sessions")
        if await client.exists(*keys) == 2:
            return
        await asyncio.sleep(0.05)
    pytest.fail("nobody counts in Redis")
