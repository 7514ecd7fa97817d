"""The record: what is appended stays as it was, and whoever changes it is found."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import apsw
import pytest

from tom.audit.checking import check
from tom.audit.head import HEAD, KEY
from tom.sqlite.connection import connect_reader
from tom.testing.manual_clock import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P21")]

MANY = 10_000


async def fill(chain, count):
    await asyncio.gather(
        *(
            chain.append("bypass.added", who=f"admin{number % 3}", source="127.0.0.1", subject=f"10.0.0.{number}")
            for number in range(count)
        )
    )


def verdict_of(directory):
    connection = connect_reader(directory / "gateway.db")
    try:
        return check(connection, directory)
    finally:
        connection.close()


@pytest.fixture(scope="module")
async def long_record(tmp_path_factory):
    """Ten thousand entries, made once; each case works on a copy."""
    from importlib import resources

    from tom.audit.chain import Chain
    from tom.sqlite import Database

    directory = tmp_path_factory.mktemp("record")
    clock = ManualClock()
    migrations = resources.files("tom.accounts").joinpath("migrations")
    database = await Database.open(directory / "gateway.db", migrations=migrations, clock=clock)
    chain = await Chain.open(database, clock, directory)
    await fill(chain, MANY)
    await chain.close()
    await database.close()
    return directory


@pytest.fixture
def copied(long_record, tmp_path):
    target = tmp_path / "copy"
    shutil.copytree(long_record, target)
    return target


def rechain(connection, first):
    """Compute every hash anew from a row on, as somebody does who knows how but has no key."""
    from tom.audit.rows import Row, hash_of

    previous = connection.execute("SELECT hash FROM audit WHERE number = ?", (first - 1,)).get or "0" * 64
    for found in list(
        connection.execute(
            "SELECT number, at, kind, who, source, subject, before, after, hash, mac FROM audit WHERE number >= ? ORDER BY number",
            (first,),
        )
    ):
        row = Row(*found)
        previous = hash_of(row, previous)
        connection.execute("UPDATE audit SET hash = ? WHERE number = ?", (previous, row.number))


EDITS = {
    "who of the first row": ("UPDATE audit SET who = 'eve' WHERE number = 1", 1),
    "who of a row": ("UPDATE audit SET who = 'eve' WHERE number = 5000", 5000),
    "who of the last row": ("UPDATE audit SET who = 'eve' WHERE number = 10000", 10000),
    "time": ("UPDATE audit SET at = '2026-01-01T00:00:00.001Z' WHERE number = 77", 77),
    "kind": ("UPDATE audit SET kind = 'bypass.removed' WHERE number = 77", 77),
    "source": ("UPDATE audit SET source = '' WHERE number = 77", 77),
    "subject": ("UPDATE audit SET subject = '10.0.0.1' WHERE number = 77", 77),
    "what was before": ("UPDATE audit SET before = '1' WHERE number = 77", 77),
    "what is now": ("UPDATE audit SET after = 'null' WHERE number = 77", 77),
    "hash": ("UPDATE audit SET hash = substr(hash, 2) || '0' WHERE number = 77", 77),
    "mac": ("UPDATE audit SET mac = substr(mac, 2) || '0' WHERE number = 77", 77),
    "the first row deleted": ("DELETE FROM audit WHERE number = 1", 1),
    "a row deleted": ("DELETE FROM audit WHERE number = 4321", 4321),
    "the last row cut": ("DELETE FROM audit WHERE number = 10000", 10000),
    "half of it cut": ("DELETE FROM audit WHERE number > 5000", 5001),
    "all of it cut": ("DELETE FROM audit", 1),
    "two rows swapped": (
        (
            "UPDATE audit SET number = -1 WHERE number = 10; UPDATE audit SET number = 10 WHERE number = 11;"
            " UPDATE audit SET number = 11 WHERE number = -1"
        ),
        10,
    ),
    "a gap closed": (
        "DELETE FROM audit WHERE number = 9990; UPDATE audit SET number = number - 1 WHERE number > 9990",
        9990,
    ),
    "a row put in twice": (
        (
            "INSERT INTO audit SELECT 10001, at, kind, who, source, subject, before, after, hash, mac FROM audit"
            " WHERE number = 10000"
        ),
        10001,
    ),
    "a segment made up": ("INSERT INTO audit_segments VALUES (1, 100, '00', 'now', 'mac')", 1),
    "rows behind a made up segment": (
        (
            "INSERT INTO audit_segments SELECT 1, 100, hash, 'now', mac FROM audit WHERE number = 100;"
            " DELETE FROM audit WHERE number <= 100"
        ),
        1,
    ),
}


async def test_ten_thousand_untouched_entries_hold(copied):
    verdict = verdict_of(copied)
    assert (verdict.ok, verdict.count, verdict.first_bad, verdict.reason) == (True, MANY, None, "")


@pytest.mark.parametrize("edit", EDITS)
async def test_what_was_changed_is_named(edit, copied, tamper):
    statement, first_bad = EDITS[edit]
    tamper(statement, directory=copied)
    verdict = verdict_of(copied)
    assert not verdict.ok
    assert verdict.first_bad == first_bad
    assert verdict.count == first_bad - 1
    assert str(first_bad) in verdict.reason or "segment" in verdict.reason


async def test_a_chain_computed_anew_without_the_key_does_not_hold(copied, tamper):
    tamper("UPDATE audit SET who = 'eve' WHERE number = 9000", directory=copied)
    connection = apsw.Connection(str(copied / "gateway.db"))
    rechain(connection, 9000)
    connection.close()
    verdict = verdict_of(copied)
    assert verdict.first_bad == 9000
    assert "audit key" in verdict.reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (HEAD, None, "audit.head is missing"),
        (HEAD, "9000 " + "0" * 64 + " " + "0" * 64, "audit.head was not written with this audit key"),
        (HEAD, "rubbish", "cannot be read"),
        (KEY, None, "audit.key is missing"),
        (KEY, "00" * 32, "audit.head was not written with this audit key"),
    ],
)
async def test_what_lies_beside_it_cannot_be_changed_either(name, content, said, copied):
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_text(content)
    verdict = verdict_of(copied)
    assert not verdict.ok
    assert said in verdict.reason


async def test_an_older_head_is_no_fault_but_one_of_another_chain_is(copied, open_chain):
    older = (copied / HEAD).read_bytes()
    async with open_chain(copied) as record:
        await record.chain.append("login", who="alice", source="127.0.0.1")
    (copied / HEAD).write_bytes(older)
    assert verdict_of(copied).ok  # killed between the commit and the head
    assert verdict_of(copied).count == MANY + 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'eve'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 2",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE number = 1",
        "UPDATE audit_segments SET last = 9",
    ],
)
async def test_the_database_refuses_changes_by_itself(statement, open_chain, tamper, tmp_path):
    async with open_chain() as record:
        await fill(record.chain, 3)
    connection = apsw.Connection(str(tmp_path / "gateway.db"))
    if "segments" in statement:
        connection.execute("INSERT INTO audit_segments VALUES (0, 0, '', '', '')")
    with pytest.raises(apsw.ConstraintError, match="the record is not"):
        connection.execute(statement)
    connection.close()


async def test_rows_tell_who_did_what_from_where_and_when(open_chain):
    async with open_chain() as record:
        record.clock.advance(1.5)
        number = await record.chain.append(
            "config.changed", who="alice", source="10.0.0.9", subject="rate_rps", before=1.0, after={"b": 1, "a": None}
        )
        (row,) = await record.chain.rows()
    assert number == 1
    told = row.told()
    assert told.pop("hash")
    assert told.pop("mac")
    assert told == {
        "number": 1, "at": "2026-01-01T00:00:01.500Z", "kind": "config.changed", "who": "alice", "source": "10.0.0.9",
        "subject": "rate_rps", "before": 1.0, "after": {"a": None, "b": 1},
    }  # fmt: skip


async def test_odd_and_endless_texts_are_recorded_and_hold(open_chain):
    async with open_chain() as record:
        await record.chain.append("login.failed", who="e\ud800ve\x00\n" + "x" * 5000, source="\u202e127.0.0.1")
        await record.chain.append("config.changed", who="a", source="b", after="y" * 100_000)
        verdict = await record.chain.verify()
        first, second = await record.chain.rows()
    assert verdict.ok
    assert len(first.who) <= 256
    assert set(json.loads(second.after)) == {"sha256", "length"}


async def test_key_and_head_are_their_owners_alone(open_chain, tmp_path):
    async with open_chain() as record:
        await record.chain.append("login", who="alice", source="127.0.0.1")
    for name in (KEY, HEAD):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_it_goes_on_after_a_restart(open_chain):
    for _ in range(3):
        async with open_chain() as record:
            await fill(record.chain, 2)
            assert (await record.chain.verify()).ok
    async with open_chain() as record:
        assert (await record.chain.verify()).count == 6
        assert [row.number for row in await record.chain.rows(after=4)] == [5, 6]
        assert [row.number for row in await record.chain.newest(2)] == [5, 6]


# --- what is old ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def sealed(open_chain, tmp_path):
    """A record of January to March of 2026, the first two months of which are sealed."""
    async with open_chain() as record:
        for _ in range(3):
            await fill(record.chain, 10)
            record.clock.advance(31 * 86_400)
        record.clock.advance(timedelta(days=365 - 14).total_seconds())
        assert await record.chain.seal() == 20
        yield record


async def test_whole_months_leave_in_a_file_and_the_chain_goes_on(sealed):
    assert await sealed.chain.seal() == 0
    await sealed.chain.append("login", who="alice", source="127.0.0.1")
    verdict = await sealed.chain.verify()
    assert (verdict.ok, verdict.count, verdict.sealed) == (True, 31, 20)
    assert [row.number for row in await sealed.chain.rows(limit=2)] == [21, 22]
    files = sorted(path.name for path in (sealed.directory / "audit").iterdir())
    assert files == ["1-20.jsonl.gz"]


async def test_a_sealed_record_that_is_empty_goes_on_where_it_ended(open_chain, tmp_path):
    async with open_chain(clock=ManualClock(datetime(2024, 1, 1, tzinfo=UTC))) as record:
        await fill(record.chain, 3)
    async with open_chain() as record:
        assert await record.chain.seal() == 3
        assert await record.chain.append("login", who="alice", source="127.0.0.1") == 4
        assert (await record.chain.verify()).ok


@pytest.mark.parametrize("fault", ["gone", "cut", "rubbish", "edited"])
async def test_a_sealed_file_cannot_be_changed_either(fault, sealed):
    import gzip

    path = sealed.directory / "audit" / "1-20.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    match fault:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(gzip.compress(b"".join(lines[:-1])))
        case "rubbish":
            path.write_bytes(path.read_bytes()[:-20])
        case "edited":
            lines[6] = lines[6].replace(b"10.0.0.6", b"10.0.0.7")
            path.write_bytes(gzip.compress(b"".join(lines)))
    verdict = await sealed.chain.verify()
    assert not verdict.ok
    assert verdict.first_bad == {"gone": 1, "cut": 20, "edited": 7}.get(fault, verdict.first_bad)


async def test_a_sealed_row_that_is_forged_is_found(sealed, tamper):
    tamper("DELETE FROM audit_segments", directory=sealed.directory)
    verdict = await sealed.chain.verify()
    assert verdict.first_bad == 1


async def test_keeping_the_record_seals_after_as_many_days_as_are_set(open_chain, until):
    async with open_chain(clock=ManualClock(datetime(2026, 1, 10, tzinfo=UTC))) as record:
        await record.chain.append("login", who="alice", source="test")
        record.clock.advance(60 * 86_400)
        keeping = asyncio.ensure_future(record.chain.keep(90))
        await until(lambda: record.clock.sleeping == 1)
        assert len(await record.chain.rows()) == 1
        keeping.cancel()
        keeping = asyncio.ensure_future(record.chain.keep(20))

        async def sealed():
            return not await record.chain.rows()

        await until(sealed)
        keeping.cancel()
        assert (await record.chain.verify()).ok


# --- kill -9 --------------------------------------------------------------------------------------------------------

APPENDER = """
import asyncio, sys
from importlib import resources
from pathlib import Path
from tom.audit.chain import Chain
from tom.clock import SystemClock
from tom.sqlite import Database

