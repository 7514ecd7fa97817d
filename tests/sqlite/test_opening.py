"""How a file is opened: PRAGMAs, lock, migrations, epochs."""

import os
import subprocess
import sys
from datetime import timedelta

import apsw
import pytest

from tom.errors import OperatorError, StorageUnavailable, StoreInUse, StoreTooNew
from tom.sqlite.connection import check_version, set_up_writer
from tom.sqlite.migrations import load_migrations
from tom.sqlite.opening import machine_boot_id

pytestmark = pytest.mark.anyio

WRITER = {
    "journal_mode": "wal",
    "mmap_size": 0,
    "foreign_keys": 1,
    "secure_delete": 1,
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "journal_size_limit": 67_108_864,
    "temp_store": 2,
    "cache_size": -8192,
}


async def test_every_pragma_holds_for_the_writer_and_for_readers(open_database):
    database = await open_database()
    found = await database.write(lambda connection: {name: connection.pragma(name) for name in WRITER})
    assert found == WRITER
    assert await database.write(lambda connection: connection.pragma("synchronous")) == 2
    assert await database.write(lambda connection: connection.pragma("synchronous"), full=False) == 1
    reading = {name: value for name, value in WRITER.items() if name not in {"secure_delete", "journal_size_limit"}}
    reading |= {"cache_size": -2048, "query_only": 1}
    assert await database.read(lambda connection: {name: connection.pragma(name) for name in reading}) == reading


async def test_the_schema_cannot_be_edited_by_hand(open_database):
    database = await open_database()
    for work in (database.read, database.write):
        with pytest.raises((apsw.SQLError, StorageUnavailable)):
            await work(
                lambda connection: connection.execute("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema").fetchall()
            )


async def test_a_reader_cannot_write(open_database, note):
    database = await open_database()
    with pytest.raises(StorageUnavailable):
        await database.read(note("smuggled"))


def test_a_pragma_that_does_not_hold_is_named():
    class Stubborn:
        def pragma(self, name, value=None):
            return value if value is not None else "delete" if name == "journal_mode" else {"busy_timeout": 5000}[name]

    with pytest.raises(StorageUnavailable, match="PRAGMA journal_mode is delete, not wal"):
        set_up_writer(Stubborn())


def test_macos_is_asked_for_a_real_fsync(tmp_path):
    connection = apsw.Connection(str(tmp_path / "x.db"))
    set_up_writer(connection, platform="darwin")
    assert connection.pragma("fullfsync") == connection.pragma("checkpoint_fullfsync") == 1
    connection.close()


def test_an_sqlite_that_may_corrupt_files_is_refused_by_name():
    check_version()
    check_version("3.51.3")
    with pytest.raises(OperatorError, match=r"SQLite 3\.51\.2 is too old.*3\.51\.3"):
        check_version("3.51.2")


async def test_the_file_is_its_owner_s_alone(open_database, path, note):
    path.touch(0o644)
    database = await open_database()
    await database.write(note("x"))
    for suffix in ("", "-wal", "-shm", ".lock"):
        assert path.with_name(path.name + suffix).stat().st_mode & 0o777 == 0o600


async def test_a_directory_that_is_missing_is_named_as_the_reason(open_database, path, tmp_path):
    with pytest.raises(StorageUnavailable, match=r"notes\.db cannot be opened: No such file"):
        await type(await open_database()).open(tmp_path / "nowhere" / "notes.db", migrations=tmp_path / "migrations")


