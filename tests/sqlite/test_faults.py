"""What a failing disk costs: one clear answer, never an acknowledgement that is not true."""

import asyncio
import os
import subprocess
import sys
import threading

import apsw
import pytest

from tom.errors import StorageFull, StorageUnavailable
from tom.sqlite import Database, recovery
from tom.testing import faulty_disk

pytestmark = pytest.mark.anyio

SECONDS = 20


async def advancing(clock, answer):
    """Wait for ``answer`` while the clock runs; returns it and how long it took by that clock."""
    waiting = asyncio.ensure_future(answer)
    begun = clock.monotonic()
    async with asyncio.timeout(SECONDS):
        while not waiting.done():
            if clock.sleeping:
                clock.advance(clock.next_due)
            await asyncio.sleep(0.001)
    return waiting, clock.monotonic() - begun


# --- F4: fsync ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P9")
async def test_a_failed_fsync_ends_the_process_and_acknowledges_nothing(open_database, note, notes, disk):
    ended = threading.Event()
    database = await open_database(vfs=disk.name, on_fatal=ended.set)
    await database.write(note("before"))
    disk.rule = lambda operation, _: faulty_disk.FAILED_SYNC if operation == "sync" else None
    answers = await asyncio.gather(*(database.write(note(f"n{n}")) for n in range(9)), return_exceptions=True)
    assert ended.is_set()
    assert all(isinstance(answer, StorageUnavailable) for answer in answers)
    disk.rule = None
    with pytest.raises(StorageUnavailable):
        await database.write(note("as if good"))
    assert "before" in await database.read(notes)


@pytest.mark.promise("P9")
async def test_a_failed_fsync_of_a_checkpoint_is_seen(open_database, note, disk, until):
    ended = threading.Event()
    database = await open_database(vfs=disk.name, on_fatal=ended.set)
    disk.rule = lambda operation, suffix: faulty_disk.FAILED_SYNC if (operation, suffix) == ("sync", "") else None
    assert await database.write(note("x" * 5_000_000))
    await until(ended.is_set)
    with pytest.raises(StorageUnavailable):
        await database.write(note("after"))


async def test_a_checkpoint_that_fails_is_made_later(open_database, note, disk, until, path):
    database = await open_database(vfs=disk.name)
    seen = set()

    def rule(operation, suffix):
        seen.add((operation, suffix, fault[0]))
        return fault[1] if (operation, suffix) == (fault[0], "") else None

    disk.rule = rule
    for number, (operation, code) in enumerate(
        [("write", faulty_disk.FAILED_WRITE), ("open", faulty_disk.CANNOT_OPEN)]
    ):
        fault = (operation, code)
        await database.write(note(f"{number}" + "x" * 5_000_000))
        await until(lambda operation=operation: (operation, "", operation) in seen)
    disk.rule = None
    size = path.stat().st_size
    for number in range(20):
        await database.write(note(f"last {number}" + "x" * 5_000_000))
    await until(lambda: path.stat().st_size > size)


async def test_after_a_failed_fsync_a_file_is_not_called_clean(open_database, note, disk, path, look):
    database = await open_database(vfs=disk.name, on_fatal=lambda: None)
    disk.rule = lambda operation, _: faulty_disk.FAILED_SYNC if operation == "sync" else None
    with pytest.raises(StorageUnavailable):
        await database.write(note("x"))
    disk.rule = None
    await database.close()
    assert look(path, "SELECT clean FROM opening") == [(0,)]


def test_ending_the_process_writes_the_log_first(monkeypatch):
    done = []
    monkeypatch.setattr(os, "_exit", done.append)
    monkeypatch.setattr(recovery.logs, "flush", lambda: done.append("log"))
    recovery.end_process()
    assert done == ["log", 74]