async def main(directory, label):
    migrations = resources.files("tom.accounts").joinpath("migrations")
    database = await Database.open(directory / "gateway.db", migrations=migrations)
    chain = await Chain.open(database, SystemClock(), directory)

    async def worker(number):
        count = 0
        while True:
            name = f"{label}-{number}-{count}"
            await chain.append("login", who=name, source="test")
            print(name, flush=True)
            count += 1

    await asyncio.gather(*(worker(number) for number in range(8)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.slow
async def test_kills_lose_nothing_that_was_acknowledged_and_double_nothing(tmp_path):
    acknowledged = []
    for life in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(tmp_path), str(life)], stdout=subprocess.PIPE, text=True
        )
        lines = [process.stdout.readline().strip() for _ in range(40 + 31 * life)]
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        acknowledged += lines + rest.splitlines()[: rest.count("\n")]
        process.stdout.close()
        process.wait(10)
    verdict = verdict_of(tmp_path)
    assert verdict.ok, verdict.reason
    connection = connect_reader(tmp_path / "gateway.db")
    names = [row[0] for row in connection.execute("SELECT who FROM audit")]
    connection.close()
    assert len(names) == len(set(names)) == verdict.count
    assert set(acknowledged) <= set(names)


async def test_a_row_whose_writer_was_cancelled_is_in_the_head_at_the_end(open_chain, tmp_path):
    async with open_chain() as record:
        waiting = asyncio.ensure_future(record.chain.append("login", who="alice", source="127.0.0.1"))
        await asyncio.sleep(0)  # it has asked for its write
        waiting.cancel()
        await asyncio.wait([waiting])
        await record.chain.close()
        (row,) = await record.chain.rows()
    assert (tmp_path / HEAD).read_text().split()[:2] == ["1", row.hash]
