# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `Limiter` must do. Subclass it in a test module and give it the fixture ``limiter``, which counts nothing yet.

Rules are either so slow that nothing comes back during a test, or so fast that waiting for it costs nothing.
"""

import asyncio

import pytest

from tom.limits.limiter import Key, Limiter, Rule

SLOW = 0.01
FAST = 50.0
TRIES = 200


def key(name: str = "user:anna", *, rate: float = SLOW, burst: int = 3) -> Key:
    """Somebody who is counted."""
    return Key(name, Rule(rate, burst))


class LimiterContract:
    """Count arrivals, as `tom.limits.limiter.Limiter` says."""

    pytestmark = pytest.mark.anyio

    async def test_a_burst_passes_and_then_it_says_when_the_next_one_does(self, limiter: Limiter) -> None:
        assert [await limiter.take([key()]) for _ in range(3)] == [0.0] * 3
        assert await limiter.take([key()]) == pytest.approx(100.0, abs=2.0)
        assert await limiter.take([key()]) == pytest.approx(100.0, abs=2.0), "a refusal costs nothing"

    async def test_whoever_waits_as_told_passes(self, limiter: Limiter) -> None:
        hasty, passed = key(rate=FAST), 0
        for _ in range(TRIES):
            wait = await limiter.take([hasty])
            passed += wait == 0.0
            assert wait <= 1.0 / FAST + 0.001
            await asyncio.sleep(wait)
        assert passed >= TRIES // 3

    async def test_all_keys_are_charged_or_none(self, limiter: Limiter) -> None:
        wide, narrow = key("user:anna", burst=3), key("ip:192.0.2.1", burst=1)
        assert await limiter.take([wide, narrow]) == 0.0
        for _ in range(10):
            assert await limiter.take([wide, narrow]) > 0.0
            assert await limiter.take([narrow, wide]) > 0.0
        assert [await limiter.take([wide]) for _ in range(2)] == [0.0, 0.0]
        assert await limiter.take([wide]) > 0.0

    async def test_the_longest_wait_is_told(self, limiter: Limiter) -> None:
        short, long = key("a", rate=1.0, burst=1), key("b", rate=SLOW, burst=1)
        assert await limiter.take([short, long]) == 0.0
        assert await limiter.take([short, long]) == pytest.approx(100.0, abs=2.0)

    async def test_others_are_not_touched(self, limiter: Limiter) -> None:
        for _ in range(5):
            await limiter.take([key("user:anna")])
        assert [await limiter.take([key("user:bob")]) for _ in range(3)] == [0.0] * 3

    async def test_many_at_the_same_moment_get_no_more_than_one_after_the_other(self, limiter: Limiter) -> None:
        waits = await asyncio.gather(*(limiter.take([key(burst=7)]) for _ in range(40)))
        assert waits.count(0.0) == 7

    async def test_a_rule_that_became_narrower_makes_nobody_wait_longer_than_it_says(self, limiter: Limiter) -> None:
        for _ in range(100):
            await limiter.take([key(burst=100)])
        narrow = key(rate=FAST, burst=2)
        wait = await limiter.take([narrow])
        assert 0.0 < wait <= 1.0 / FAST + 0.001
        for _ in range(TRIES):
            await asyncio.sleep(wait)
            wait = await limiter.take([narrow])
            if wait == 0.0:
                return
        pytest.fail("it never passes")

    async def test_who_is_not_counted_passes(self, limiter: Limiter) -> None:
        assert await limiter.take([]) == 0.0

    async def test_it_says_where_it_counts(self, limiter: Limiter) -> None:
        assert limiter.backend in {"local", "redis"}
