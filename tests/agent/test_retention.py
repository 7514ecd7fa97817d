"""What is kept on disk: four policies, whole runs, nothing erased on the word of one clock reading."""

from datetime import UTC, datetime, timedelta

import pytest

from tom.agent.retention import Retention
from tom.agent.steadiness import Steadiness
from tom.config.agent import PersistenceSettings
from tom.store.eventstore import RunFilter
from tom.store.sqlite import SqliteEventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import asked, changed, completed, opened, replied, retried, started, waiting, wished

pytestmark = pytest.mark.anyio

DAY = 86_400


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def store(tmp_path, clock):
    store = await SqliteEventStore.open(tmp_path / "history.db", clock=clock)
    yield store
    await store.close()


@pytest.fixture
def keep(store, clock):
    """``keep(policy, **limits)``: retention whose clock is believed already unless ``believed=False``."""

    def keeping(policy, *, believed=True, **limits):
        steadiness = Steadiness(clock, boot_id="boot")
        if believed:
            steadiness.now()
            clock.advance(3600)
        return Retention(store, PersistenceSettings(retention=policy, **limits), steadiness)

    return keeping


async def tell(store, *runs, conversation="c", text="Hello"):
    for run in runs:
        events = [asked(run, conversation, text=text), started(run, conversation), replied(run, conversation)]
        await store.append([*events, completed(run, conversation)])


async def runs_of(store, conversation="c"):
    return [row.id for row in await store.runs(RunFilter(conversation_id=conversation))]


async def test_everything_is_kept_unless_it_is_written_otherwise(store, keep):
    await tell(store, *(f"r{number}" for number in range(20)))
    retention = keep("unlimited", retention_tokens=1, retention_messages=1, retention_days=0)
    await retention.apply_all()
    assert len(await runs_of(store)) == 20
    assert await retention.plan() == ()


@pytest.mark.promise("P20")
async def test_the_newest_runs_that_fit_stay(store, keep, tmp_path):
    await store.append([opened()])
    await tell(store, "r0", "r1", text="canary " * 50)
    await tell(store, "r2", "r3", "r4")
    (row,) = await store.conversations()
    run_tokens = sum(event.token_count for event in (await store.read("c"))[-4:])
    retention = keep("token_limit", retention_tokens=2 * run_tokens + 1)
    (cut,) = await retention.plan()
    assert (cut.first_seq, cut.events) == (14, 13)
    assert await runs_of(store) == ["r0", "r1", "r2", "r3", "r4"]
    await retention.apply("c")
    assert await runs_of(store) == ["r3", "r4"]
    kept = await store.read("c")
    assert [event.seq for event in kept] == list(range(14, 23))
    assert kept[-1].type == "history.retired"
    (after,) = await store.conversations()
    assert (after.usage, after.title, after.first_seq) == (row.usage, "Hello", 14)
    assert not [path.name for path in tmp_path.iterdir() if b"canary" in path.read_bytes()]
    await retention.apply_all()
    assert len(await store.read("c")) == len(kept)


async def test_the_newest_run_stays_however_long_it_is(store, keep):
    await tell(store, "r0", "r1", text="word " * 500)
    for policy, limits in (("token_limit", {"retention_tokens": 1}), ("message_count", {"retention_messages": 1})):
        await keep(policy, **limits).apply("c")
        assert await runs_of(store) == ["r1"]
    await keep("time_based", retention_days=0.01).apply("c")
    assert await runs_of(store) == ["r1"]


async def test_a_limit_inside_a_run_keeps_the_whole_run(store, keep):
    await tell(store, "r0", "r1", "r2", "r3")
    await keep("message_count", retention_messages=5).apply("c")
    assert await runs_of(store) == ["r1", "r2", "r3"]
    await keep("message_count", retention_messages=4).apply("c")
    assert await runs_of(store) == ["r2", "r3"]


