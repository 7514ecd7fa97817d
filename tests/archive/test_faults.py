"""Archives that are killed, frozen, read-only, flapping or emptied while people talk: equal row for row afterwards."""

import asyncio
import contextlib
import random
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from tom.agent.mirroring import Mirroring
from tom.agent.mirrorwords import archived_sessions, compare, compare_sessions
from tom.archive.mongodb import MongodbArchive
from tom.archive.mysql import MysqlArchive
from tom.archive.redis import RedisArchive
from tom.clock import SystemClock
from tom.errors import StorageUnavailable
from tom.store.outbox import MirrorRules
from tom.store.sqlite import SqliteEventStore
from tom.testing.store_events import asked, completed, opened, replied, started

pytestmark = [pytest.mark.anyio, pytest.mark.services, pytest.mark.timeout(180)]

MESSAGES = 10_000
CONVERSATIONS = 25
RULES = MirrorRules()


class FastClock(SystemClock):
    """Time that flies: so long waits between tries are short."""

    FACTOR = 50.0

    def __init__(self):
        self._began = time.monotonic()
        self._start = super().now()

    def now(self):
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self.FACTOR)

    async def sleep(self, seconds):
        await super().sleep(seconds / self.FACTOR)


@pytest.fixture
def clock():
    return FastClock()


@pytest.fixture
async def open_store(clock):
    """Histories in memory where this machine can: it is the archive that is tested."""
    stores = []
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:

        async def make(name="history", rules=RULES):
            stores.append(await SqliteEventStore.open(Path(folder) / f"{name}.db", clock=clock, mirror=rules))
            return stores[-1]

        yield make
        for store in stores:
            await store.close()


