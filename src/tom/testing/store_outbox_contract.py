# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `Outbox` must do. Subclass it in a test module and give it the fixtures it asks for.

``clock`` is a `ManualClock` that the stores read; ``make`` an async function from `MirrorRules` (or None) to an empty
store; ``reopen`` one from a store and its rules to what a restarted process would open in its place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tom.clock import timestamp
from tom.conversation.event import prompt_set
from tom.conversation.part import ToolCall
from tom.store.opening import Store
from tom.store.outbox import Entry, Kind, MirrorRules
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import (
    asked,
    called,
    cancelled,
    changed,
    completed,
    failed,
    opened,
    replied,
    retried,
    returned,
    started,
)
from tom.testing.store_reading import Contract

type Make = Callable[[MirrorRules | None], Awaitable[Store]]
type Reopen = Callable[[Store, MirrorRules], Awaitable[Store]]

KEEP = MirrorRules()
FOLLOW = MirrorRules(keep=False)
FULL = MirrorRules(full=True)


def told(entries: Sequence[Entry]) -> list[tuple[str, str, list[tuple[int, str | None, str | None]]]]:
    """Kind and conversation of entries, with their messages."""
    return [
        (entry.kind, entry.conversation_id, [(event.seq, event.role, event.content) for event in entry.events])
        for entry in entries
    ]


async def converse(store: Store, run: str, conversation: str = "c", *, text: str = "Hello", answer: str = "Hi") -> None:
    """One exchange of four events."""
    await store.append([asked(run, conversation, text=text), started(run, conversation)])
    await store.append([replied(run, conversation, text=answer), completed(run, conversation)])


async def drain(store: Store) -> list[Entry]:
    """Confirm everything that is due."""
    found: list[Entry] = []
    while entries := await store.due():
        found += entries
        await store.confirm(entries)
    return found


