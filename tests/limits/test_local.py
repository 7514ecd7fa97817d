"""Counting in one process: never above burst + rate·t, and not below it for whoever sends all the time."""

import itertools
import random
import threading
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.clock import SystemClock
from tom.limits.limiter import Key, Rule
from tom.limits.local import LocalLimiter
from tom.testing.limiter_contract import LimiterContract
from tom.testing.manual_clock import ManualClock

RULE = Rule(rate=1.0, burst=5)


class Ticking:
    """Time that moves on by ``tick`` whenever somebody looks, whoever it is: `next` of a count is atomic."""

    def __init__(self, tick: float) -> None:
        self._ticks = itertools.count(1)
        self._tick = tick
        self.looked = 0

    def monotonic(self) -> float:
        self.looked = next(self._ticks)
        return self.looked * self._tick

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Tally:
    """What passed under one rule, held against every window of time, not only those from the start."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.passed = 0
        self._lowest = 0.0

    def add(self, now: float) -> None:
        level = self.passed - self.rule.rate * now  # the arrivals before this one
        self._lowest = min(self._lowest, level)
        self.passed += 1
        assert self.passed - self.rule.rate * now - self._lowest <= self.rule.burst + 1


class TestLocalLimiter(LimiterContract):
    @pytest.fixture
    def limiter(self) -> LocalLimiter:
        return LocalLimiter(SystemClock())


def test_a_burst_passes_then_one_each_second() -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    key = [Key("user:anna", RULE)]
    assert [limiter.charge(key) for _ in range(5)] == [0.0] * 5
    assert limiter.charge(key) == pytest.approx(1.0)
    clock.advance(0.4)
    assert limiter.charge(key) == pytest.approx(0.6)
    clock.advance(0.6)
    assert limiter.charge(key) == 0.0
    assert limiter.charge(key) == pytest.approx(1.0)
    clock.advance(3600.0)
    assert [limiter.charge(key) for _ in range(6)] == [0.0] * 5 + [pytest.approx(1.0)]


def test_all_keys_are_charged_or_none() -> None:
    limiter = LocalLimiter(ManualClock())
    user, address = Key("user:anna", RULE), Key("ip:192.0.2.1", Rule(1.0, 2))
    assert [limiter.charge([user, address]) for _ in range(2)] == [0.0, 0.0]
    assert all(limiter.charge([user, address]) > 0 for _ in range(50))
    assert [limiter.charge([user]) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(1.0)]


def test_what_is_given_back_can_be_taken_again_and_no_more() -> None:
    limiter = LocalLimiter(ManualClock())
    key = [Key("ip:192.0.2.1", RULE)]
    for _ in range(5):
        limiter.charge(key)
    limiter.give_back(key)
    assert limiter.charge(key) == 0.0
    assert limiter.charge(key) > 0.0


def test_idle_keys_are_forgotten_and_busy_ones_are_not() -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    busy = [Key("user:anna", RULE)]
    for number in range(20_000):
        limiter.charge([Key(f"ip:{number}", RULE)])
        clock.advance(0.01)
        limiter.charge(busy)
    assert len(limiter) < 2_000, "keys of the last ten seconds at most"
    assert limiter.charge(busy) > 0.0


def test_a_full_table_gives_newcomers_one_bucket_together() -> None:
    limiter = LocalLimiter(ManualClock(), most_keys=100)
    for number in range(100):
        assert limiter.charge([Key(f"ip:{number}", RULE)]) == 0.0
    passed = sum(limiter.charge([Key(f"ip:new:{number}", RULE)]) == 0.0 for number in range(1000))
    assert passed == RULE.burst
    assert len(limiter) <= 101
    assert limiter.charge([Key("ip:5", RULE)]) == 0.0, "whoever was known keeps a bucket of their own"


def test_a_rule_that_became_narrower_makes_nobody_wait_longer_than_it_says() -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    for _ in range(100):
        limiter.charge([Key("user:anna", Rule(0.1, 100))])
    assert limiter.charge([Key("user:anna", Rule(10.0, 5))]) == pytest.approx(0.1)
    clock.advance(0.1)
    assert limiter.charge([Key("user:anna", Rule(10.0, 5))]) == 0.0


@given(
    rate=st.floats(0.01, 1000.0),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0.0, 30.0), max_size=200),
)
def test_never_above_the_limit_in_any_window(rate: float, burst: int, gaps: list[float]) -> None:
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    tally = Tally(Rule(rate, burst))
    for gap in gaps:
        clock.advance(gap)
        for _ in range(3):
            if limiter.charge([Key("user:anna", tally.rule)]) == 0.0:
                tally.add(clock.monotonic())


def test_whoever_waits_as_told_passes() -> None:
    clock, limiter, rule = ManualClock(), None, Rule(3.0, 4)
    limiter = LocalLimiter(clock)
    chance = random.Random(7)
    for _ in range(5_000):
        wait = limiter.charge([Key("user:anna", rule)])
        if wait:
            clock.advance(wait)
            assert limiter.charge([Key("user:anna", rule)]) == 0.0
        clock.advance(chance.choice([0.0, 0.0, 0.1]))


@pytest.mark.promise("P19")
@pytest.mark.parametrize("arrivals", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_random_arrivals_of_many_keys_stay_within_their_limits(arrivals: int) -> None:
    chance = random.Random(19)
    rules = [Rule(1.0, 5), Rule(20.0, 60), Rule(0.2, 1), Rule(250.0, 10)]
    tallies = {f"key:{number}": Tally(rules[number % 4]) for number in range(12)}
    clock = ManualClock()
    limiter = LocalLimiter(clock)
    names = list(tallies)
    for _ in range(arrivals):
        if chance.random() < 0.3:
            clock.advance(chance.expovariate(50.0))
        both = chance.sample(names, 2) if chance.random() < 0.2 else [chance.choice(names)]
        if limiter.charge([Key(name, tallies[name].rule) for name in both]) == 0.0:
            for name in both:
                tallies[name].add(clock.monotonic())
    assert all(tally.passed > 0 for tally in tallies.values())


@pytest.mark.promise("P19")
@pytest.mark.parametrize("arrivals", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_eight_threads_that_send_all_the_time_get_the_limit_exactly(arrivals: int) -> None:
    clock = Ticking(0.001)
    limiter = LocalLimiter(clock)
    rule = Rule(20.0, 60)
    passed: defaultdict[int, int] = defaultdict(int)

    def send(number: int) -> None:
        key = [Key("user:anna", rule)]
        for _ in range(arrivals // 8):
            if limiter.charge(key) == 0.0:
                passed[number] += 1

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    seconds, total = clock.looked * 0.001, sum(passed.values())
    assert clock.looked == arrivals
    assert rule.burst + rule.rate * seconds - 1 <= total <= rule.burst + rule.rate * seconds + 1
