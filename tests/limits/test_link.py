"""The way to a Redis that may be away: every question ends, and what failed is left alone for a while."""

import asyncio
import importlib.util
from typing import Any

import pytest

from tom.limits.link import RedisAway, RedisLink, RedisMissing, Seldom, open_link
from tom.limits.opening import open_limiter
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio


class Questions:
    """What is asked of the client; ``fail`` says how it goes."""

    def __init__(self) -> None:
        self.asked = 0
        self.fail: BaseException | None = None
        self.held = asyncio.Event()
        self.held.set()

    async def __call__(self, client: Any) -> str:
        self.asked += 1
        await self.held.wait()
        if self.fail is not None:
            raise self.fail
        return "answer"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def link(clock: ManualClock) -> RedisLink:
    return RedisLink("redis://127.0.0.1:1/0", clock, seconds=0.05)


async def _away(link: RedisLink, question: Questions) -> bool:
    try:
        await link.ask(question)
    except RedisAway:
        return True
    return False


async def test_after_a_failure_nobody_asks_for_five_seconds_then_one_does(clock: ManualClock, link: RedisLink) -> None:
    question = Questions()
    assert await link.ask(question) == "answer"
    question.fail = OSError("gone")
    assert all([await _away(link, question) for _ in range(100)])
    assert question.asked == 2
    clock.advance(4.9)
    assert await _away(link, question)
    assert question.asked == 2
    clock.advance(0.1)
    assert all([await _away(link, question) for _ in range(100)])
    assert question.asked == 3
    clock.advance(5.0)
    question.fail = None
    assert await link.ask(question) == "answer"
    assert await link.ask(question) == "answer"
    assert not link.away


async def test_a_question_that_is_not_answered_ends_and_the_others_do_not_wait_for_the_next_try(
    clock: ManualClock, link: RedisLink
) -> None:
    question = Questions()
    question.held.clear()
    assert await _away(link, question)
    clock.advance(5.0)
    trying = asyncio.ensure_future(_away(link, question))
    await asyncio.sleep(0)
    assert question.asked == 2
    assert await _away(link, question), "at once, while one tries"
    assert question.asked == 2
    assert await trying


async def test_a_defect_is_not_taken_for_an_outage(link: RedisLink) -> None:
    question = Questions()
    question.fail = ValueError("a defect")
    with pytest.raises(ValueError, match="a defect"):
        await link.ask(question)
    assert not link.away


async def test_a_closed_link_is_away(link: RedisLink) -> None:
    assert await link.ask(Questions()) == "answer"
    await link.close()
    assert await _away(link, Questions())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RedisMissing, match=r"tom-assistant\[redis\]"):
        open_link("redis://127.0.0.1", clock)


def test_without_a_redis_this_process_counts(clock: ManualClock) -> None:
    assert open_link("", clock) is None
    assert open_limiter(None, clock).backend == "local"


def test_a_warning_once_a_minute(clock: ManualClock) -> None:
    seldom = Seldom(clock)
    told = []
    for second in range(180):
        told += [second] if seldom.due() else []
        clock.advance(1.0)
    assert told == [0, 60, 120]