class OutboxContract(Contract):
    """Queueing, order, confirming, postponing, erasing, refilling."""

    async def test_without_an_archive_nothing_is_queued(self, make: Make) -> None:
        store = await make(None)
        await store.append([opened()])
        await converse(store, "r1")
        await store.erase("c", before=3)
        await store.erase("c")
        assert await store.due() == ()
        assert (await store.lag()).entries == 0

    @pytest.mark.promise("P26")
    async def test_an_exchange_is_told_once_it_is_completed(self, make: Make, clock: ManualClock) -> None:
        store = await make(KEEP)
        await store.append([opened(), prompt_set("c", "Be kind.")])
        await store.append(
            [asked("r1"), started("r1"), replied("r1", text="", calls=[ToolCall("k", "notes_add", "{}")])]
        )
        assert told(await drain(store)) == [("session", "c", [])]
        at = timestamp(clock.now())
        clock.advance(5)
        await store.append([called("r1"), returned("r1"), replied("r1", text="Done."), completed("r1")])
        assert (await store.lag()).oldest > at
        (entry,) = await store.due()
        assert told([entry]) == [("exchange", "c", [(3, "user", "Hello"), (8, "assistant", "Done.")])]
        assert entry.session is not None
        assert (entry.session.id, entry.session.metadata, entry.seq) == ("c", {"pin": 1}, 9)
        assert await store.due() == (entry,)
        await store.confirm([entry])
        assert await store.due() == ()
        assert (await store.lag()).entries == 0

    async def test_what_was_not_completed_is_not_told(self, make: Make) -> None:
        store = await make(KEEP)
        await store.append([asked("r1"), started("r1"), failed("r1"), asked("r2"), cancelled("r2")])
        assert await store.due() == ()

    async def test_exchanges_are_told_apart_however_they_are_mixed(self, make: Make) -> None:
        store = await make(KEEP)
        await store.append([asked("r1", text="One"), started("r1"), asked("r2", text="Two"), replied("r1", text="1")])
        await store.append([completed("r1"), started("r2"), replied("r2", text="2"), completed("r2")])
        assert told(await store.due()) == [
            ("exchange", "c", [(1, "user", "One"), (4, "assistant", "1")]),
            ("exchange", "c", [(3, "user", "Two"), (7, "assistant", "2")]),
        ]

    async def test_a_message_asked_again_stands_where_it_was_answered(self, make: Make) -> None:
        store = await make(KEEP)
        await store.append([asked("r1", text="Why?"), started("r1"), failed("r1")])
        await converse(store, "r2")
        await store.append([retried("r3", "r1"), cancelled("r3"), retried("r4", "r3"), started("r4")])
        await store.append([replied("r4", text="Because."), completed("r4")])
        _, entry = await store.due()
        assert told([entry]) == [("exchange", "c", [(10, "user", "Why?"), (12, "assistant", "Because.")])]
        assert entry.events[0].run_id == "r4"
        await store.append([retried("r5", "unknown"), started("r5"), replied("r5"), completed("r5")])
        assert told((await store.due())[-1:]) == [("exchange", "c", [(16, "assistant", "Hi")])]

    async def test_half_a_reply_is_not_told_and_a_circle_ends(self, make: Make) -> None:
        store = await make(KEEP)
        half = replied("r1", text="Bec")
        await store.append([asked("r1"), started("r1"), replace(half, extra={**half.extra, "partial": True})])
        await store.append([replied("r1", text="Because."), completed("r1")])
        await store.append([retried("r2", "r2"), started("r2"), replied("r2"), completed("r2")])
        first, second = told(await store.due())
        assert first[2] == [(1, "user", "Hello"), (4, "assistant", "Because.")]
        assert second[2] == [(8, "assistant", "Hi")]

    async def test_with_everything_instructions_and_calls_are_told(self, make: Make) -> None:
        store = await make(FULL)
        await store.append([opened(), prompt_set("c", "Be kind.")])
        await store.append(
            [asked("r1"), started("r1"), replied("r1", text="", calls=[ToolCall("k", "notes_add", "{}")])]
        )
        await store.append([called("r1"), returned("r1"), replied("r1", text="Done."), completed("r1")])
        session, prompt, entry = await drain(store)
        assert told([session, prompt]) == [("session", "c", []), ("prompt", "c", [(2, "system", "Be kind.")])]
        assert [(event.seq, event.role) for event in entry.events] == [
            (3, "user"), (5, "assistant"), (7, "tool"), (8, "assistant"),
        ]  # fmt: skip
        assert await store.refill() == 3
        assert told(await drain(store)) == told([session, entry, prompt])

    async def test_of_a_session_only_the_newest_state_is_told(self, make: Make) -> None:
        store = await make(KEEP)
        await store.append([opened(), changed(title="Milk"), changed(metadata={"a": 1})])
        (entry,) = await store.due()
        await store.append([changed(metadata={"a": 2}), changed(memory_limit=7)])
        await store.confirm([entry])
        (newer,) = await store.due()
        assert newer.session is not None
        assert (newer.kind, newer.session.metadata, newer.session.memory_limit) == (Kind.SESSION, {"a": 2}, 7)
        assert newer.id > entry.id

    @pytest.mark.promise("P26")
    async def test_what_was_refused_holds_back_its_conversation_only(self, make: Make, clock: ManualClock) -> None:
        store = await make(KEEP)
        for run in ("r1", "r2"):
            for conversation in ("a", "b"):
                await converse(store, f"{run}{conversation}", conversation)
        first = (await store.due())[0]
        until = timestamp(clock.now() + timedelta(seconds=10))
        await store.postpone(first, until=until, reason="odd")
        assert [entry.conversation_id for entry in await store.due()] == ["b", "b"]
        assert (await store.lag()).next_at == until
        clock.advance(10)
        again = (await store.due())[0]
        assert (again.id, again.tries, again.reason) == (first.id, 1, "odd")
        await store.postpone(first, until="", reason="odd")
        clock.advance(10_000_000)
        assert [entry.conversation_id for entry in await store.due()] == ["b", "b"]
        lag = await store.lag()
        assert (lag.entries, lag.held, lag.next_at) == (4, 2, "")
        assert [(entry.id, entry.tries, entry.reason, entry.events) for entry in lag.parked] == [
            (first.id, 2, "odd", ())
        ]
        assert await store.refill("b") == 5
        assert len((await store.lag()).parked) == 1
        assert await store.refill() == 6
        assert (await store.lag()).parked == ()
        assert (await store.due())[0].tries == 0

    @pytest.mark.promise("P20")
    async def test_an_erasure_overtakes_what_was_not_sent(self, make: Make, reopen: Reopen) -> None:
        store = await make(KEEP)
        for conversation in ("a", "b", "c"):
            await store.append([opened(conversation)])
            await converse(store, f"r{conversation}", conversation)
        assert await store.erase("b")
        assert not await store.erase("unknown")
        store = await reopen(store, KEEP)
        entries = await store.due()
        assert [(entry.kind, entry.conversation_id) for entry in entries] == [
            ("erase", "b"), ("session", "a"), ("exchange", "a"), ("session", "c"), ("exchange", "c"),
        ]  # fmt: skip
        assert entries[0].session is None
        assert [entry.kind for entry in await store.due(limit=1)] == ["erase"]
        await converse(store, "r2", "b")
        await store.postpone(entries[0], until="9999", reason="odd")
        assert {entry.conversation_id for entry in await store.due()} == {"a", "c"}
        await store.confirm(entries[:1])
        assert {entry.conversation_id for entry in await store.due()} == {"a", "b", "c"}

    @pytest.mark.promise("P20")
    async def test_what_is_confirmed_late_does_not_take_an_erasure_with_it(self, make: Make) -> None:
        store = await make(KEEP)
        await converse(store, "r1")
        (sent,) = await store.due()
        await store.erase("c")
        await store.confirm([sent])
        assert [entry.kind for entry in await store.due()] == ["erase"]

    @pytest.mark.promise("P26")
    async def test_what_retention_erases_first_is_told_all_the_same(self, make: Make, reopen: Reopen) -> None:
        store = await make(KEEP)
        await store.append([asked("r0", text="Again?"), started("r0"), failed("r0")])
        await converse(store, "r1", text="One")
        await store.append([retried("r2", "r0"), started("r2"), replied("r2"), completed("r2")])
        await converse(store, "r3", text="Three")
        before = told(await store.due())
        assert await store.erase("c", before=8)
        store = await reopen(store, KEEP)
        assert told(await store.due()) == before
        assert await store.erase("c", before=12)
        assert told(await store.due()) == before
        await store.refill()
        assert [entry for entry in told(await drain(store)) if entry[0] == "exchange"] == before
        assert await store.due() == ()

    async def test_retention_waits_for_an_archive_that_is_far_behind(self, make: Make) -> None:
        store = await make(MirrorRules(most_kept=1))
        for run in ("r1", "r2", "r3"):
            await converse(store, run)
        assert await store.erase("c", before=5)
        assert not await store.erase("c", before=9)
        assert [entry.seq for entry in await store.due()] == [4, 8, 12]
        await drain(store)
        assert await store.erase("c", before=9)

    @pytest.mark.promise("P20")
    async def test_where_the_archive_follows_it_is_told_of_the_cut(self, make: Make) -> None:
        store = await make(FOLLOW)
        await converse(store, "r1")
        await converse(store, "r2")
        await converse(store, "r3")
        assert await store.erase("c", before=5)
        assert [(entry.kind, entry.seq) for entry in await store.due()] == [
            ("exchange", 8),
            ("exchange", 12),
            ("cut", 5),
        ]
        assert await store.erase("c", before=9)
        entries = await store.due()
        assert [(entry.kind, entry.seq, entry.session) for entry in entries[1:]] == [("cut", 9, None)]
        assert not await store.erase("c", before=9)

    async def test_instructions_from_before_the_cut_are_told_again_where_they_are_kept(self, make: Make) -> None:
        for rules, expected in ((FULL, 3), (MirrorRules(full=True, keep=False), 2)):
            store = await make(rules)
            await store.append([opened(), prompt_set("c", "Be kind.")])
            await converse(store, "r1")
            await converse(store, "r2")
            await drain(store)
            assert await store.erase("c", before=7)
            await drain(store)
            assert await store.refill() == expected

    @pytest.mark.promise("P26")
    async def test_everything_can_be_queued_again(self, make: Make, reopen: Reopen) -> None:
        store = await make(KEEP)
        for conversation in ("a", "b"):
            await store.append([opened(conversation)])
            await converse(store, f"r1{conversation}", conversation)
            await converse(store, f"r2{conversation}", conversation)
        all_of_it = sorted(map(str, told(await drain(store))))
        store = await reopen(store, KEEP)
        assert await store.refill("a") == 3
        assert {entry.conversation_id for entry in await drain(store)} == {"a"}
        await converse(store, "r3", "a", text="New")
        assert await store.refill() == 7
        found = await drain(store)
        assert set(all_of_it) < {str(one) for one in told(found)}
        for conversation in ("a", "b"):
            seqs = [event.seq for entry in found if entry.conversation_id == conversation for event in entry.events]
            assert len(seqs) == len(set(seqs)) >= 4

    async def test_texts_are_handed_out_a_few_megabytes_at_a_time(self, make: Make) -> None:
        store = await make(KEEP)
        for run in ("r1", "r2", "r3"):
            await converse(store, run, text="x" * 3_000_000)
        assert [entry.run_id for entry in await store.due()] == ["r1", "r2"]

    async def test_whoever_waits_is_woken_by_what_is_queued(self, make: Make) -> None:
        store = await make(KEEP)
        await store.due()
        for change in (
            store.append([opened()]),
            store.refill(),
            store.erase("c"),
        ):
            async with asyncio.timeout(5), asyncio.TaskGroup() as group:
                waiting = group.create_task(store.queued())
                await asyncio.sleep(0)
                assert not waiting.done()
                await change
            await store.due()
