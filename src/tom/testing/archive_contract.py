# ruff: noqa: S101, D102 - tests: they assert, and their names say what
"""What every `Archive` must do. Subclass it in a test module and give it the fixtures it asks for.

``clock`` is a `ManualClock` that the archives read; ``mirror`` a function that opens the archive of a user over the same
database, which no other test uses, and prepares it: ``await mirror(user="bob", namespace="chat_history")``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tom.archive.archive import Archive, MessageRecord, RecordRefused, SessionRecord
from tom.clock import timestamp
from tom.testing.manual_clock import ManualClock
from tom.testing.store_reading import Contract

type Mirror = Callable[..., Awaitable[Archive]]

TEXT = "سلام\n\tdunja 🌍 'quoted' \"twice\" \\ %s {user} \u2028 ي"


def session(name: str = "c", *, limit: int | None = None, minute: int = 0, **metadata: Any) -> SessionRecord:
    """A session that began at that minute."""
    return SessionRecord(name, limit, f"2026-01-01T00:{minute:02d}:00.250Z", metadata)


def message(seq: int, text: str = TEXT, *, role: str = "user", of: str = "c", **metadata: Any) -> MessageRecord:
    """A message at that second."""
    return MessageRecord(of, seq, role, text, f"2026-01-01T01:00:{seq % 60:02d}.007Z", metadata)


async def texts(archive: Archive, of: str = "c", *, limit: int = 1000, offset: int = 0) -> list[tuple[int, str]]:
    """Seq and content of a session's messages."""
    return [(row.seq, row.content) for row in await archive.messages(of, limit=limit, offset=offset)]