async def test_a_long_conversation_is_read_as_far_as_its_limit_needs(store, keep):
    await tell(store, *(f"r{number}" for number in range(60)))
    await store.append([changed(metadata={"a": 1}) for _ in range(300)])
    await keep("message_count", retention_messages=3).apply("c")
    assert await runs_of(store) == ["r58", "r59"]


async def test_old_events_go_and_young_ones_stay(store, keep, clock):
    await tell(store, "r0", "r1")
    clock.advance(20 * DAY)
    await tell(store, "r2")
    await tell(store, "other", conversation="d")
    clock.advance(15 * DAY)
    retention = keep("time_based", retention_days=30)
    assert [(cut.conversation_id, cut.first_seq) for cut in await retention.plan()] == [("c", 9)]
    await retention.apply_all()
    assert (await runs_of(store), await runs_of(store, "d")) == (["r2"], ["other"])


async def test_unfinished_runs_stay_with_everything_after_them(store, keep, clock):
    await tell(store, "r0", "r1")
    await store.append([asked("r2"), started("r2"), wished("r2"), waiting("r2")])
    await tell(store, "r3", "r4")
    clock.advance(50 * DAY)
    for policy in ("token_limit", "message_count", "time_based"):
        await keep(policy, retention_tokens=1, retention_messages=1, retention_days=1).apply("c")
        assert (await runs_of(store))[-3:] == ["r2", "r3", "r4"]


async def test_what_a_repetition_needs_stays(store, keep, clock):
    await tell(store, "r0")
    await store.append([asked("r1"), started("r1"), completed("r1")])
    await tell(store, "r2")
    clock.advance(50 * DAY)
    await store.append([retried("r3", "r1")])
    await keep("time_based", retention_days=1).apply("c")
    assert await runs_of(store) == ["r1", "r2", "r3"]


async def test_pinned_conversations_are_left_alone(store, keep):
    await tell(store, "r0", "r1")
    await store.append([changed(pinned=True)])
    await keep("message_count", retention_messages=1).apply_all()
    assert await runs_of(store) == ["r0", "r1"]


async def test_nothing_is_erased_for_its_age_on_one_reading_of_the_clock(store, keep, clock):
    await tell(store, "r0", "r1")
    clock.advance(40 * DAY)
    retention = keep("time_based", believed=False, retention_days=30)
    await retention.apply_all()
    clock.advance(3599)
    await retention.apply_all()
    assert await runs_of(store) == ["r0", "r1"]
    clock.advance(1)
    await retention.apply_all()
    assert await runs_of(store) == ["r1"]


class Jumping:
    """A clock whose wall can be set without the other noticing."""

    def __init__(self):
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.passed = 0.0

    def now(self):
        return self.wall

    def monotonic(self):
        return self.passed

    def go(self, seconds, *, wall=None):
        self.passed += seconds
        self.wall += timedelta(seconds=seconds if wall is None else wall)


@pytest.mark.parametrize("jump", [3 * DAY, -3 * DAY, 100 * 600])
def test_a_clock_that_was_set_begins_its_hour_again(jump):
    clock = Jumping()
    steadiness = Steadiness(clock, boot_id="boot")
    for _ in range(7):
        known = steadiness.now()
        clock.go(600)
    assert known is not None
    clock.go(600, wall=jump)
    assert steadiness.now() is None
    for _ in range(5):
        clock.go(600)
        assert steadiness.now() is None
    clock.go(600)
    assert steadiness.now() == clock.now()


def test_readings_outlast_an_agent_but_not_the_machine(tmp_path):
    clock, path = Jumping(), tmp_path / "clock.json"
    assert Steadiness(clock, path, boot_id="one").now() is None
    clock.go(3600)
    assert Steadiness(clock, path, boot_id="one").now() == clock.now()
    assert Steadiness(clock, path, boot_id="two").now() is None
    clock.go(3600)
    assert Steadiness(clock, path, boot_id="").now() is None
    path.write_text("{broken")
    assert Steadiness(clock, path, boot_id="one").now() is None


async def test_dry_or_not_an_unknown_conversation_is_nothing(keep):
    await keep("message_count", retention_messages=1).apply("nobody")
