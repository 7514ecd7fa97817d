"""One limit for all processes of a Redis, and the same limit while it is away."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio

from tom.clock import SystemClock
from tom.limits.limiter import Key, Rule
from tom.limits.link import RedisLink
from tom.limits.redis import RedisLimiter
from tom.telemetry import logs
from tom.testing.databases import Server
from tom.testing.limiter_contract import LimiterContract

pytestmark = [pytest.mark.anyio, pytest.mark.services]

RULE = Rule(rate=50.0, burst=20)
PATIENT = 5.0
"""Seconds for an answer where a slow machine must not look like an outage."""


@pytest.fixture
async def server(redis_server: Server) -> AsyncIterator[Server]:
    """A Redis that is up and empty."""
    redis_server.usable()
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        await client.flushall()
    yield redis_server
    redis_server.usable()


@pytest.fixture
async def open_limiter(server: Server) -> AsyncIterator[Callable[..., Any]]:
    """Limiters on the server; the options are those of `RedisLink`."""
    opened: list[RedisLimiter] = []

    async def make(**options: float) -> RedisLimiter:
        link = RedisLink(server.url, SystemClock(), **options)
        await link.open()
        opened.append(RedisLimiter(link, SystemClock()))
        return opened[-1]

    yield make
    for limiter in opened:
        await limiter.close()


async def _send(limiter: RedisLimiter, keys: list[Key], until: float) -> tuple[int, float]:
    """Send all the time up to a moment; returns how many passed, and in how many seconds all but one in 100 were answered."""
    passed, took = 0, list[float]()
    while (began := time.monotonic()) < until:
        wait = await limiter.take(keys)
        took.append(time.monotonic() - began)
        passed += wait == 0.0
        await asyncio.sleep(min(wait, 0.002))
    return passed, sorted(took)[-1 - len(took) // 100]


async def test_keys_are_charged_all_or_none_and_expire(open_limiter: Callable[..., Any], server: Server) -> None:
    limiter = await open_limiter(seconds=PATIENT)
    other = await open_limiter(seconds=PATIENT)
    user, address = Key("user:anna", Rule(0.1, 5)), Key("ip:192.0.2.1", Rule(0.1, 2))
    assert [await limiter.take([user, address]), await other.take([user, address])] == [0.0, 0.0]
    for _ in range(10):
        assert await other.take([user, address]) == pytest.approx(10.0, abs=1.0)
    assert [await limiter.take([user]) for _ in range(3)] == [0.0] * 3
    assert await other.take([user]) == pytest.approx(10.0, abs=1.0)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert sorted(await client.keys()) == [b"rate_limiter:ip:192.0.2.1", b"rate_limiter:user:anna"]
        assert 90_000 < await client.pttl("rate_limiter:user:anna") <= 100_000, (
            "twice what the burst takes to come back"
        )


async def test_what_redis_refuses_is_not_charged_here_either(open_limiter: Callable[..., Any]) -> None:
    limiter, other = await open_limiter(seconds=PATIENT), await open_limiter(seconds=PATIENT)
    user, addresses = Key("user:anna", Rule(0.01, 3)), [Key(f"ip:192.0.2.{n}", Rule(0.01, 1)) for n in range(5)]
    for address in addresses:
        assert await other.take([address]) == 0.0
    for address in addresses:
        assert await limiter.take([user, address]) > 90.0
    assert [await limiter.take([user]) for _ in range(3)] == [0.0] * 3
    assert await limiter.take([user]) > 90.0


class TestRedisLimiter(LimiterContract):
    @pytest.fixture
    async def limiter(self, open_limiter: Callable[..., Any]) -> RedisLimiter:
        return await open_limiter(seconds=PATIENT)


_PROCESS = """
import asyncio, json, sys, time
from tom.clock import SystemClock
from tom.limits.limiter import Key, Rule
from tom.limits.link import RedisLink
from tom.limits.redis import RedisLimiter

