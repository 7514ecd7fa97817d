# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `EventStore` must find by words. Part of `store_contract`."""

import pytest

from tom.conversation import event as happened
from tom.conversation.upkeep import conversation_changed
from tom.store.eventstore import EventStore
from tom.testing.manual_clock import ManualClock
from tom.testing.store_events import asked, completed, opened, replied, started
from tom.testing.store_reading import Contract

SAID = {
    "a": ("The Tent is light.", "It weighs 100% of 1_000 g, said Jörg."),
    "b": ("قیمت چادر چقدر است؟", "Нет палаток."),
    "c": ("tent poles", "None of them."),
}
FOUND = {
    "TENT": ["c", "a"],
    "light tent": ["a"],
    "tent poles light": [],
    "weighs tent": [],
    "JÖRG": ["a"],
    "палаток НЕТ": ["b"],
    "قيمت": ["b"],
    "100%": ["a"],
    "1_0": ["a"],
    "1?0": [],
    "%": ["a"],
    "_": ["a"],
    "*": [],
    "[tT]ent": [],
    "prompt": [],
    "  ": ["c", "b", "a"],
    "te\0nt": ["c", "a"],
}


class SearchingContract(Contract):
    """The list of conversations, narrowed."""

    @pytest.mark.parametrize("words", FOUND)
    async def test_all_words_are_in_one_message_whatever_their_case(
        self, store: EventStore, clock: ManualClock, words: str
    ) -> None:
        for name, (question, answer) in SAID.items():
            clock.advance(1)
            told = (opened(name), happened.prompt_set(name, "A prompt is nobody's message."))
            await store.append([*told, asked(f"r{name}", name, text=question), started(f"r{name}", name)])
            await store.append([replied(f"r{name}", name, text=answer), completed(f"r{name}", name)])
        assert [row.id for row in await store.conversations(matching=words)] == FOUND[words]

    async def test_a_title_is_searched_and_what_was_erased_is_not_found(self, store: EventStore) -> None:
        await store.append([opened("a"), asked("r1", "a", text="hello")])
        await store.append([conversation_changed("a", {"title": "Camping [Åland]", "title_by": "person"})])
        assert [row.id for row in await store.conversations(matching="camping [ål")] == ["a"]
        await store.erase("a")
        assert await store.conversations(matching="camping") == ()
        await store.append([opened("a")])
        assert await store.conversations(matching="hello") == ()

    async def test_a_kind_narrows_and_pages_join(self, store: EventStore, clock: ManualClock) -> None:
        for number in range(6):
            clock.advance(1)
            kind = "api" if number % 2 else "chat"
            name = f"c{number}"
            told = happened.conversation_opened(name, surface="rest", kind=kind)
            await store.append([told, asked(f"r{number}", name, text="Same words")])
        assert [row.id for row in await store.conversations(kind="api")] == ["c5", "c3", "c1"]
        assert [row.id for row in await store.conversations(kind="api", ids=["c1", "c2"])] == ["c1"]
        first = await store.conversations(kind="chat", matching="words", limit=2)
        rest = await store.conversations(
            kind="chat", matching="words", limit=2, before=f"{first[-1].updated_at}/{first[-1].id}"
        )
        assert [row.id for row in (*first, *rest)] == ["c4", "c2", "c0"]
