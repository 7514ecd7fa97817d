# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every store must do with a conversation that comes from elsewhere. Part of `store_contract`."""

from collections.abc import Sequence
from dataclasses import replace

from tom.clock import timestamp
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import RunState
from tom.conversation.upkeep import history_compacted
from tom.conversation.usage import Usage
from tom.store.eventstore import ConversationRow, RunFilter
from tom.store.opening import History
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import COST, asked, completed, failed, opened, replied, retried, started
from tom.testing.store_reading import Contract

THEN = "2024-02-03T04:05:06.007Z"


def numbered(events: Sequence[Event], first: int = 1) -> list[Event]:
    """The events as another store had them."""
    return [event.stored(event_id=f"old-{at}", seq=at, timestamp=THEN) for at, event in enumerate(events, first)]


def row(events: Sequence[Event], conversation: str = "c") -> ConversationRow:
    """A row for them."""
    places = [event.seq for event in events]
    return ConversationRow(
        conversation, "Title", "chat", "rest", "idle", 7, {"imported_from": "x"}, places[0], places[-1], COST, THEN, THEN,
        title_by="person", pinned=True, services=("notes",), tokens=sum(event.token_count for event in events),
        system_prompt="Be brief.",
    )  # fmt: skip


SAID = (
    opened(), happened.prompt_set("c", "Be brief."), asked("r1"), started("r1"), replied("r1"), failed("r1"),
    retried("r2", "r1"), started("r2"), replied("r2"), completed("r2"),
)  # fmt: skip


class IntakeContract(Contract):
    """All of it or nothing, as it was, at nobody's expense."""

    async def test_it_is_there_as_it_was_and_goes_on(self, store: History, clock: ManualClock) -> None:
        events = numbered(SAID)
        assert await store.take_in(row(events), events) is True
        read = await store.read("c")
        assert [replace(event, id="") for event in read] == [replace(event, id="") for event in events]
        assert all(event.id and not event.id.startswith("old") for event in read)
        assert await store.conversations() == (row(events),)
        runs = await store.runs(RunFilter(conversation_id="c"))
        assert [(run.id, run.state, run.first_seq, run.request_id) for run in runs] == [
            ("r1", RunState.FAILED, 3, "request-r1"),
            ("r2", RunState.COMPLETED, 7, runs[1].request_id),
        ]
        assert runs[1].payload_digest == runs[0].payload_digest == "digest of Hello"
        assert {run.usage.total_tokens for run in runs} == {COST.total_tokens}
        assert await store.spent(since="2000-01-01") == ()
        clock.advance(1)
        (again,) = await store.append([asked("r3")])
        assert (again.seq, again.timestamp) == (events[-1].seq + 1, timestamp(clock.now()))
        assert (await store.conversations())[0].usage == Usage(COST.prompt_tokens, COST.completion_tokens)
        assert await store.erase("c") is True
        assert await store.runs(RunFilter(conversation_id="c")) == ()

    async def test_an_id_that_is_taken_is_left_alone(self, store: History) -> None:
        await store.append([opened(), asked("r9")])
        before = await store.read("c"), await store.conversations(), await store.runs(RunFilter())
        events = numbered(SAID)
        assert await store.take_in(row(events), events) is False
        assert (await store.read("c"), await store.conversations(), await store.runs(RunFilter())) == before

    async def test_what_retention_had_left_is_kept_apart_and_a_summary_is_found(self, store: History) -> None:
        kept = numbered([happened.prompt_set("c", "Be brief.")], 4)
        summary = history_compacted("c", "They greeted.", first_seq=1, through_seq=4)
        events = numbered([asked("r1"), started("r1"), replied("r1"), completed("r1"), summary], 5)
        assert await store.take_in(row(events), [*kept, *events])
        assert [event.seq for event in await store.read("c")] == [5, 6, 7, 8, 9]
        tail = await store.tail("c", tokens=0)
        assert [event.type for event in tail][:2] == ["prompt.set", "history.compacted"]
