# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `EventStore` must do. Subclass it in a test module and give it the fixtures it asks for.

``clock`` is a `ManualClock` that the store reads; ``store`` an empty store; ``reopen`` an async function from a store
to the one that a restarted process would open in its place.
"""

import asyncio
from collections.abc import Callable

import pytest

from tom.clock import timestamp
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.part import ToolCall
from tom.conversation.run import RunState
from tom.conversation.usage import Usage
from tom.errors import StorageUnavailable, Superseded
from tom.store.eventstore import DuplicateRequest, EventStore, RunFilter, RunRow
from tom.testing.manual_clock import ManualClock
from tom.testing.store_asks_contract import AsksContract
from tom.testing.store_events import (
    COST,
    asked,
    called,
    cancelled,
    completed,
    failed,
    failed_try,
    opened,
    replied,
    resumed,
    retried,
    returned,
    started,
    unresolved,
    waiting,
)
from tom.testing.store_intake_contract import IntakeContract
from tom.testing.store_reading import Contract, Reopen, run_row, state_of
from tom.testing.store_searching_contract import SearchingContract
from tom.testing.store_upkeep_contract import UpkeepContract


class EventsContract(Contract):
    """Numbering, reading, refusing."""

    async def test_events_come_back_numbered_from_one_without_holes(
        self, store: EventStore, clock: ManualClock
    ) -> None:
        first = await store.append([opened(), asked("r1")])
        clock.advance(1.5)
        second = await store.append([started("r1")])
        stored = (*first, *second)
        assert [event.seq for event in stored] == [1, 2, 3]
        assert [event.type for event in stored] == ["conversation.opened", "message.received", "run.started"]
        assert stored[2].timestamp == timestamp(clock.now()) != stored[0].timestamp == stored[1].timestamp
        assert [event.id for event in stored] == sorted({event.id for event in stored})
        assert await store.read("c") == stored

    async def test_what_was_appended_is_what_is_read(self, store: EventStore) -> None:
        calls = (ToolCall("call-1", "notes_add", '{"text": "žluťoučký 👋"}'),)
        text = "سلام\n\tdunja 🌍\0end" * 500
        stored = await store.append([
            opened(),
            happened.prompt_set("c", "Be kind."),
            asked("r1", text="one\u2028two"),
            started("r1"),
            failed_try("r1"),
            replied("r1", calls=calls, text=text),
            called("r1"),
            returned("r1"),
            called("r1", "call-2"),
            unresolved("r1", "call-2"),
            completed("r1"),
        ])  # fmt: skip
        assert await store.read("c") == stored

    async def test_events_of_a_newer_version_are_kept_unread(self, store: EventStore) -> None:
        strange = Event(conversation_id="c", type="mood.changed", extra={"v": 7, "deep": {"list": [1, None, "x"]}})
        stored = await store.append([opened(), strange])
        assert await store.read("c", after=1) == stored[1:]
        await store.append([asked("r1"), started("r1")])
        await store.append([Event(conversation_id="c", type="run.pondered", extra={"run_id": "r1"})])
        assert (await run_row(store, "r1")).state is RunState.RUNNING

    async def test_reading_goes_on_after_a_seq_and_keeps_to_its_limit(self, store: EventStore) -> None:
        stored = await store.append([opened(), *(asked(f"r{number}") for number in range(9))])
        assert await store.read("c", after=0, limit=4) == stored[:4]
        assert await store.read("c", after=4, limit=4) == stored[4:8]
        assert await store.read("c", after=8, limit=4) == stored[8:]
        assert await store.read("c", after=10) == ()

    async def test_an_unknown_conversation_has_no_events(self, store: EventStore) -> None:
        await store.append([opened()])
        assert await store.read("C") == ()
        assert await store.tail("C", tokens=100) == ()
        assert await store.conversations(ids=["C"]) == ()

    async def test_the_tail_ends_with_the_event_that_exceeds_the_tokens(self, store: EventStore) -> None:
        stored = await store.append([opened(), *(asked(f"r{number}", text="word " * 30) for number in range(9))])
        each = stored[-1].token_count
        assert await store.tail("c", tokens=3 * each) == stored[-4:]
        assert await store.tail("c", tokens=3 * each - 1) == stored[-3:]
        assert await store.tail("c", tokens=0) == stored[-1:]
        assert await store.tail("c", tokens=1000 * each) == stored
        assert await store.tail("c", tokens=1000 * each, limit=2) == stored[-2:]

    async def test_appending_nothing_does_nothing(self, store: EventStore) -> None:
        assert await store.append([]) == ()
        assert await store.conversations() == ()

    async def test_one_append_may_be_about_several_conversations(self, store: EventStore) -> None:
        stored = await store.append([asked("r1", "a"), asked("r2", "b"), started("r1", "a"), started("r2", "b")])
        assert [(event.conversation_id, event.seq) for event in stored] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
        assert await store.read("b") == (stored[1], stored[3])

    async def test_parallel_appends_are_numbered_one_after_the_other(self, store: EventStore) -> None:
        await asyncio.gather(*(store.append([asked(f"r{number}"), started(f"r{number}")]) for number in range(40)))
        events = await store.read("c")
        assert [event.seq for event in events] == list(range(1, 81))
        assert all(one.run_id == two.run_id for one, two in zip(events[::2], events[1::2], strict=True))

    async def test_a_closed_store_refuses_and_may_be_closed_again(self, store: EventStore) -> None:
        await store.append([opened()])
        await store.close()
        await store.close()
        with pytest.raises(StorageUnavailable):
            await store.append([asked("r1")])
        with pytest.raises(StorageUnavailable):
            await store.read("c")


class RequestsContract(Contract):
    """One run per (conversation, request id)."""

    @pytest.mark.promise("P3")
    async def test_a_repeated_request_is_refused_with_its_run(self, store: EventStore) -> None:
        await store.append([opened(), asked("r1", request="q")])
        with pytest.raises(DuplicateRequest) as refused:
            await store.append([asked("r2", request="q", text="Something else")])
        assert refused.value.run == await run_row(store, "r1")
        assert [event.seq for event in await store.read("c")] == [1, 2]
        assert len(await store.runs(RunFilter())) == 1

    @pytest.mark.promise("P3")
    async def test_of_equal_submissions_at_once_one_makes_a_run(self, store: EventStore) -> None:
        await store.append([opened()])
        answers = await asyncio.gather(
            *(store.append([asked(f"r{number}", request="q")]) for number in range(50)), return_exceptions=True
        )
        refusals = [answer for answer in answers if isinstance(answer, DuplicateRequest)]
        assert len(refusals) == 49
        assert {refusal.run.id for refusal in refusals} == {"r0"}
        assert len(await store.read("c")) == 2

    async def test_nothing_of_an_append_with_a_repetition_is_stored(self, store: EventStore) -> None:
        await store.append([asked("r1", request="q")])
        before = await store.read("c"), await store.runs(RunFilter()), await store.conversations()
        for events in (
            [opened("new"), asked("r2", request="q")],
            [asked("r3", "new"), asked("r4", request="q")],
            [asked("r5", request="fresh"), asked("r6", request="fresh")],
            [started("r1"), asked("r7", request="q")],
        ):
            with pytest.raises(DuplicateRequest):
                await store.append(events)
        assert (await store.read("c"), await store.runs(RunFilter()), await store.conversations()) == before
        assert (await store.append([started("r1")]))[0].seq == 2

    async def test_the_same_request_id_elsewhere_is_another_request(self, store: EventStore) -> None:
        await store.append([asked("r1", "a", request="q")])
        await store.append([asked("r2", "b", request="q")])
        assert {row.id for row in await store.runs(RunFilter(request_id="q"))} == {"r1", "r2"}

    async def test_a_retry_is_a_request_of_its_own_with_the_same_payload(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1"), failed("r1")])
        await store.append([retried("r2", "r1")])
        row = await run_row(store, "r2")
        assert (row.state, row.request_id, row.first_seq) == (RunState.QUEUED, "request-r2", 4)
        assert row.payload_digest == (await run_row(store, "r1")).payload_digest != ""
        with pytest.raises(DuplicateRequest):
            await store.append([retried("r2", "r1")])

    async def test_a_retry_takes_nothing_from_another_conversation(self, store: EventStore) -> None:
        await store.append([asked("r1", "a")])
        await store.append([retried("r2", "r1", "b")])
        await store.append([retried("r3", "nobody", "b")])
        assert [row.payload_digest for row in await store.runs(RunFilter(conversation_id="b"))] == ["", ""]

    async def test_a_message_without_a_run_makes_none(self, store: EventStore) -> None:
        said = Event(conversation_id="c", type="message.received", role="assistant", content="Earlier answer")
        await store.append([said, said])
        assert await store.runs(RunFilter()) == ()
        assert await state_of(store) == "idle"


class RunsContract(Contract):
    """States and leases."""

    async def test_a_run_goes_from_queued_to_its_end(self, store: EventStore) -> None:
        (received,) = await store.append([asked("r1")])
        row = await run_row(store, "r1")
        assert row == RunRow(
            id="r1",
            conversation_id="c",
            request_id="request-r1",
            payload_digest="digest of Hello",
            state=RunState.QUEUED,
            lease=0,
            first_seq=1,
            created_at=received.timestamp,
        )
        await store.append([started("r1")])
        row = await run_row(store, "r1")
        assert (row.state, row.lease) == (RunState.RUNNING, store.lease)
        await store.append([replied("r1"), completed("r1")])
        assert (await run_row(store, "r1")).state is RunState.COMPLETED

    @pytest.mark.parametrize("end", [completed, failed, cancelled])
    async def test_nothing_follows_the_end_of_a_run(self, store: EventStore, end: Callable[[str], Event]) -> None:
        await store.append([asked("r1"), started("r1"), end("r1")])
        for event in (replied("r1"), resumed("r1"), started("r1"), cancelled("r1"), end("r1")):
            with pytest.raises(Superseded):
                await store.append([event])
        assert len(await store.read("c")) == 3
        with pytest.raises(Superseded):
            await store.append([asked("r2"), replied("r1")])
        assert len(await store.read("c")) == 3

    async def test_a_queued_run_can_be_ended_by_anybody_and_nothing_else(self, store: EventStore) -> None:
        await store.append([asked("r1"), asked("r2"), asked("r3")])
        await store.append([cancelled("r1")])
        await store.append([failed("r2")])
        for event in (replied("r3"), completed("r3"), waiting("r3")):
            with pytest.raises(Superseded):
                await store.append([event])
        states = [row.state for row in await store.runs(RunFilter())]
        assert states == [RunState.CANCELLED, RunState.FAILED, RunState.QUEUED]

    async def test_an_unknown_run_is_nobody_s(self, store: EventStore) -> None:
        await store.append([opened()])
        with pytest.raises(Superseded):
            await store.append([replied("nobody")])
        assert len(await store.read("c")) == 1

    @pytest.mark.promise("P1")
    async def test_after_a_restart_a_run_is_written_only_by_who_takes_it_up(
        self, store: EventStore, reopen: Reopen
    ) -> None:
        await store.append([asked("r1"), started("r1"), asked("r2")])
        later = await reopen(store)
        assert later.lease == store.lease + 1
        with pytest.raises(Superseded):
            await later.append([replied("r1")])
        with pytest.raises(Superseded):
            await later.append([cancelled("r1")])
        assert (await later.append([resumed("r1")]))[0].seq == 4
        await later.append([replied("r1"), completed("r1")])
        assert (await run_row(later, "r1")).lease == later.lease
        await later.append([cancelled("r2")])

    async def test_what_was_stored_is_there_after_a_restart(self, store: EventStore, reopen: Reopen) -> None:
        await store.append([opened(), asked("r1"), started("r1"), replied("r1")])
        before = await store.read("c"), await store.runs(RunFilter()), await store.conversations()
        epoch = store.epoch
        later = await reopen(store)
        assert (await later.read("c"), await later.runs(RunFilter()), await later.conversations()) == before
        assert later.epoch == epoch

    async def test_usage_is_the_sum_over_model_calls(self, store: EventStore) -> None:
        await store.append([asked("r1"), started("r1"), replied("r1"), completed("r1")])
        await store.append([asked("r2"), started("r2"), failed_try("r2"), replied("r2"), completed("r2")])
        rows = await store.runs(RunFilter())
        assert [row.usage for row in rows] == [COST, Usage(6, 7, True)]
        (conversation,) = await store.conversations()
        assert conversation.usage == Usage(11, 14, True)

    async def test_runs_are_listed_oldest_first_whatever_the_clock_says(
        self, store: EventStore, clock: ManualClock
    ) -> None:
        await store.append([asked("r9")])
        clock.advance(-3 * 86_400)
        await store.append([asked("r1")])
        clock.advance(9 * 86_400)
        await store.append([asked("r5", "other")])
        assert [row.id for row in await store.runs(RunFilter())] == ["r9", "r1", "r5"]
        unfinished = RunFilter(states=[RunState.QUEUED])
        assert [row.id for row in await store.runs(unfinished)] == ["r9", "r1", "r5"]
        assert [row.id for row in await store.runs(unfinished, limit=2)] == ["r9", "r1"]

    async def test_runs_are_found_by_everything_a_filter_names(self, store: EventStore, clock: ManualClock) -> None:
        await store.append([asked("r1", "a", request="q"), asked("r2", "a"), started("r2", "a"), completed("r2", "a")])
        clock.advance(60)
        since = timestamp(clock.now())
        await store.append([asked("r3", "b", request="q"), started("r3", "b"), asked("r4", "b"), started("r4", "b")])
        await store.append([waiting("r4", "b")])
        ended, open_ = [RunState.COMPLETED, RunState.FAILED], [RunState.RUNNING, RunState.WAITING]
        cases: list[tuple[RunFilter, list[str]]] = [
            (RunFilter(), ["r1", "r2", "r3", "r4"]),
            (RunFilter(run_id="r2"), ["r2"]),
            (RunFilter(run_id="r2", conversation_id="b"), []),
            (RunFilter(run_id="r1", request_id="q"), ["r1"]),
            (RunFilter(run_id="r1", since=since), []),
            (RunFilter(run_id="r1", states=ended), []),
            (RunFilter(conversation_id="a"), ["r1", "r2"]),
            (RunFilter(conversation_id="a", states=ended), ["r2"]),
            (RunFilter(conversation_id="a", since=since), []),
            (RunFilter(request_id="q"), ["r1", "r3"]),
            (RunFilter(request_id="q", conversation_id="b"), ["r3"]),
            (RunFilter(request_id="q", since=since), ["r3"]),
            (RunFilter(request_id="q", states=open_), ["r3"]),
            (RunFilter(since=since), ["r3", "r4"]),
            (RunFilter(states=open_), ["r3", "r4"]),
            (RunFilter(states=[RunState.QUEUED, RunState.COMPLETED]), ["r1", "r2"]),
            (RunFilter(states=open_, since=since), ["r3", "r4"]),
            (RunFilter(request_id="nothing"), []),
        ]
        found = [[row.id for row in await store.runs(which)] for which, _ in cases]
        assert found == [expected for _, expected in cases]


class ConversationsContract(Contract):
    """The list of conversations, and the end of one."""

    async def test_a_conversation_says_how_it_began(self, store: EventStore, clock: ManualClock) -> None:
        begun = timestamp(clock.now())
        await store.append([opened("c", "tui")])
        (row,) = await store.conversations()
        assert (row.id, row.title, row.kind, row.surface, row.state) == ("c", "", "chat", "tui", "idle")
        assert (row.memory_limit, row.metadata, row.first_seq, row.last_seq) == (None, {"pin": 1}, 1, 1)
        assert (row.usage, row.created_at, row.updated_at) == (Usage(), begun, begun)

    @pytest.mark.parametrize(
        ("text", "title"),
        [
            ("Hello", "Hello"),
            ("\n  First line  \nsecond", "First line"),
            ("x" * 200, "x" * 80),
            ("👋🏽 " * 60, ("👋🏽 " * 60)[:80]),
        ],
    )
    async def test_its_title_is_the_first_line_of_its_first_message(
        self, store: EventStore, text: str, title: str
    ) -> None:
        await store.append([opened()])
        await store.append([asked("r1", text=text)])
        await store.append([asked("r2", text="Another")])
        assert (await store.conversations())[0].title == title

    async def test_a_title_comes_from_a_person_and_from_words(self, store: EventStore) -> None:
        said = Event(conversation_id="c", type="message.received", role="assistant", content="Earlier answer")
        await store.append([said, Event(conversation_id="c", type="message.received", role="user", content=" ")])
        assert (await store.conversations())[0].title == ""
        await store.append([asked("r1", text="Now"), asked("r2", text="Later")])
        assert (await store.conversations())[0].title == "Now"

    async def test_its_state_follows_from_its_runs(self, store: EventStore) -> None:
        seen: list[str] = []
        for event in (
            opened(), asked("r1"), started("r1"), waiting("r1"), asked("r2"), cancelled("r2"), resumed("r1"),
            completed("r1"),
        ):  # fmt: skip
            await store.append([event])
            seen.append(await state_of(store))
        assert seen == ["idle", "running", "running", "waiting", "running", "waiting", "running", "idle"]

    async def test_newest_use_comes_first_and_pages_join_without_a_gap(
        self, store: EventStore, clock: ManualClock
    ) -> None:
        for number in range(5):
            clock.advance(1)
            await store.append(
                [opened(f"c{number}"), asked(f"r{number}", f"c{number}"), started(f"r{number}", f"c{number}")]
            )
        await store.append([opened("c3b")])
        clock.advance(1)
        await store.append([completed("r0", "c0")])
        await store.append([retried("r0b", "r0", "c1")])
        order = ["c1", "c4", "c3b", "c3", "c2", "c0"]
        assert [row.id for row in await store.conversations()] == order
        seen: list[str] = []
        before: str | None = None
        while rows := await store.conversations(limit=2, before=before):
            seen += [row.id for row in rows]
            before = f"{rows[-1].updated_at}/{rows[-1].id}"
        assert seen == order

    async def test_they_are_found_by_id_and_by_surface(self, store: EventStore, clock: ManualClock) -> None:
        for name, surface in (("a", "web"), ("b", "tui"), ("d", "web")):
            clock.advance(1)
            await store.append([opened(name, surface)])
        assert [row.id for row in await store.conversations(surface="web")] == ["d", "a"]
        assert [row.id for row in await store.conversations(surface="web", limit=1)] == ["d"]
        assert [row.id for row in await store.conversations(ids=["a", "b", "x"])] == ["b", "a"]
        assert [row.id for row in await store.conversations(ids=["a", "b"], surface="tui")] == ["b"]
        assert await store.conversations(ids=[]) == ()

    async def test_an_erased_conversation_is_gone_and_others_stay(self, store: EventStore) -> None:
        await store.append([opened("a"), asked("r1", "a"), started("r1", "a"), called("r1", conversation="a")])
        await store.append([opened("b"), asked("r2", "b")])
        assert await store.erase("a") is True
        assert await store.erase("a") is False
        assert await store.read("a") == ()
        assert [row.id for row in await store.conversations()] == ["b"]
        assert [row.id for row in await store.runs(RunFilter())] == ["r2"]
        with pytest.raises(Superseded):
            await store.append([returned("r1", conversation="a")])
        (again,) = await store.append([asked("r1", "a")])
        assert again.seq == 1


class EventStoreContract(
    EventsContract,
    RequestsContract,
    RunsContract,
    ConversationsContract,
    AsksContract,
    UpkeepContract,
    SearchingContract,
    IntakeContract,
):
    """Everything that `tom.store.eventstore.EventStore` and `Ledger` say."""