class ArchiveContract(Contract):
    """Writing, writing again, reading, erasing; people and installations kept apart."""

    @pytest.mark.promise("P26")
    async def test_what_is_written_is_what_is_read(self, mirror: Mirror, clock: ManualClock) -> None:
        archive = await mirror()
        clock.advance(61.5)
        about = session(limit=7, name_of="Milk", nested={"a": [1, 2.5, None, True, "ä"]})
        wanted = (message(3, run_id="r1"), message(5, "x" * 100_000, role="assistant", finish_reason="stop"))
        await archive.write(about, wanted)
        (found,), total = await archive.sessions(limit=10, offset=0)
        assert (found, total) == (about, 1)
        kept = await archive.messages("c", limit=10, offset=0)
        assert [replace(row, stored_at="") for row in kept] == list(wanted)
        assert {row.stored_at for row in kept} == {timestamp(clock.now())}

    async def test_it_says_whether_one_of_some_sessions_is_there(self, mirror: Mirror) -> None:
        alice, bob = await mirror(user="alice"), await mirror(user="bob")
        await alice.write(session("a"), ())
        assert await alice.has_any(["x", "a"])
        assert not await alice.has_any(["x"])
        assert not await alice.has_any([])
        assert not await bob.has_any(["a"])

    @pytest.mark.promise("P26")
    async def test_what_is_told_twice_is_there_once(self, mirror: Mirror, clock: ManualClock) -> None:
        archive = await mirror()
        await archive.write(session(limit=1), (message(1, "one"), message(2, "two")))
        before = await archive.messages("c", limit=10, offset=0)
        clock.advance(10)
        await archive.write(session(limit=2, a="b"), (message(1, "one"), message(2, "two"), message(3, "three")))
        after = await archive.messages("c", limit=10, offset=0)
        assert after[:2] == before
        assert [row.content for row in after] == ["one", "two", "three"]
        assert (await archive.sessions(limit=10, offset=0)) == ((session(limit=2, a="b"),), 1)

    @pytest.mark.promise("P26")
    async def test_what_somebody_changed_is_told_anew(self, mirror: Mirror, clock: ManualClock) -> None:
        archive = await mirror()
        strange = replace(message(1, "CHANGED", role="assistant", odd=1), created_at="2020-01-01T00:00:00.000Z")
        await archive.write(session(minute=7, odd=1), (strange, message(2, "two", run_id="r1")))
        moments = [row.stored_at for row in await archive.messages("c", limit=10, offset=0)]
        clock.advance(10)
        wanted = (message(1, "one", run_id="r1"), message(2, "TWO", run_id="r1", stored_at=["x"]))
        await archive.write(session(minute=3, limit=2), wanted)
        after = await archive.messages("c", limit=10, offset=0)
        assert [replace(row, stored_at="") for row in after] == list(wanted)
        assert [row.stored_at for row in after] == moments, "that is when they first came"
        assert (await archive.sessions(limit=10, offset=0)) == ((session(minute=3, limit=2),), 1)

    @pytest.mark.promise("P26")
    async def test_a_message_of_another_run_is_never_written_over(self, mirror: Mirror) -> None:
        archive = await mirror()
        await archive.write(session(limit=1), (message(2, "mine", run_id="r1"),))
        told = (message(1, "new", run_id="r2"), message(2, "other", run_id="r2"), message(3, "new", run_id="r2"))
        with pytest.raises(RecordRefused):
            await archive.write(session(limit=2), told)
        assert await texts(archive) == [(2, "mine")], "all of it or nothing"
        assert (await archive.sessions(limit=1, offset=0))[0] == (session(limit=1),)

    async def test_messages_are_in_order_in_whatever_order_they_came(self, mirror: Mirror) -> None:
        archive = await mirror()
        await archive.write(session(), (message(2, "2"), message(6, "6")))
        await archive.write(session(), (message(4, "4"), message(8, "8")))
        await archive.write(session(), (message(4, "4"), message(1, "1"), message(9, "9"), message(3, "3")))
        assert await texts(archive) == [(seq, str(seq)) for seq in (1, 2, 3, 4, 6, 8, 9)]
        assert await texts(archive, limit=2, offset=3) == [(4, "4"), (6, "6")]
        assert await texts(archive, offset=7) == []

    async def test_many_messages_come_at_once(self, mirror: Mirror) -> None:
        archive = await mirror()
        many = [message(seq, f"{seq}") for seq in range(1, 2501)]
        await archive.write(session(), many)
        await archive.write(session(), many[-300:])
        assert await texts(archive, limit=5000) == [(seq, f"{seq}") for seq in range(1, 2501)]

    async def test_a_session_may_have_no_messages(self, mirror: Mirror) -> None:
        archive = await mirror()
        await archive.write(session(), ())
        assert await texts(archive) == []
        assert await archive.messages("unknown", limit=1, offset=0) == ()
        assert (await archive.sessions(limit=1, offset=0))[1] == 1

    async def test_sessions_come_newest_first_and_within_bounds(self, mirror: Mirror) -> None:
        archive = await mirror()
        for minute in (2, 0, 1, 3):
            await archive.write(session(f"s{minute}", minute=minute), ())
        found, total = await archive.sessions(limit=2, offset=1)
        assert ([row.id for row in found], total) == (["s2", "s1"], 4)
        bounds = {"since": session(minute=1).created_at, "until": session(minute=2).created_at}
        found, total = await archive.sessions(limit=10, offset=0, **bounds)
        assert ([row.id for row in found], total) == (["s2", "s1"], 2)
        assert await archive.sessions(limit=10, offset=10) == ((), 4)

    @pytest.mark.promise("P20")
    async def test_a_session_is_erased_with_its_messages(self, mirror: Mirror) -> None:
        archive = await mirror()
        for name in ("c", "C", "d"):
            await archive.write(session(name), (message(1, name, of=name), message(2, name, of=name)))
        await archive.erase("c")
        await archive.erase("c")
        assert await texts(archive) == []
        assert {row.id for row in (await archive.sessions(limit=10, offset=0))[0]} == {"C", "d"}
        assert await texts(archive, "C") == [(1, "C"), (2, "C")]
        await archive.write(session(minute=9), (message(1, "new"),))
        assert await texts(archive) == [(1, "new")]
        assert (await archive.sessions(limit=1, offset=0))[0] == (session(minute=9),)

    @pytest.mark.promise("P20")
    async def test_the_oldest_messages_are_erased(self, mirror: Mirror) -> None:
        archive = await mirror()
        await archive.write(session(), [message(seq, str(seq)) for seq in range(1, 6)])
        await archive.erase("c", before=4)
        await archive.erase("c", before=4)
        await archive.erase("unknown", before=4)
        assert await texts(archive) == [(4, "4"), (5, "5")]
        await archive.write(session(), (message(6, "6"),))
        assert await texts(archive) == [(4, "4"), (5, "5"), (6, "6")]

    @pytest.mark.promise("P10")
    async def test_people_and_installations_are_kept_apart(self, mirror: Mirror) -> None:
        alice, bob = await mirror(user="alice"), await mirror(user="bob")
        other = await mirror(user="alice", namespace="other")
        for archive, text in ((alice, "of alice"), (bob, "of bob"), (other, "elsewhere")):
            await archive.write(session(limit=len(text)), (message(1, text), message(2, text)))
        await bob.erase("c", before=2)
        await other.erase("c")
        assert await texts(alice) == [(1, "of alice"), (2, "of alice")]
        assert await texts(bob) == [(2, "of bob")]
        assert (await other.sessions(limit=1, offset=0))[1] == 0
        assert [row.memory_limit for row in (await bob.sessions(limit=5, offset=0))[0]] == [6]

    async def test_preparing_again_changes_nothing(self, mirror: Mirror) -> None:
        archive = await mirror()
        await archive.write(session(), (message(1, "one"),))
        await archive.prepare()
        await archive.close()
        await archive.prepare()
        assert await texts(archive) == [(1, "one")]