# --- the lock ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P1")
async def test_a_second_process_is_refused_and_told_who_has_the_file(open_database, path, migrations):
    await open_database()
    program = (
        "import asyncio, sys, pathlib\n"
        "from tom.sqlite import Database\n"
        "asyncio.run(Database.open(pathlib.Path(sys.argv[1]), migrations=pathlib.Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", program, str(path), str(migrations)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"notes.db is in use by process {os.getpid()}" in result.stderr


async def test_the_lock_is_free_after_closing_and_after_a_failed_opening(open_database, path, migrations):
    await (await open_database()).close()
    (migrations / "0002_wrong.sql").write_text("CREATE NONSENSE;")
    with pytest.raises(apsw.SQLError):
        await open_database()
    (migrations / "0002_wrong.sql").unlink()
    with pytest.raises(StoreInUse):
        await type(await open_database()).open(path, migrations=migrations)


async def test_a_holder_that_has_not_yet_written_its_number_is_another_process(open_database, path):
    await open_database()
    os.truncate(f"{path}.lock", 0)
    with pytest.raises(StoreInUse, match="in use by another process"):
        await open_database()


# --- migrations ----------------------------------------------------------------------------------------------------


async def test_migrations_run_once_and_are_recorded(open_database, path, migrations, look, clock):
    await (await open_database()).close()
    (migrations / "0002_more.sql").write_text("ALTER TABLE notes ADD COLUMN more TEXT; CREATE TABLE other (x) ;")
    await (await open_database()).close()
    await (await open_database()).close()
    recorded = look(path, "SELECT version, name FROM schema_version ORDER BY version")
    assert recorded == [(1, "0001_notes"), (2, "0002_more")]


@pytest.mark.parametrize("names", [[], ["0002_second.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_migrations_are_numbered_without_gaps(tmp_path, names):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "README.md").write_text("not a script")
    for name in names:
        (folder / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="numbered from 0001"):
        load_migrations(folder)


async def test_a_migration_that_fails_leaves_the_file_as_it_was_and_a_copy(open_database, path, migrations, note, look):
    database = await open_database()
    await database.write(note("before"))
    await database.close()
    (migrations / "0002_wrong.sql").write_text("CREATE TABLE other (x); DROP TABLE notes; CREATE NONSENSE;")
    with pytest.raises(apsw.SQLError):
        await open_database()
    assert look(path, "SELECT text FROM notes") == [("before",)]
    assert look(path, "SELECT max(version) FROM schema_version") == [(1,)]
    assert look(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'other'") == [(0,)]
    copy = path.with_name("notes.db.bak")
    assert look(copy, "SELECT text FROM notes") == [("before",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert look(copy, "PRAGMA integrity_check") == [("ok",)]


async def test_a_new_file_needs_no_copy(open_database, path):
    await open_database()
    assert not path.with_name("notes.db.bak").exists()


async def test_the_copy_goes_after_thirty_days(open_database, path, migrations, clock):
    await (await open_database()).close()
    (migrations / "0002_more.sql").write_text("CREATE TABLE other (x);")
    await (await open_database()).close()
    copy = path.with_name("notes.db.bak")
    made = clock.now().timestamp()
    os.utime(copy, (made, made))
    clock.advance(timedelta(days=29).total_seconds())
    await (await open_database()).close()
    assert copy.exists()
    clock.advance(timedelta(days=2).total_seconds())
    await open_database()
    assert not copy.exists()


async def test_a_file_of_a_newer_program_is_refused_and_untouched(open_database, path, migrations):
    (migrations / "0002_more.sql").write_text("CREATE TABLE other (x);")
    await (await open_database()).close()
    (migrations / "0002_more.sql").unlink()
    before, moment = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(StoreTooNew, match=r"notes\.db was written by a newer version.*version is 2.*knows 1"):
        await open_database()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, moment)


async def test_a_database_of_somebody_else_is_refused_and_untouched(open_database, path):
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE chat_events (id TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(OperatorError, match=r"notes\.db was not made by Tom"):
        await open_database()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_untouched(open_database, path):
    path.write_bytes(b"Dear diary, " * 500)
    with pytest.raises(StorageUnavailable, match=r"notes\.db is damaged; restore a backup"):
        await open_database()
    assert path.read_bytes() == b"Dear diary, " * 500


# --- epochs --------------------------------------------------------------------------------------------------------


async def test_each_opening_has_the_next_boot_epoch(open_database):
    for number in (1, 2, 3):
        database = await open_database()
        assert database.boot_epoch == number
        await database.close()


async def crash(open_database, path, boot_id):
    """Open, leave without closing (as a kill does), and bring the files back as the next process would find them."""
    database = await open_database(boot_id=boot_id)
    files = {suffix: path.with_name(path.name + suffix).read_bytes() for suffix in ("", "-wal")}
    inode = path.stat().st_ino
    await database.close()
    for suffix, content in files.items():
        path.with_name(path.name + suffix).write_bytes(content)
    assert path.stat().st_ino == inode
    return database.epoch


@pytest.mark.promise("P2")
async def test_a_clean_close_keeps_the_epoch_also_over_a_restart_of_the_machine(open_database):
    first = await open_database(boot_id="monday")
    await first.close()
    second = await open_database(boot_id="tuesday")
    assert second.epoch == first.epoch


@pytest.mark.promise("P2")
async def test_a_kill_keeps_the_epoch(open_database, path):
    epoch = await crash(open_database, path, "monday")
    assert (await open_database(boot_id="monday")).epoch == epoch


@pytest.mark.promise("P2")
async def test_an_unclean_stop_of_the_machine_changes_the_epoch(open_database, path):
    epoch = await crash(open_database, path, "monday")
    later = await open_database(boot_id="tuesday")
    assert later.epoch != epoch
    await later.close()
    assert (await open_database(boot_id="tuesday")).epoch == later.epoch


async def test_where_a_boot_has_no_name_every_unclean_stop_changes_the_epoch(open_database, path):
    epoch = await crash(open_database, path, "")
    assert (await open_database(boot_id="")).epoch != epoch


async def test_another_file_in_its_place_has_another_epoch(open_database, path):
    first = await open_database()
    await first.close()
    twin = path.with_name("twin.db")
    twin.write_bytes(path.read_bytes())
    twin.replace(path)
    assert (await open_database()).epoch != first.epoch


async def test_a_copy_that_was_put_back_has_another_epoch(open_database, path, migrations):
    first = await open_database()
    await first.close()
    (migrations / "0002_more.sql").write_text("CREATE TABLE other (x);")
    await (await open_database()).close()
    path.write_bytes(path.with_name("notes.db.bak").read_bytes())
    (migrations / "0002_more.sql").unlink()
    restored = await open_database()
    assert restored.epoch != first.epoch
    await restored.close()
    assert (await open_database()).epoch == restored.epoch


def test_the_machine_s_boot_has_a_name_or_none(tmp_path):
    assert machine_boot_id(tmp_path / "missing") == ""
    (tmp_path / "boot_id").write_text("abc\n")
    assert machine_boot_id(tmp_path / "boot_id") == "abc"


async def test_without_a_given_boot_the_machine_s_is_used(open_database, path, look):
    await (await open_database()).close()
    assert look(path, "SELECT boot_id, clean FROM opening") == [(machine_boot_id(), 1)]
