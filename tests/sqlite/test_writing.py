"""Groups, durability classes, faulty writes, readers beside the writer, the end."""

import asyncio
import threading

import apsw
import pytest

from tom.errors import StorageUnavailable
from tom.sqlite import Database, checkpoints

pytestmark = pytest.mark.anyio

SECONDS = 10


class Gate:
    """Work that holds the writer's thread until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, connection):
        self.entered.set()
        assert self.open.wait(SECONDS)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def commits():
    """``commits(connection)``: from now on, the statements that begin and end its transactions, and its synchronous."""
    seen = []

    def watch(connection):
        def trace(_, statement, __):
            if statement.split()[0] in {"BEGIN", "COMMIT", "ROLLBACK"} or "synchronous" in statement:
                seen.append(statement)
            return True

        connection.exec_trace = trace
        return seen

    return watch


async def queued_behind(gate, database, works, *, full=True):
    """Everything in ``works``, asked for in turns of the loop while the writer is busy."""
    busy = asyncio.ensure_future(database.write(gate))
    while not gate.entered.is_set():
        await asyncio.sleep(0)
    asked = []
    for work in works:
        asked.append(asyncio.ensure_future(database.write(work, full=full)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    gate.open.set()
    answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), SECONDS)
    await busy
    return answers


async def test_a_write_returns_what_its_work_returned_and_is_read_at_once(open_database, note, notes):
    database = await open_database()
    assert await database.write(note("one")) == "one"
    assert await database.write(note("two"), full=False) == "two"
    assert await database.read(notes) == ["one", "two"]


async def test_what_gathers_while_the_writer_is_busy_is_one_transaction(open_database, note, gate, commits):
    database = await open_database()
    seen = await database.write(commits)
    seen.clear()
    assert await queued_behind(gate, database, [note(f"n{number}") for number in range(100)]) == [
        f"n{number}" for number in range(100)
    ]
    assert seen == ["BEGIN IMMEDIATE", "COMMIT"] * 2


async def test_a_transaction_has_at_most_256_rows(open_database, note, gate, commits, notes):
    database = await open_database()
    seen = await database.write(commits)
    seen.clear()
    await queued_behind(gate, database, [note(f"n{number}") for number in range(600)])
    assert seen.count("COMMIT") == 1 + 3
    assert len(await database.read(notes)) == 600
    seen.clear()
    await asyncio.gather(*(database.write(note(f"m{number}"), rows=200) for number in range(3)))
    await database.write(note("large"), rows=10_000)
    assert seen.count("COMMIT") == 4


async def test_a_write_alone_waits_for_nobody(open_database, note, commits):
    database = await open_database()
    seen = await database.write(commits)
    seen.clear()
    for number in range(3):
        await asyncio.wait_for(database.write(note(f"n{number}"), full=False), SECONDS)
    assert seen.count("COMMIT") == 3


async def test_one_full_write_makes_its_group_full_and_between_groups_it_changes(open_database, note, commits, disk):
    database = await open_database(vfs=disk.name)
    seen = await database.write(commits)
    seen.clear()
    syncs = disk.syncs
    await asyncio.gather(*(database.write(note(f"n{number}"), full=False) for number in range(5)))
    assert seen == ['pragma "synchronous"(1)', "BEGIN IMMEDIATE", "COMMIT"]
    assert disk.syncs == syncs
    seen.clear()
    await asyncio.gather(*(database.write(note(f"f{number}"), full=number == 3) for number in range(5)))
    assert seen == ['pragma "synchronous"(2)', "BEGIN IMMEDIATE", "COMMIT"]
    assert disk.syncs == syncs + 1


@pytest.mark.promise("P1")
async def test_no_acknowledgement_comes_before_its_sync(open_database, note, disk):
    database = await open_database(vfs=disk.name)
    order = []
    disk.rule = lambda operation, suffix: order.append(operation + suffix) if operation == "sync" else None
    for number in range(3):
        await database.write(note(f"n{number}"))
        order.append("acknowledged")
    assert order == ["sync-wal", "acknowledged"] * 3


async def test_only_the_faulty_one_of_a_group_fails(open_database, note, notes, gate):
    database = await open_database()
    rolled_back = []
    database.after_rollback(lambda: rolled_back.append(threading.current_thread().name))

    def faulty(connection):
        connection.execute("INSERT INTO notes VALUES ('half')")
        raise LookupError("mine")

    answers = await queued_behind(gate, database, [note("a"), note("b"), faulty, note("a"), note("c")])
    assert answers[:2] + answers[4:] == ["a", "b", "c"]
    assert isinstance(answers[2], LookupError)
    assert isinstance(answers[3], apsw.ConstraintError)
    assert await database.read(notes) == ["a", "b", "c"]
    assert rolled_back == ["writer notes.db"] * 3


async def test_a_faulty_write_alone_fails_alone(open_database, note, notes):
    database = await open_database()
    await database.write(note("a"))
    with pytest.raises(apsw.ConstraintError):
        await database.write(note("a"))
    await database.write(note("b"))
    assert await database.read(notes) == ["a", "b"]


async def test_whoever_stops_waiting_harms_nobody(open_database, note, notes, gate):
    database = await open_database()
    busy = asyncio.ensure_future(database.write(gate))
    given_up = asyncio.ensure_future(database.write(note("a")))
    other = asyncio.ensure_future(database.write(note("b")))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.open.set()
    assert await asyncio.wait_for(other, SECONDS) == "b"
    await busy
    assert given_up.cancelled()
    assert await database.read(notes) == ["a", "b"]


async def test_reading_goes_on_while_a_write_takes_long(open_database, note, notes, gate):
    database = await open_database()
    await database.write(note("before"))

    def long(connection):
        note("during")(connection)
        gate(connection)

    writing = asyncio.ensure_future(database.write(long))
    while not gate.entered.is_set():
        await asyncio.sleep(0)
    for _ in range(20):
        assert await asyncio.wait_for(database.read(notes), SECONDS) == ["before"]
    assert not writing.done()
    gate.open.set()
    await writing
    assert await database.read(notes) == ["before", "during"]


async def test_a_long_read_does_not_hold_up_writes_and_sees_one_moment(open_database, note, notes):
    database = await open_database()
    await database.write(note("a"))
    entered, leave = threading.Event(), threading.Event()

    def long(connection):
        with connection:
            first = notes(connection)
            entered.set()
            assert leave.wait(SECONDS)
            return first, notes(connection)

    reading = asyncio.ensure_future(database.read(long))
    while not entered.is_set():
        await asyncio.sleep(0)
    await asyncio.wait_for(database.write(note("b")), SECONDS)
    leave.set()
    assert await reading == (["a"], ["a"])


async def test_a_reader_s_mistake_is_raised_to_it_and_the_connection_goes_on(open_database, notes):
    database = await open_database()
    for _ in range(5):
        with pytest.raises(apsw.SQLError):
            await database.read(lambda connection: connection.execute("SELECT nonsense FROM nowhere"))
        with pytest.raises(LookupError):
            await database.read(lambda _: {}["missing"])
    assert await database.read(notes) == []


def progress(connection):
    """Pages in the log, and how many of them are in the file as well."""
    return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)


async def test_the_log_is_moved_into_the_file_while_nobody_writes(open_database, path, note, until):
    database = await open_database()
    for number in range(10):
        await database.write(note(f"{number}" + "x" * 400_000), full=False)

    async def mostly_moved():
        pages, moved = await database.read(progress)
        return pages - moved < checkpoints.CHECKPOINT_PAGES

    await until(mostly_moved)
    assert path.stat().st_size > 3_000_000


async def test_nobody_waits_for_a_checkpoint(open_database, note, disk):
    database = await open_database(vfs=disk.name)
    entered, leave = threading.Event(), threading.Event()

    def slow(operation, suffix):
        if (operation, suffix) == ("sync", ""):
            entered.set()
            assert leave.wait(SECONDS)

    disk.rule = slow
    await database.write(note("x" * 5_000_000))
    while not entered.is_set():
        await asyncio.sleep(0)
    for number in range(50):
        assert await asyncio.wait_for(database.write(note(f"n{number}")), SECONDS)
    leave.set()


async def test_the_log_has_a_longest_length_also_while_everybody_writes(open_database, note, path, monkeypatch):
    monkeypatch.setattr(checkpoints, "LONGEST_LOG", 3000)
    database = await open_database()
    await database.write(note("larger than that at once" + "x" * 7_000_000))

    async def much(writer):
        for number in range(10):
            await database.write(note(f"{writer} {number}" + "x" * 400_000), full=False)

    await asyncio.gather(*(much(writer) for writer in range(8)))
    assert path.stat().st_size > 30_000_000
    assert path.with_name("notes.db-wal").stat().st_size < 2 * 3000 * 4096


async def test_truncating_empties_the_log(open_database, note, path):
    database = await open_database()
    await database.write(note("x" * 10_000))
    assert path.with_name("notes.db-wal").stat().st_size > 10_000
    await database.truncate()
    assert path.with_name("notes.db-wal").stat().st_size == 0


async def test_truncating_waits_for_the_checkpoint_that_is_under_way(open_database, note, path):
    database = await open_database()
    for number in range(12):
        await database.write(note(f"{number}" + "x" * 5_000_000))  # begins a checkpoint beside the writer
        await database.truncate()
        assert path.with_name("notes.db-wal").stat().st_size == 0


async def test_closing_finishes_what_was_asked_for_and_leaves_one_file(open_database, note, path, look, gate):
    database = await open_database()
    busy = asyncio.ensure_future(database.write(gate))
    asked = [asyncio.ensure_future(database.write(note(f"n{number}"))) for number in range(300)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(database.close())
    await asyncio.sleep(0)
    with pytest.raises(StorageUnavailable):
        await database.write(note("late"))
    with pytest.raises(StorageUnavailable):
        await database.read(lambda _: None)
    with pytest.raises(StorageUnavailable):
        await database.truncate()
    gate.open.set()
    await asyncio.wait_for(asyncio.gather(closing, database.close(), busy, *asked), SECONDS)
    assert not [name for name in ("notes.db-wal", "notes.db-shm") if path.with_name(name).exists()]
    assert look(path, "SELECT count(*) FROM notes") == [(300,)]
    assert look(path, "SELECT clean FROM opening") == [(1,)]
    assert path.with_name("notes.db.lock").read_bytes() == b""


async def test_closing_ends_also_where_nobody_waits_for_it(open_database, path, look):
    database = await open_database()
    closing = asyncio.ensure_future(database.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await asyncio.wait_for(database.close(), SECONDS)
    assert look(path, "SELECT clean FROM opening") == [(1,)]


async def test_a_file_can_be_erased_with_everything_beside_it(open_database, note, path):
    path.with_name("notes.db.bak").write_bytes(b"old")
    database = await open_database()
    await database.write(note("secret"))
    await database.close(erase=True)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["notes.db.lock"]


def test_a_write_is_made_also_when_the_loop_that_asked_is_gone(path, migrations, note, until, look):
    gate = Gate()

    def slow(connection):
        gate(connection)
        note("last")(connection)

    async def leave():
        database = await Database.open(path, migrations=migrations)
        waiting = asyncio.ensure_future(database.write(slow))
        while not gate.entered.is_set():
            await asyncio.sleep(0)
        waiting.cancel()
        return database

    loop = asyncio.new_event_loop()
    database = loop.run_until_complete(leave())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    gate.open.set()
    asyncio.run(until(lambda: look(path, "SELECT text FROM notes") == [("last",)]))
    del database
