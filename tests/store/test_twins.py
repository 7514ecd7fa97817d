"""Whatever is appended in whatever order, the store in memory and the one on disk answer alike."""

import asyncio
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tom.conversation.run import RunState
from tom.errors import AlreadyAnswered, Superseded
from tom.store.eventstore import DuplicateRequest, RunFilter
from tom.store.memory import MemoryEventStore
from tom.store.outbox import MirrorRules
from tom.store.sqlite import SqliteEventStore
from tom.testing import store_events as make
from tom.testing.manual_clock import ManualClock

MEMORY_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None
CONVERSATIONS = ("a", "b")
RUNS = ("r1", "r2", "r3")
TEXTS = ("Hello", "Good day\nto you", " ", "سلام " * 40)

conversations = st.sampled_from(CONVERSATIONS)
runs = st.sampled_from(RUNS)
in_run = st.sampled_from([
    make.started, make.resumed, make.replied, make.failed_try, make.waiting, make.completed, make.failed, make.cancelled,
])  # fmt: skip
about_call = st.sampled_from([
    make.called, make.returned, make.unresolved, make.wished, make.granted, make.questioned, make.told,
])  # fmt: skip
edits = st.sampled_from([
    {"title": "By a person"}, {"title": "By a model", "title_by": "model"}, {"pinned": True}, {"memory_limit": 3},
    {"memory_limit": None, "services": ["time"]}, {"services": None, "pinned": False}, {"metadata": {"a": {"b": 1}}},
    {"allowed": {"x.y": "p", "z.w": "q"}}, {"allowed": {"x.y": None}}, {},
])  # fmt: skip


@st.composite
def events(draw):
    conversation = draw(conversations)
    kind = draw(st.integers(0, 12))
    if kind == 0:
        return make.opened(conversation, draw(st.sampled_from(["ws", "tui"])))
    if kind <= 3:
        request = draw(st.sampled_from(["", "q1", "q2"]))
        return make.asked(draw(runs), conversation, request=request, text=draw(st.sampled_from(TEXTS)))
    if kind == 4:
        return make.retried(draw(st.sampled_from(["r4", "r5"])), draw(runs), conversation)
    if kind in {5, 6}:
        return draw(about_call)(draw(runs), draw(st.sampled_from(["call-1", "call-2"])), conversation)
    if kind == 7:
        return make.changed(conversation, **draw(edits))
    if kind == 8:
        return make.granted(draw(runs), "call-1", conversation, remember="conversation")
    if kind == 9:
        return make.compacted(conversation)
    return draw(in_run)(draw(runs), conversation)


appends = st.tuples(st.just("append"), st.lists(events(), min_size=1, max_size=3))
erasures = st.tuples(st.just("erase"), conversations)
cuts = st.tuples(st.just("cut"), st.tuples(conversations, st.integers(0, 20)))
restarts = st.tuples(st.just("restart"), st.none())
moments = st.tuples(st.just("wait"), st.floats(-10, 100))
tellings = st.tuples(st.sampled_from(["confirm", "refuse", "refill"]), st.integers(0, 3))
histories = st.lists(
    st.one_of(appends, appends, appends, appends, erasures, cuts, restarts, moments, tellings), max_size=25
)
mirrors = st.builds(MirrorRules, full=st.booleans(), keep=st.booleans())


async def outcome(store, verb, argument):
    """What a verb answers, without the ids that differ."""
    try:
        if verb == "append":
            return tuple(replace(event, id="") for event in await store.append(argument))
        if verb == "cut":
            return await store.erase(argument[0], before=argument[1])
        if verb in {"confirm", "refuse", "refill"}:
            return await tell(store, verb, argument)
        return await store.erase(argument)
    except (DuplicateRequest, Superseded, AlreadyAnswered) as refused:
        return repr(refused)


async def tell(store, verb, number):
    """What an archive's answer does to the outbox."""
    if verb == "refill":
        return await store.refill([None, None, *CONVERSATIONS][number])
    entries = await store.due()
    if verb == "confirm":
        return await store.confirm(entries[:number])
    if entries:
        until = "2026-01-01T00:01:00.000Z" if number else ""
        await store.postpone(entries[number % len(entries)], until=until, reason="odd")
    return None


def as_told(entries):
    """Entries without the numbers that differ."""
    return [replace(one, id=0, events=tuple(replace(event, id="") for event in one.events)) for one in entries]


async def waiting(store):
    lag = await store.lag()
    return as_told(await store.due(limit=5)), as_told(await store.due()), replace(lag, parked=as_told(lag.parked))


async def everything(store):
    found = {
        name: (
            [replace(event, id="") for event in await store.read(name)],
            [event.seq for event in await store.tail(name, tokens=20, limit=5)],
            await store.runs(RunFilter(conversation_id=name)),
        )
        for name in CONVERSATIONS
    }
    unfinished = await store.runs(RunFilter(states=[RunState.QUEUED, RunState.RUNNING, RunState.WAITING]))
    asks = [
        await store.runs(RunFilter(asked=f"{kind} of {run} {call}"))
        for kind in ("ask", "question")
        for run in RUNS
        for call in ("call-1", "call-2")
    ]
    listed = await store.runs(RunFilter()), await store.conversations(), await store.spent(since="")
    return found, listed, unfinished, asks, store.lease, await waiting(store)


async def compare(history, mirror):
    clock = ManualClock()
    folder = Path(tempfile.mkdtemp(dir=MEMORY_DISK))
    memory = MemoryEventStore(clock, mirror=mirror)
    sqlite = await SqliteEventStore.open(folder / "history.db", clock=clock, mirror=mirror)
    try:
        for verb, argument in history:
            if verb == "wait":
                clock.advance(argument)
            elif verb == "restart":
                memory = memory.reopen()
                await sqlite.close()
                sqlite = await SqliteEventStore.open(folder / "history.db", clock=clock, mirror=mirror)
            else:
                assert await outcome(memory, verb, argument) == await outcome(sqlite, verb, argument)
        assert await everything(memory) == await everything(sqlite)
    finally:
        await sqlite.close()
        shutil.rmtree(folder)


def runs_are_unique(history):
    """A run's id is made by the agent and never used twice; the first event that names it wins."""
    made = set()
    kept = []
    for verb, argument in history:
        if verb == "append":
            fresh = []
            for event in argument:
                if event.type in {"message.received", "run.retried"}:
                    if event.run_id in made:
                        continue
                    made.add(event.run_id)
                fresh.append(event)
            kept.append((verb, fresh))
        else:
            kept.append((verb, argument))
    return kept


@given(histories, mirrors)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_twins_agree(history, mirror):
    asyncio.run(compare(runs_are_unique(history), mirror))


@pytest.mark.trust
@given(histories, mirrors)
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_twins_agree_for_long(history, mirror):
    asyncio.run(compare(runs_are_unique(history), mirror))
