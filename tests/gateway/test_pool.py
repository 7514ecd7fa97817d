"""Agents: started once for many, stopped when idle, back after a crash, never more than there is room for."""

import asyncio

import pytest

from tom.errors import AgentFailed
from tom.gateway.awake import Awake
from tom.gateway.pool import Pool, PoolLimits
from tom.gateway.refusals import AgentUnavailable
from tom.spawner.spawner import AgentHandle, AgentSpec
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio


async def let_pass(clock, seconds):
    """Move the clock, stopping wherever somebody is due."""
    await settle()
    while clock.next_due is not None and clock.next_due <= seconds:
        step = max(0.0, clock.next_due)
        seconds -= step
        clock.advance(step)
        await settle()
    clock.advance(seconds)
    await settle()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


class Fleet:
    """A spawner without processes."""

    def __init__(self):
        self.started = []
        self.stopped = []
        self.ended = {}
        self.failing = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.runs = {}

    async def start(self, spec):
        self.started.append(spec.user)
        await self.gate.wait()
        if self.failing:
            self.failing -= 1
            raise AgentFailed("as told")
        return AgentHandle(spec.user, len(self.started), spec.socket)

    async def poll(self, handle):
        return self.ended.get(handle.pid)

    async def stop(self, handle, *, grace=30.0):
        self.stopped.append(handle.user)
        self.ended[handle.pid] = 0
        return 0

    async def close(self):
        pass

    async def active_runs(self, handle):
        return self.runs.get(handle.user, 0)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def fleet():
    return Fleet()


@pytest.fixture
async def make_pool(tmp_path, clock, fleet):
    opened = []

    async def make(**limits):
        pool = Pool(
            fleet,
            spec_of=lambda user: AgentSpec(user, b"{}", f"/nowhere/{user}.sock"),
            active_runs=fleet.active_runs,
            awake=Awake(tmp_path / "awake"),
            clock=clock,
            limits=PoolLimits(**limits),
        )
        await pool.__aenter__()
        opened.append(pool)
        return pool

    yield make
    fleet.gate.set()
    for pool in opened:
        await pool.__aexit__(None, None, None)


async def test_requests_at_the_same_moment_share_one_start(make_pool, fleet):
    pool = await make_pool()
    fleet.gate.clear()
    waiting = [asyncio.ensure_future(pool.take("alice")) for _ in range(50)]
    await settle()
    assert pool.counts() == {"running": 0, "starting": 1}
    fleet.gate.set()
    leases = await asyncio.gather(*waiting)
    assert fleet.started == ["alice"]
    assert len({lease.handle for lease in leases}) == 1


async def test_a_start_that_takes_too_long_goes_on_without_its_caller(make_pool, fleet):
    pool = await make_pool(start_timeout=0.05)
    fleet.gate.clear()
    with pytest.raises(AgentUnavailable) as refused:
        await pool.take("alice")
    assert refused.value.retry_after == 5
    fleet.gate.set()
    await settle()
    assert pool.counts() == {"running": 1, "starting": 0}
    (await pool.take("alice")).release()
    assert fleet.started == ["alice"]


