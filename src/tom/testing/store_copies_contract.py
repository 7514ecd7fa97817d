# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `Copies` must do. Subclass it in a test module and give it the fixtures it asks for.

``share`` makes an empty store whose sessions have copies, ``alone`` one that never had any; ``again`` is an async
function from a store to what a restarted process would open in its place.
"""

from collections.abc import Awaitable, Callable

from tom.store.opening import Store
from tom.testing.store_events import asked, completed, opened, replied, started
from tom.testing.store_reading import Contract

type Again = Callable[[Store], Awaitable[Store]]


async def session(store: Store, conversation: str, runs: int = 1, surface: str = "rest") -> None:
    """A session with some exchanges."""
    await store.append([opened(conversation, surface=surface)])
    for number in range(runs):
        run = f"{conversation}{number}"
        await store.append([asked(run, conversation), started(run, conversation)])
        await store.append([replied(run, conversation), completed(run, conversation)])


class CopiesContract(Contract):
    """Noting what was erased and cut, settling, ids in order."""

    async def test_an_erased_session_stays_noted_until_its_copy_is_gone(self, share: Store, again: Again) -> None:
        await session(share, "a")
        await session(share, "b")
        assert not await share.erased("a")
        await share.erase("a")
        store = await again(share)
        assert (await store.erased("a"), await store.erased("b")) == (True, False)
        (noted,) = await store.stale()
        assert (noted.conversation_id, noted.erased) == ("a", True)
        assert await store.stale(after=noted.number) == ()
        await store.settle([noted])
        assert await store.stale() == ()
        assert not await store.erased("a")

    async def test_a_cut_is_noted_and_an_erasure_takes_its_place(self, share: Store) -> None:
        await session(share, "a", 3)
        await share.erase("a", before=6)
        await share.erase("a", before=10)
        (cut,) = await share.stale()
        assert not cut.erased
        assert not await share.erased("a")
        await share.erase("a")
        await share.settle([cut])
        assert await share.erased("a"), "another note than the one that was settled"

    async def test_other_doors_have_no_copies_and_neither_has_a_store_alone(self, share: Store, alone: Store) -> None:
        await session(share, "a", 2, surface="ws")
        await session(alone, "a", 2)
        for store in (share, alone):
            await store.erase("a", before=6)
            await store.erase("a")
            assert await store.stale() == ()

    async def test_what_was_erased_elsewhere_is_noted_for_whom_it_concerns(self, alone: Store) -> None:
        await alone.owe(["a"], memory=["b", "c"])
        assert [entry.conversation_id for entry in await alone.due()] == ["a"]
        assert [one.conversation_id for one in await alone.stale(limit=1)] == ["b"]
        assert await alone.erased("c")

    async def test_a_session_that_is_taken_in_again_is_erased_no_more(self, share: Store) -> None:
        await session(share, "a")
        (row,) = await share.conversations(ids=["a"])
        events = await share.read("a")
        await share.erase("a")
        assert await share.take_in(row, events)
        assert not await share.erased("a")

    async def test_ids_come_in_their_order_whatever_is_used(self, share: Store) -> None:
        for name in ("c", "a", "b"):
            await session(share, name)
        await share.append([asked("again", "a")])
        assert await share.ids(limit=2) == ("a", "b")
        assert await share.ids(after="b") == ("c",)