class Mysql:
    """MariaDB as the tests of faults see it."""

    def __init__(self, server, place, ask, clock):
        self.server, self.place, self.ask, self.clock = server, place, ask, clock

    def archive(self, user="local"):
        return MysqlArchive(self.place, namespace="chat_history", user=user, clock=self.clock, seconds=1.5)

    async def read_only(self, value):
        await self.ask(f"SET GLOBAL read_only = {int(value)}")

    async def empty(self):
        self.server.restart_empty()
        name = self.place.database
        await self.ask(f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO tom@'%'")


class Redis:
    def __init__(self, server, clock):
        self.server, self.clock = server, clock

    def archive(self, user="local"):
        return RedisArchive(self.server.url, namespace="chat_history", user=user, clock=self.clock, seconds=1.5)

    async def read_only(self, value):
        with redis.Redis(port=self.server.port) as client:
            client.replicaof("127.0.0.1", 1) if value else client.replicaof("NO", "ONE")

    async def empty(self):
        self.server.restart_empty()


@pytest.fixture(params=["mysql", "redis"])
def place(request, clock):
    if request.param == "mysql":
        parts = [request.getfixturevalue(name) for name in ("mariadb_server", "mysql_place", "ask_mariadb")]
        yield Mysql(*parts, clock)
    else:
        server = request.getfixturevalue("redis_server")
        server.usable()
        with redis.Redis(port=server.port) as client:
            client.replicaof("NO", "ONE")
            client.flushall()
        yield Redis(server, clock)
        server.usable()
        with redis.Redis(port=server.port) as client:
            client.replicaof("NO", "ONE")


@contextlib.asynccontextmanager
async def mirrored(store, archive, clock, rules=RULES):
    pump = Mirroring(store, archive, clock, rules=rules, backend="real", chance=random.Random(1))
    task = asyncio.ensure_future(pump.serve())
    try:
        yield pump
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def talk(store, messages, first=0):
    """So many messages, spread over conversations, appended as they come."""

    async def one(conversation):
        name = f"c{conversation}"
        for number in range(messages // 2 // CONVERSATIONS):
            run = f"r{first}-{conversation}-{number}"
            await store.append([asked(run, name, text=f"Question {run} سلام"), started(run, name)])
            await store.append([replied(run, name, text=f"Answer {run}"), completed(run, name)])

    await asyncio.gather(*map(one, range(CONVERSATIONS)))


async def erase(store, conversation, **options):
    """Erase for good; the log is emptied later where another checkpoint is under way."""
    with contextlib.suppress(StorageUnavailable):
        assert await store.erase(conversation, **options)


async def begin(store):
    for conversation in range(CONVERSATIONS):
        await store.append([opened(f"c{conversation}")])
    await talk(store, 2 * CONVERSATIONS)


async def equal(store, archive, rules=RULES):
    """Compare row for row; how many messages there are."""
    rows = await store.conversations(limit=1000)
    assert compare_sessions(rows, await archived_sessions(archive)) == []
    total = 0
    for row in rows:
        count, differences = await compare(store, archive, row, rules)
        assert differences == []
        total += count
    assert set(await archived_sessions(archive)) == {row.id for row in rows}
    return total


async def caught_up(pump, until):
    await until(lambda: pump.flush(5), seconds=60, what="caught up")


@pytest.mark.promise("P26")
@pytest.mark.parametrize("fault", ["killed", "frozen", "read-only"])
async def test_what_was_said_during_an_outage_is_there_afterwards(place, clock, open_store, until, fault):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await caught_up(pump, until)
        match fault:
            case "killed":
                place.server.kill()
            case "frozen":
                place.server.stop()
            case _:
                await place.read_only(True)
        await talk(store, MESSAGES, first=1)
        await until(lambda: pump.state()["state"] == "unreachable" and pump.lag_seconds() > 0, seconds=20)
        assert pump.state()["archive_behind"]
        assert (await store.lag()).entries >= MESSAGES // 2
        match fault:
            case "killed":
                place.server.start()
            case "frozen":
                place.server.go_on()
            case _:
                await place.read_only(False)
        await caught_up(pump, until)
        assert await equal(store, archive) == MESSAGES + 2 * CONVERSATIONS
        assert (await store.lag()).entries == 0


@pytest.mark.promise("P26")
async def test_an_archive_that_dies_again_and_again_while_it_catches_up_ends_equal(place, clock, open_store, until):
    store, archive = await open_store(), place.archive()
    await begin(store)
    async with mirrored(store, archive, clock) as pump:
        for round_ in range(5):
            await talk(store, 400, first=round_ + 1)
            await pump.flush(0.05)
            place.server.kill()
            await talk(store, 200, first=100 + round_)
            place.server.start()
        await caught_up(pump, until)
        assert await equal(store, archive) == 5 * 600 + 2 * CONVERSATIONS


@pytest.mark.promise("P26")
async def test_an_archive_that_returns_empty_is_written_again(place, clock, open_store, until):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await talk(store, 1000, first=1)
        await caught_up(pump, until)
        await place.empty()
        assert (await pump.rebuild()) >= 500
        await until(lambda: pump.state()["waiting"] == 0 and pump.state()["state"] == "ok", seconds=60)
        assert await equal(store, archive) == 1000 + 2 * CONVERSATIONS


@pytest.mark.promise("P26")
@pytest.mark.slow
async def test_an_archive_that_loses_all_while_people_talk_is_whole_again(place, clock, open_store, until):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await talk(store, MESSAGES // 2, first=1)
        await caught_up(pump, until)
        place.server.kill()
        await talk(store, MESSAGES // 2, first=2)
        await until(lambda: pump.state()["state"] == "unreachable", seconds=20)
        await place.empty()
        await caught_up(pump, until)
        await until(lambda: pump.state()["waiting"] == 0 and pump.state()["state"] == "ok", seconds=90)
        assert await equal(store, archive) == MESSAGES + 2 * CONVERSATIONS
        assert (await store.lag()).entries == 0


@pytest.mark.promise("P26")
async def test_what_somebody_changed_in_the_archive_is_as_it_was_after_a_rebuild(place, clock, open_store, until):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await talk(store, 200, first=1)
        await caught_up(pump, until)
        (about,) = [one for name, one in (await archived_sessions(archive)).items() if name == "c3"]
        rows = await archive.messages("c3", limit=1000, offset=0)
        run = rows[1].metadata["run_id"]
        changed = replace(
            rows[1], role="system", content="CHANGED", created_at="2001-01-01T00:00:00.000Z", metadata={"run_id": run, "x": 1}
        )  # fmt: skip
        await archive.write(replace(about, created_at="2001-01-01T00:00:00.000Z", metadata={"x": 1}), [changed])
        (row,) = await store.conversations(ids=["c3"])
        assert [one.what for one in (await compare(store, archive, row, RULES))[1]] == ["different"]
        assert [one.what for one in compare_sessions([row], await archived_sessions(archive))] == ["different"]
        await pump.rebuild()
        assert await pump.flush(30)
        assert await equal(store, archive) == 200 + 2 * CONVERSATIONS


@pytest.mark.promise("P26")
async def test_what_somebody_took_out_of_the_archive_comes_back_with_a_rebuild(place, clock, open_store, until):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await talk(store, 200, first=1)
        await caught_up(pump, until)
        await archive.erase("c3")
        await archive.erase("c4", before=7)
        rows = await store.conversations(ids=["c3", "c4"])
        assert compare_sessions(rows, await archived_sessions(archive))[0].session_id == "c3"
        assert [len((await compare(store, archive, row, RULES))[1]) > 0 for row in rows] == [True, True]
        await pump.rebuild()
        assert await pump.flush(30)
        assert await equal(store, archive) == 200 + 2 * CONVERSATIONS


@pytest.mark.promise("P20")
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_what_is_deleted_during_an_outage_is_gone_afterwards(place, clock, open_store, until, fault):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await caught_up(pump, until)
        place.server.kill() if fault == "killed" else place.server.stop()
        await talk(store, 500, first=1)
        await until(lambda: pump.state()["state"] == "unreachable", seconds=20)
        for conversation in range(10):
            await erase(store, f"c{conversation}")
        await store.append([opened("c0"), asked("anew", "c0"), started("anew", "c0")])
        await store.append([replied("anew", "c0", text="New"), completed("anew", "c0")])
        place.server.start() if fault == "killed" else place.server.go_on()
        await caught_up(pump, until)
        await equal(store, archive)
        assert [row.content for row in await archive.messages("c0", limit=9, offset=0)] == ["Hello", "New"]
        assert len(await archived_sessions(archive)) == CONVERSATIONS - 9


@pytest.mark.promise("P26")
async def test_what_retention_erases_during_an_outage_is_there_afterwards(place, clock, open_store, until):
    store, archive = await open_store(), place.archive()
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await caught_up(pump, until)
        place.server.kill()
        await talk(store, 500, first=1)
        for conversation in range(CONVERSATIONS):
            (row,) = await store.conversations(ids=[f"c{conversation}"])
            await erase(store, row.id, before=row.last_seq - 3)
        place.server.start()
        await caught_up(pump, until)
        assert await equal(store, archive) == 2 * CONVERSATIONS
        kept = [await archive.messages(f"c{number}", limit=99, offset=0) for number in range(CONVERSATIONS)]
        assert sum(map(len, kept)) == 500 + 2 * CONVERSATIONS


@pytest.mark.promise("P20")
async def test_an_archive_that_follows_has_no_more_than_the_history(place, clock, open_store, until):
    rules = MirrorRules(keep=False)
    store, archive = await open_store(rules=rules), place.archive()
    async with mirrored(store, archive, clock, rules) as pump:
        await begin(store)
        await talk(store, 100, first=1)
        await caught_up(pump, until)
        place.server.kill()
        for conversation in range(0, CONVERSATIONS, 2):
            (row,) = await store.conversations(ids=[f"c{conversation}"])
            await erase(store, row.id, before=row.last_seq - 3)
        place.server.start()
        await caught_up(pump, until)
        assert await equal(store, archive, rules) == 100 + 2 * CONVERSATIONS - 4 * len(range(0, CONVERSATIONS, 2))


@pytest.mark.promise("P10")
async def test_two_people_in_one_database_are_kept_apart(place, clock, open_store, until):
    alice, bob = await open_store("alice"), await open_store("bob")
    of_alice, of_bob = place.archive("alice"), place.archive("bob")
    async with mirrored(alice, of_alice, clock) as one, mirrored(bob, of_bob, clock) as other:
        await begin(alice)
        await begin(bob)
        await talk(bob, 100, first=1)
        await erase(alice, "c1")
        await caught_up(one, until)
        await caught_up(other, until)
        assert await one.flush(20) and await other.flush(20)
        assert await equal(alice, of_alice) == 2 * CONVERSATIONS - 2
        assert await equal(bob, of_bob) == 100 + 2 * CONVERSATIONS


@pytest.mark.promise("P26")
async def test_a_record_that_is_too_large_holds_back_its_conversation_only(mariadb_server, mysql_place, ask_mariadb, clock, open_store, until):  # fmt: skip
    await ask_mariadb("SET GLOBAL max_allowed_packet = 1048576")
    store, place = await open_store(), Mysql(mariadb_server, mysql_place, ask_mariadb, clock)
    archive = place.archive()
    try:
        async with mirrored(store, archive, clock) as pump:
            await begin(store)
            await store.append([asked("big", "c0"), started("big", "c0")])
            await store.append([replied("big", "c0", text="x" * 2_000_000), completed("big", "c0")])
            await talk(store, 100, first=1)
            await until(lambda: pump.state()["parked"] == 1, seconds=60)
            (parked,) = (await pump.status())["parked"]
            assert (parked["session_id"], parked["tries"]) == ("c0", 10)
            assert len(await archive.messages("c0", limit=99, offset=0)) == 2
            for row in await store.conversations(ids=[f"c{number}" for number in range(1, CONVERSATIONS)]):
                assert (await compare(store, archive, row, RULES))[1] == []
            await ask_mariadb("SET GLOBAL max_allowed_packet = 16777216")
            await archive.close()
            await pump.rebuild()
            await caught_up(pump, until)
            await equal(store, archive)
    finally:
        await ask_mariadb("SET GLOBAL max_allowed_packet = 16777216")


@pytest.mark.promise("P26")
@pytest.mark.parametrize("fault", ["killed", "frozen", "emptied"])
async def test_mongodb_s_wire_catches_up_as_well(mongodb_server, clock, open_store, until, fault):
    mongodb_server.usable()
    store = await open_store()
    archive = MongodbArchive(
        mongodb_server.url, database="faults", namespace=fault, user="local", clock=clock, seconds=3.0
    )
    async with mirrored(store, archive, clock) as pump:
        await begin(store)
        await caught_up(pump, until)
        match fault:
            case "killed":
                mongodb_server.kill()
            case "frozen":
                mongodb_server.stop()
            case _:
                mongodb_server.restart_empty()
        await talk(store, 300, first=1)
        await erase(store, "c7")
        if fault != "emptied":
            await until(lambda: pump.state()["state"] == "unreachable", seconds=20)
        mongodb_server.usable()
        await pump.rebuild()
        await caught_up(pump, until)
        assert await equal(store, archive) == 300 + 2 * CONVERSATIONS - 2 - 300 // CONVERSATIONS
