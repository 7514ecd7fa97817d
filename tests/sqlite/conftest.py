"""A database with one small table, in a file of the test's own."""

import tempfile
from pathlib import Path

import apsw
import pytest

from tom.sqlite import Database
from tom.testing.faulty_disk import FaultyDisk
from tom.testing.manual_clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def path(tmp_path):
    """In memory where this machine can: what is tested is what is asked of the disk, not how long the disk takes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder) / "notes.db"


@pytest.fixture
def migrations(tmp_path):
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_notes.sql").write_text("CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT;")
    return folder


@pytest.fixture
def disk():
    return FaultyDisk()


@pytest.fixture
async def open_database(path, migrations, clock):
    """``await open_database(**options)``: opened on ``path``, closed when the test ends."""
    databases = []

    async def open_it(**options):
        databases.append(await Database.open(path, **{"migrations": migrations, "clock": clock, **options}))
        return databases[-1]

    yield open_it
    for database in databases:
        await database.close()


@pytest.fixture
def note():
    """``note(text)``: work that writes a row."""

    def work(text):
        return lambda connection: connection.execute("INSERT INTO notes VALUES (?)", (text,)) and text

    return work


@pytest.fixture
def notes():
    """Work that reads all rows."""
    return lambda connection: [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY rowid")]


@pytest.fixture
def look():
    """``look(path, query)``: what another program sees in a file that nobody has open."""

    def run(path, query):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    return run