async def test_a_caller_that_gives_up_does_not_end_the_start_of_others(make_pool, fleet):
    pool = await make_pool()
    fleet.gate.clear()
    first, second = (asyncio.ensure_future(pool.take("alice")) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    fleet.gate.set()
    assert (await second).handle.user == "alice"


async def test_a_crash_is_mended_after_one_two_four_seconds_up_to_sixty(make_pool, fleet, clock):
    pool = await make_pool()
    (await pool.take("alice")).release()
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        fleet.ended[len(fleet.started)] = -9
        before = len(fleet.started)
        assert await pool.look("alice")
        await let_pass(clock, wait - 0.1)
        assert len(fleet.started) == before, wait
        await let_pass(clock, 0.2)
        assert len(fleet.started) == before + 1, wait


async def test_an_agent_that_ran_steadily_begins_with_one_second_again(make_pool, fleet, clock):
    pool = await make_pool()
    (await pool.take("alice")).release()
    for _ in range(2):
        fleet.ended[len(fleet.started)] = -9
        await pool.look("alice")
        await let_pass(clock, 2)
    assert len(fleet.started) == 3
    await let_pass(clock, 61)
    fleet.ended[3] = -11
    await pool.look("alice")
    await let_pass(clock, 1.1)
    assert len(fleet.started) == 4


async def test_three_crashes_in_a_minute_refuse_at_once_until_the_wait_is_over(make_pool, fleet, clock):
    pool = await make_pool()
    (await pool.take("alice")).release()
    for wait in (1, 2):
        fleet.ended[len(fleet.started)] = -9
        await pool.look("alice")
        await let_pass(clock, wait + 0.1)
    fleet.ended[3] = -9
    await pool.look("alice")
    with pytest.raises(AgentUnavailable) as refused:
        async with asyncio.timeout(1):
            await pool.take("alice")
    assert 3 < refused.value.retry_after <= 4
    assert refused.value.message == "Backend service unavailable for user alice"
    (await pool.take("bob")).release()
    await let_pass(clock, 4.1)
    (await pool.take("alice")).release()


async def test_a_failed_start_is_told_to_all_who_wait_and_tried_again(make_pool, fleet, clock):
    pool = await make_pool()
    fleet.failing = 1
    results = await asyncio.gather(*(pool.take("alice") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, AgentUnavailable) for result in results)
    assert fleet.started == ["alice"]
    await let_pass(clock, 2.1)
    assert fleet.started == ["alice", "alice"], "its unfinished runs wait for it"
    assert pool.counts()["running"] == 1


async def test_only_an_agent_without_requests_and_runs_is_stopped(make_pool, fleet, clock):
    pool = await make_pool(idle_stop=60)
    lease = await pool.take("alice")
    (await pool.take("bob")).release()
    (await pool.take("carol")).release()
    fleet.runs["bob"] = 1
    await let_pass(clock, 62)
    assert fleet.stopped == ["carol"]
    lease.release()
    lease.release()
    fleet.runs["bob"] = 0
    await let_pass(clock, 50)
    assert fleet.stopped == ["carol"], "idleness is counted from the last use"
    await let_pass(clock, 20)
    assert sorted(fleet.stopped) == ["alice", "bob", "carol"]
    (await pool.take("alice")).release()
    assert fleet.started.count("alice") == 2, "a request wakes it"


async def test_the_longest_idle_agent_makes_room(make_pool, fleet, clock):
    pool = await make_pool(max_agents=2)
    for user in ("alice", "bob"):
        (await pool.take(user)).release()
        await let_pass(clock, 1)
    busy = await pool.take("carol")
    assert fleet.stopped == ["alice"]
    fleet.runs["bob"] = 1
    with pytest.raises(AgentUnavailable) as refused:
        await pool.take("dave")
    assert refused.value.message == "All agent places are in use"
    assert pool.counts()["running"] == 2
    busy.release()
    (await pool.take("dave")).release()
    assert fleet.stopped == ["alice", "carol"]


async def test_many_users_at_once_never_get_more_places_than_there_are(make_pool, fleet):
    pool = await make_pool(max_agents=3)
    results = await asyncio.gather(*(pool.take(f"user{n}") for n in range(10)), return_exceptions=True)
    assert sum(1 for result in results if not isinstance(result, Exception)) == 3
    assert pool.counts()["running"] == 3


async def test_the_agent_of_a_user_who_is_gone_is_stopped(make_pool, fleet):
    pool = await make_pool()
    (await pool.take("alice")).release()
    await pool.drop("alice")
    await settle()
    assert fleet.stopped == ["alice"]
    fleet.gate.clear()
    starting = asyncio.ensure_future(pool.take("bob"))
    await settle()
    await pool.drop("bob")
    fleet.gate.set()
    await asyncio.wait([starting], timeout=1)
    await settle()
    assert fleet.stopped == ["alice", "bob"]
    starting.cancel()


@pytest.mark.promise("P1")
async def test_agents_that_had_work_when_the_gateway_ended_are_woken(make_pool, fleet, tmp_path):
    pool = await make_pool()
    for user in ("alice", "bob"):
        (await pool.take(user)).release()
    fleet.runs["alice"] = 1
    await pool.__aexit__(None, None, None)
    assert Awake(tmp_path / "awake").users() == ["alice"], "bob had nothing to do"
    fleet.started.clear()
    second = await make_pool()
    await second.wake()
    assert fleet.started == ["alice"]


async def test_an_agent_that_does_not_answer_hides_no_crash_of_another(make_pool, fleet, clock, monkeypatch):
    silence, asked = asyncio.Event(), []

    async def active_runs(handle):
        asked.append(handle.user)
        await silence.wait()
        return 1

    monkeypatch.setattr(fleet, "active_runs", active_runs)
    monkeypatch.setattr("tom.gateway.pool._SEE_SECONDS", 0.5)
    pool = await make_pool(idle_stop=10)
    (await pool.take("alice")).release()
    await let_pass(clock, 5)
    held = await pool.take("bob")
    await let_pass(clock, 6)
    assert asked == ["alice"], "alice is asked, once, and says nothing"
    fleet.ended[held.handle.pid] = 9
    await let_pass(clock, 3)
    assert fleet.started == ["alice", "bob", "bob"]
    held.release()
    async with asyncio.timeout(5):
        while pool._watched:
            await asyncio.sleep(0.01)
    await let_pass(clock, 1)
    assert asked == ["alice", "alice"], "the silence was waited for no longer than its bound"


async def test_trouble_with_one_agent_does_not_end_the_pool(make_pool, fleet, clock, monkeypatch):
    pool = await make_pool()
    (await pool.take("bob")).release()

    async def poll(handle):
        raise RuntimeError("as told")

    monkeypatch.setattr(fleet, "poll", poll)
    await let_pass(clock, 5)
    monkeypatch.undo()
    (await pool.take("alice")).release()
    assert pool.counts()["running"] == 2
