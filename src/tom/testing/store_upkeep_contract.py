# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every store must do about what is known of a conversation, about summaries, about cutting, and about days."""

from dataclasses import replace

import pytest

from tom.conversation.event import Event, prompt_set
from tom.conversation.usage import NOTHING, Usage
from tom.errors import Superseded
from tom.store.eventstore import DayUsage, EventStore, Ledger, RunFilter
from tom.store.opening import History
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import (
    COST,
    asked,
    called,
    cancelled,
    changed,
    compacted,
    completed,
    failed_try,
    granted,
    opened,
    replied,
    retried,
    started,
    waiting,
    wished,
)
from tom.testing.store_reading import Contract, Reopen, conversation_row, run_row

DAY = 86_400


class UpkeepContract(Contract):
    """Titles, pins, windows, summaries, retention, the ledger."""

    @pytest.fixture
    def ledger(self, store: History) -> Ledger:
        """The ledger of the same store."""
        return store

    async def test_what_is_known_of_a_conversation_can_be_changed(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1")])
        before = await conversation_row(store)
        assert (before.title_by, before.pinned, before.services, before.allowed) == ("message", False, None, {})
        named = changed(title="Milk", title_by="person", pinned=True, metadata={"a": [1]}, memory_limit=7)
        await store.append([named, changed(services=["notes"], allowed={"a.b": "p", "c.d": "q"})])
        row = await conversation_row(store)
        assert (row.title, row.title_by, row.pinned) == ("Milk", "person", True)
        assert (row.metadata, row.memory_limit, row.services) == ({"a": [1]}, 7, ("notes",))
        assert (row.allowed, row.updated_at) == ({"a.b": "p", "c.d": "q"}, before.updated_at)
        await store.append([changed(pinned=False, memory_limit=None, services=None, allowed={"a.b": None, "e": "r"})])
        row = await conversation_row(store)
        assert (row.title, row.pinned, row.memory_limit, row.services) == ("Milk", False, None, None)
        assert (row.metadata, row.allowed) == ({"a": [1]}, {"c.d": "q", "e": "r"})
        await store.append([changed(mood="good")])
        assert replace(row, last_seq=row.last_seq + 1) == await conversation_row(store)

    async def test_a_model_never_renames_what_a_person_named(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1")])
        await store.append([changed(title="By a model", title_by="model")])
        await store.append([asked("r2", text="Another")])
        row = await conversation_row(store)
        assert (row.title, row.title_by) == ("By a model", "model")
        await store.append([changed(title="Mine"), changed(title="Better", title_by="model")])
        row = await conversation_row(store)
        assert (row.title, row.title_by) == ("Mine", "person")

    @pytest.mark.promise("P20")
    async def test_upkeep_does_not_bring_back_what_was_erased(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1")])
        await store.erase("c")
        for late in (changed(title="Ghost"), compacted()):
            with pytest.raises(Superseded):
                await store.append([late])
        assert await store.conversations() == ()
        await store.append([opened(), changed(title="New")])

    async def test_a_conversation_knows_its_tokens_and_its_instructions(self, store: EventStore) -> None:
        first = await store.append([opened(), asked("r1")])
        assert (await conversation_row(store)).system_prompt == ""
        second = await store.append([prompt_set("c", "Be kind."), asked("r2", text="word " * 50)])
        row = await conversation_row(store)
        assert row.tokens == sum(event.token_count for event in (*first, *second))
        assert row.system_prompt == "Be kind."

    async def test_a_summary_outlasts_a_restart(self, store: EventStore, reopen: Reopen) -> None:
        _, summary, last = await store.append([asked("r1"), compacted(), asked("r2")])
        later = await reopen(store)
        assert await later.tail("c", tokens=0, limit=1) == (summary, last)

    async def test_the_newest_summary_stands_in_front_of_the_tail(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1"), compacted(text="old"), asked("r2")])
        _, summary, *after = await store.append([asked("r3"), compacted(text="new"), asked("r4"), asked("r5")])
        each = after[0].token_count
        assert await store.tail("c", tokens=each) == (summary, *after)
        assert await store.tail("c", tokens=each, limit=1) == (summary, after[-1])
        everything = await store.tail("c", tokens=1000 * each)
        assert [event.seq for event in everything] == list(range(1, 9))
        assert await store.tail("c", tokens=1000 * each, limit=3) == (summary, *after)
        assert await store.tail("other", tokens=10) == ()

    # --- cutting -------------------------------------------------------------------------------------------------

    @pytest.mark.promise("P20")
    async def test_the_oldest_part_can_be_erased(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1"), started("r1"), wished("r1"), called("r1"), replied("r1")])
        await store.append([completed("r1")])
        stored = await store.append([asked("r2"), started("r2"), replied("r2"), completed("r2")])
        before = await conversation_row(store)
        assert await store.erase("c", before=8)
        kept = await store.read("c")
        assert kept[:-1] == stored
        assert (kept[-1].type, kept[-1].seq) == ("history.retired", 12)
        assert dict(kept[-1].extra) == {"first_seq": 8, "events": 7}
        row = await conversation_row(store)
        assert (row.first_seq, row.last_seq, row.title) == (8, 12, before.title)
        assert (row.usage, row.tokens) == (before.usage, sum(event.token_count for event in kept))
        assert [run.id for run in await store.runs(RunFilter())] == ["r2"]
        assert await store.runs(RunFilter(asked="ask of r1 call-1")) == ()
        assert await store.read("c", after=0, limit=2) == stored[:2]
        assert await store.read("c", after=9, limit=1) == stored[2:3]
        assert (await store.append([asked("r3")]))[0].seq == 13
        assert await store.erase("c", before=8) is False
        assert await store.erase("C", before=8) is False
        await store.append([asked("again", request="request-r1")])

    @pytest.mark.promise("P20")
    async def test_with_a_message_its_title_goes(self, store: EventStore) -> None:
        await store.append([asked("r1", text="Secret"), cancelled("r1")])
        await store.append([asked("r2", text="Harmless"), cancelled("r2")])
        await store.erase("c", before=3)
        assert (await conversation_row(store)).title == "Harmless"
        await store.erase("c", before=5)
        assert (await conversation_row(store)).title == ""
        await store.append([asked("r3", text="Next"), cancelled("r3")])
        await store.append([changed(title="Mine", title_by="person"), asked("r4", text="Later")])
        await store.erase("c", before=10)
        assert (await conversation_row(store)).title == "Mine"

    async def test_everything_but_its_end_can_be_erased(self, store: EventStore, reopen: Reopen) -> None:
        await store.append([opened(), asked("r1"), cancelled("r1")])
        assert await store.erase("c", before=99)
        later = await reopen(store)
        (retired,) = await later.read("c")
        assert (retired.type, retired.seq) == ("history.retired", 4)
        row = await conversation_row(later)
        assert (row.first_seq, row.last_seq, row.tokens) == (4, 4, 0)
        assert await later.tail("c", tokens=10) == (retired,)
        assert (await later.append([asked("r2")]))[0].seq == 5

    @pytest.mark.promise("P1")
    async def test_nothing_that_an_unfinished_run_needs_is_cut_away(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1"), cancelled("r1"), asked("r2"), cancelled("r2"), retried("r3", "r1")])
        assert await store.erase("c", before=4) is False
        await store.append([cancelled("r3"), asked("r4")])
        assert await store.erase("c", before=9) is False
        assert await store.erase("c", before=8)
        assert [event.seq for event in await store.read("c")] == [8, 9]

    @pytest.mark.promise("P2")
    async def test_a_cut_is_told_of_as_it_was_stored(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1"), cancelled("r1"), asked("r2")])
        told: list[Event] = []
        assert await store.erase("c", before=4, publish=told.append)
        assert tuple(told) == (await store.read("c"))[-1:]
        assert not await store.erase("c", before=4, publish=told.append)
        assert [event.type for event in told] == ["history.retired"]

    async def test_instructions_stay_in_front_however_old_they_are(self, store: EventStore, reopen: Reopen) -> None:
        first = (await store.append([opened(), prompt_set("c", "Be kind."), asked("r1"), cancelled("r1")]))[1]
        await store.append([asked("r2"), compacted(), cancelled("r2")])
        second, *after = await store.append([prompt_set("c", "Be brief."), asked("r3"), cancelled("r3"), asked("r4")])
        (last,) = after[-1:]
        before = await store.tail("c", tokens=0, limit=1)
        assert [event.seq for event in before] == [2, 6, 8, 11]
        assert await store.erase("c", before=9)
        later = await reopen(store)
        newest = (await later.read("c"))[-1]
        assert await later.tail("c", tokens=0, limit=1) == (first, second, newest)
        assert [event.seq for event in await later.tail("c", tokens=1000)] == [2, 8, 9, 10, 11, 12]
        assert [event.seq for event in await later.read("c")] == [9, 10, 11, 12]
        assert last.seq == 11
        row = await conversation_row(later)
        kept = await later.read("c")
        assert (row.first_seq, row.tokens) == (9, sum(event.token_count for event in kept))
        assert row.system_prompt == "Be brief."
        await later.append([cancelled("r4"), asked("r5")])
        assert await later.erase("c", before=12)
        assert dict((await later.read("c"))[-1].extra) == {"first_seq": 12, "events": 3}
        assert (await later.tail("c", tokens=0, limit=1))[:2] == (first, second)
        await later.erase("c")
        assert await later.tail("c", tokens=0) == ()

    async def test_runs_that_stay_keep_what_they_asked(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1"), started("r1"), completed("r1")])
        await store.append([asked("r2"), started("r2"), wished("r2"), waiting("r2")])
        await store.erase("c", before=5)
        await store.append([granted("r2")])
        assert (await run_row(store, "r2")).first_seq == 5

    # --- the ledger ----------------------------------------------------------------------------------------------

    async def test_what_was_used_is_known_by_day(self, store: EventStore, ledger: Ledger, clock: ManualClock) -> None:
        assert await ledger.spent(since="2026-01-01") == ()
        dear = replace(replied("r1"), usage=Usage(10, 20, cost=3_000_000))
        await store.append([asked("r1"), started("r1"), dear, failed_try("r1"), completed("r1"), retried("r2", "r1")])
        clock.advance(DAY)
        await store.append([opened()])
        clock.advance(DAY)
        triage = replace(changed(), type="triage.decided", usage=COST, extra={"run_id": "r2"})
        await store.append([started("r2"), triage, compacted(), replace(changed(title="x"), usage=COST)])
        await store.append([asked("r3", "d")])
        first = DayUsage("2026-01-01", Usage(11, 20, True, 3_000_000), 2)
        last = DayUsage("2026-01-03", Usage(15, 21), 1)
        assert await ledger.spent(since="2026-01-01") == (first, last)
        assert await ledger.spent(since="2026-01-02") == (last,)
        assert await ledger.spent(since="2026-01-01", until="2026-01-02") == (first,)
        assert await ledger.spent(since="2026-01-03", until="2026-01-03") == (last,)
        row = await conversation_row(store)
        assert row.usage == Usage(26, 41, True, 3_000_000)
        assert (await run_row(store, "r1")).usage == Usage(11, 20, True, 3_000_000)
        assert (await run_row(store, "r2")).usage == COST
        await store.erase("c")
        assert await ledger.spent(since="2026-01-01") == (first, last)

    async def test_what_was_used_outlasts_a_restart(self, store: EventStore, ledger: Ledger, reopen: Reopen) -> None:
        await store.append([asked("r1"), started("r1"), replied("r1")])
        spent = await ledger.spent(since="")
        assert spent[0].usage == COST != NOTHING
        later = await reopen(store)
        assert await later.spent(since="") == spent  # pyright: ignore[reportAttributeAccessIssue] - every store has a ledger