def test_the_process_ends_with_status_74(path, migrations):
    program = (
        "import asyncio, sys, pathlib\n"
        "from tom.sqlite import Database\n"
        "from tom.testing import faulty_disk\n"
        "async def main():\n"
        "    disk = faulty_disk.FaultyDisk()\n"
        "    database = await Database.open(\n"
        "        pathlib.Path(sys.argv[1]), migrations=pathlib.Path(sys.argv[2]), vfs=disk.name)\n"
        "    disk.rule = lambda operation, _: faulty_disk.FAILED_SYNC if operation == 'sync' else None\n"
        "    await database.write(lambda connection: connection.execute('INSERT INTO notes VALUES (1)'))\n"
        "    print('acknowledged')\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", program, str(path), str(migrations)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (74, "")
    assert "fsync" in result.stderr


# --- F5: other errors -----------------------------------------------------------------------------------------------


def failing(times, code=faulty_disk.FAILED_WRITE, operation="write"):
    """A rule by which the next ``times`` operations fail."""
    left = [times]

    def rule(done, _):
        if done != operation or not left[0]:
            return None
        left[0] -= 1
        return code

    return rule


@pytest.mark.promise("P9")
@pytest.mark.parametrize(("failures", "waited"), [(1, 0.0), (2, 1.0)])
async def test_a_passing_error_is_got_over(open_database, note, notes, disk, clock, failures, waited):
    database = await open_database(vfs=disk.name)
    await database.write(note("before"))
    disk.rule = failing(failures)
    asked = asyncio.gather(*(database.write(note(f"n{number}")) for number in range(5)))
    done, seconds = await advancing(clock, asked)
    assert await done == [f"n{number}" for number in range(5)]
    assert seconds == waited
    assert await database.read(notes) == ["before", *(f"n{number}" for number in range(5))]


@pytest.mark.promise("P9")
async def test_a_lasting_error_is_answered_soon_and_heals_by_itself(open_database, note, notes, disk, clock, path):
    database = await open_database(vfs=disk.name)
    await database.write(note("before"))
    disk.rule = lambda operation, suffix: faulty_disk.FAILED_WRITE if (operation, suffix) == ("write", "-wal") else None
    done, seconds = await advancing(clock, database.write(note("a")))
    with pytest.raises(StorageUnavailable):
        await done
    assert seconds == 1.0
    done, seconds = await advancing(clock, database.write(note("b")))
    with pytest.raises(StorageUnavailable):
        await done
    assert seconds == 0.0
    assert await database.read(notes) == ["before"]
    disk.rule = None
    assert await database.write(note("c")) == "c"
    assert await database.read(notes) == ["before", "c"]
    disk.rule = failing(2)
    done, seconds = await advancing(clock, database.write(note("d")))
    assert (await done, seconds) == ("d", 1.0)


async def test_a_file_that_cannot_be_opened_again_is_tried_three_times(open_database, note, disk, clock):
    database = await open_database(vfs=disk.name)
    opened = []

    def rule(operation, suffix):
        if operation == "open" and not suffix:
            opened.append(clock.monotonic())
            return faulty_disk.CANNOT_OPEN
        return faulty_disk.FAILED_WRITE if operation == "write" else None

    disk.rule = rule
    done, _ = await advancing(clock, database.write(note("a")))
    with pytest.raises(StorageUnavailable):
        await done
    assert opened == [0.0, 1.0, 3.0]
    disk.rule = None
    assert await database.write(note("b")) == "b"


async def test_work_is_repeated_twice_at_most(open_database, clock):
    database = await open_database()
    done_at = []

    def hopeless(_):
        done_at.append(clock.monotonic())
        raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)

    done, seconds = await advancing(clock, database.write(hopeless))
    with pytest.raises(StorageUnavailable):
        await done
    assert (done_at, seconds) == ([0.0, 0.0, 1.0], 1.0)


async def test_when_writing_works_again_only_the_faulty_write_fails(open_database, note, notes, clock):
    """The group is tried again after the error, and then one of it turns out to be faulty by itself."""
    database = await open_database()
    await database.write(note("taken"))
    errors = [apsw.exception_for(apsw.SQLITE_IOERR_WRITE)]

    def unlucky(connection):
        if errors:
            raise errors.pop()
        return note("late")(connection)

    works = [note("a"), unlucky, note("taken"), note("b")]
    done, _ = await advancing(clock, asyncio.gather(*map(database.write, works), return_exceptions=True))
    answers = await done
    assert isinstance(answers.pop(2), apsw.ConstraintError)
    assert answers == ["a", "late", "b"]
    assert await database.read(notes) == ["taken", "a", "late", "b"]


async def test_a_sync_that_fails_while_recovering_ends_the_process(open_database, note, disk, clock):
    ended = threading.Event()
    database = await open_database(vfs=disk.name, on_fatal=ended.set)
    errors = [faulty_disk.FAILED_WRITE]
    disk.rule = lambda operation, _: (
        errors.pop() if operation == "write" and errors else faulty_disk.FAILED_SYNC if operation == "sync" else None
    )
    done, _ = await advancing(clock, database.write(note("a")))
    with pytest.raises(StorageUnavailable):
        await done
    assert ended.is_set()