async def main(url, rate, burst):
    link = RedisLink(url, SystemClock(), seconds=5.0)
    await link.open()
    limiter = RedisLimiter(link, SystemClock())
    print("ready", flush=True)
    until = time.time() + float(sys.stdin.readline())
    passed = []
    async def send():
        while time.time() < until:
            began = time.time()
            wait = await limiter.take([Key("user:anna", Rule(rate, burst))])
            if wait == 0.0:
                passed.append((began, time.time()))
            await asyncio.sleep(min(wait, 0.002))
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(send())
    await limiter.close()
    print(json.dumps([passed, link.away]))

asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.mark.promise("P19")
async def test_two_processes_keep_one_limit_together(server: Server) -> None:
    command = [sys.executable, "-c", _PROCESS, server.url, str(RULE.rate), str(RULE.burst)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        answers = []
        for process in both:
            assert process.stdin is not None
            process.stdin.write("2.0\n")
            process.stdin.flush()
        for process in both:
            out, _ = process.communicate(timeout=30)
            answers.append(json.loads(out))
    finally:
        for process in both:
            process.kill()
            process.wait(10)
    assert not any(away for _, away in answers)
    each = [len(passed) for passed, _ in answers]
    times = [moment for passed, _ in answers for moment in passed]
    first, last = min(began for began, _ in times), max(ended for _, ended in times)
    assert sum(each) <= RULE.burst + RULE.rate * (last - first) + 1
    assert sum(each) >= RULE.burst + RULE.rate * 1.5, "and they get what there is"
    assert min(each) > 0


@pytest.mark.promise("P19")
@pytest.mark.parametrize("trouble", ["kill", "stop"])
async def test_the_same_limit_holds_while_redis_is_away_and_when_it_returns(
    open_limiter: Callable[..., Any], server: Server, trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    limiter = await open_limiter(left_alone=0.3)
    keys = [Key("user:anna", RULE), Key("ip:192.0.2.1", RULE)]
    began = time.monotonic()
    passed, _ = await _send(limiter, keys, began + 0.6)
    if trouble == "kill":
        server.kill()
    else:
        server.stop()
    more, longest = await _send(limiter, keys, time.monotonic() + 1.0)
    assert more > 0, "it is not closed either"
    assert longest < 0.15, "nobody waits for a Redis that does not answer"
    passed += more
    server.usable()
    more, _ = await _send(limiter, keys, time.monotonic() + 1.0)
    passed += more
    seconds = time.monotonic() - began
    assert passed <= RULE.burst + RULE.rate * seconds + 1
    assert passed >= (RULE.burst + RULE.rate * seconds) * 0.8
    logs.flush()
    told = capfd.readouterr().err
    assert told.count("this process does, by the same limits") == 1, "once a minute"


async def test_a_redis_that_never_was_there_leaves_the_limit(free_port: int) -> None:
    link = RedisLink(f"redis://:s3cret@127.0.0.1:{free_port}/0", SystemClock())
    await link.open()
    limiter = RedisLimiter(link, SystemClock())
    key = [Key("user:anna", Rule(0.01, 3))]
    assert [await limiter.take(key) for _ in range(3)] == [0.0] * 3
    assert await limiter.take(key) > 90.0
    await limiter.close()


async def test_the_address_and_password_are_not_logged(free_port: int, capfd: pytest.CaptureFixture[str]) -> None:
    link = RedisLink(f"redis://:s3cret@127.0.0.1:{free_port}/0", SystemClock())
    await link.open()
    limiter = RedisLimiter(link, SystemClock())
    await limiter.take([Key("user:anna", RULE)])
    await limiter.close()
    logs.flush()
    told = capfd.readouterr().err
    assert "by the same limits" in told
    assert "s3cret" not in told
    assert str(free_port) not in told


async def test_what_another_process_has_used_up_is_known_when_redis_goes_away(
    open_limiter: Callable[..., Any], server: Server
) -> None:
    one, other = await open_limiter(seconds=PATIENT), await open_limiter()
    key = [Key("user:anna", Rule(0.01, 4))]
    assert [await one.take(key) for _ in range(3)] == [0.0] * 3
    assert await other.take(key) == 0.0
    server.stop()
    assert await other.take(key) > 90.0