@pytest.mark.promise("P1")
@pytest.mark.parametrize("code", [faulty_disk.FAILED_WRITE, faulty_disk.FAILED_READ, faulty_disk.FULL])
async def test_an_error_at_any_operation_loses_nothing_acknowledged(
    open_database, note, notes, disk, clock, path, code
):
    for number in range(1, 41):
        database = await open_database(vfs=disk.name)
        count = [0]

        def rule(operation, _, count=count, number=number):
            count[0] += operation in {"read", "write"}
            return code if count[0] == number and operation in {"read", "write"} else None

        disk.rule = rule
        acknowledged = []
        for text in (f"{number}-a", f"{number}-b", f"{number}-c" + "x" * 20_000):
            done, seconds = await advancing(clock, database.write(note(text)))
            assert seconds <= 5
            if not done.exception():
                acknowledged.append(text)
        disk.rule = None
        stored = await database.read(notes)
        assert set(acknowledged) <= set(stored)
        await database.close()
        again = await open_database()
        assert await again.read(notes) == stored
        assert await again.read(lambda connection: connection.pragma("integrity_check")) == "ok"
        await again.close()


async def test_a_file_locked_by_another_program_is_not_waited_for_for_ever(open_database, note, path, monkeypatch):
    monkeypatch.setattr("tom.sqlite.connection.BUSY_MILLISECONDS", 1)
    database = await open_database()
    await database.write(lambda connection: connection.set_busy_timeout(10))
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(*(database.write(note(f"n{n}")) for n in range(3)), return_exceptions=True)
    assert all(isinstance(answer, StorageUnavailable) for answer in answers)
    other.execute("ROLLBACK")
    assert await database.write(note("free")) == "free"
    other.close()


async def test_a_reader_in_the_way_of_truncating_is_told(open_database, note, path):
    database = await open_database()
    await database.write(note("a"))
    await database.write(lambda connection: connection.set_busy_timeout(10))
    other = apsw.Connection(str(path))
    reading = other.execute("SELECT 1 FROM notes")
    next(reading)
    await database.write(note("b"))
    with pytest.raises(StorageUnavailable):
        await database.truncate()
    other.close(force=True)
    await database.truncate()


async def test_reading_that_fails_is_an_answer_and_heals(open_database, note, notes, disk):
    database = await open_database(vfs=disk.name)
    await database.write(note("x" * 100_000))
    await database.truncate()
    disk.rule = lambda operation, _: faulty_disk.FAILED_READ if operation == "read" else None
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await database.read(notes)
    disk.rule = None
    assert await database.read(notes) == ["x" * 100_000]


async def test_a_damaged_page_is_named_as_damage(open_database, note, notes, path):
    database = await open_database()
    await database.write(note("x" * 100_000))
    await database.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StorageUnavailable, match="damaged"):
        await (await open_database()).read(notes)


async def test_a_disk_that_fails_at_opening_leaves_no_lock(open_database, disk):
    disk.rule = lambda operation, _: faulty_disk.CANNOT_OPEN if operation == "open" else None
    with pytest.raises(StorageUnavailable):
        await open_database(vfs=disk.name)
    disk.rule = None
    await open_database()


async def test_a_close_that_fails_leaves_the_log_and_frees_the_lock(open_database, note, notes, disk, path):
    database = await open_database(vfs=disk.name)
    await database.write(note("a"))
    disk.rule = lambda operation, _: faulty_disk.FAILED_WRITE if operation == "write" else None
    await database.close()
    disk.rule = None
    assert path.with_name("notes.db-wal").stat().st_size > 0
    assert await (await open_database()).read(notes) == ["a"]


# --- F3: a full disk -------------------------------------------------------------------------------------------------


@pytest.mark.promise("P9")
async def test_a_full_disk_refuses_writes_goes_on_reading_and_heals(open_database, note, notes):
    database = await open_database()
    await database.write(note("before"))
    await database.write(lambda connection: connection.pragma("max_page_count", 20))
    with pytest.raises(StorageFull):
        await database.write(note("x" * 200_000))
    answers = await asyncio.gather(
        database.write(note("small")), database.write(note("y" * 200_000)), return_exceptions=True
    )
    assert answers[0] == "small"
    assert isinstance(answers[1], StorageFull)
    assert await database.read(notes) == ["before", "small"]
    await database.write(lambda connection: connection.pragma("max_page_count", 1_000_000))
    await database.write(note("x" * 200_000))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one mebibyte, where this machine lets us mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=False, capture_output=True
        ).returncode
    )
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.promise("P9")
async def test_a_real_file_system_that_is_full_refuses_goes_on_reading_and_heals(
    small_disk, tmp_path, migrations, clock, note, notes
):
    if small_disk is None:
        return
    database = await Database.open(small_disk / "notes.db", migrations=migrations, clock=clock)
    filler = small_disk / "filler"
    acknowledged = []
    filler.write_bytes(b"x" * 600_000)
    refused = None
    for number in range(200):
        try:
            acknowledged.append(await database.write(note(f"{number}" + "x" * 10_000)))
        except StorageFull as full:
            refused = full
            break
    assert isinstance(refused, StorageFull)
    assert await database.read(notes) == acknowledged
    filler.unlink()
    assert await database.write(note("healed")) == "healed"
    await database.close()
