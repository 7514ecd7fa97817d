"""What only the store on disk does: files, groups, inspection from outside, erasing for good."""

import asyncio
import re
import subprocess
from importlib import resources

import apsw
import pytest

from tom.conversation.event import prompt_set
from tom.errors import StoreInUse
from tom.sqlite import Database
from tom.store import appending
from tom.store.eventstore import DuplicateRequest, RunFilter
from tom.store.memory import MemoryEventStore
from tom.store.queries import load_queries
from tom.testing.faulty_disk import FAILED_SYNC, FaultyDisk
from tom.testing.store_events import (
    asked,
    called,
    cancelled,
    changed,
    compacted,
    completed,
    failed,
    granted,
    opened,
    questioned,
    replied,
    resumed,
    retried,
    returned,
    started,
    told,
    unresolved,
    waiting,
    wished,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def query(history):
    def run(statement, *values):
        connection = apsw.Connection(str(history), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    return run


async def test_the_documented_inspection_query_works_while_tom_runs(open_sqlite, history):
    store = await open_sqlite()
    await store.append([opened("a"), asked("r1", "a"), asked("r2", "b")])
    statement = "SELECT conversation_id, COUNT(*) FROM chat_events GROUP BY conversation_id"
    connection = apsw.Connection(str(history))
    assert connection.execute(statement).fetchall() == [("a", 2), ("b", 1)]
    connection.close()
    await store.close()
    shell = [
        "python3",
        "-c",
        f"import sqlite3; print(sqlite3.connect({str(history)!r}).execute({statement!r}).fetchall())",
    ]
    found = subprocess.run(shell, check=True, capture_output=True, text=True, timeout=60).stdout
    assert found.strip() == "[('a', 2), ('b', 1)]"


async def test_the_table_is_the_documented_one(open_sqlite, query):
    await (await open_sqlite()).close()
    columns = query("SELECT name, type FROM pragma_table_info('chat_events')")
    assert columns == [
        ("id", "TEXT"), ("conversation_id", "TEXT"), ("seq", "INTEGER"), ("timestamp", "TEXT"), ("type", "TEXT"),
        ("role", "TEXT"), ("content", "TEXT"), ("tool_calls", "TEXT"), ("tool_call_id", "TEXT"), ("model", "TEXT"),
        ("usage", "TEXT"), ("extra", "TEXT"), ("token_count", "INTEGER"), ("request_id", "TEXT"),
    ]  # fmt: skip
    loose = query(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'"
    )
    assert loose == []


async def test_the_index_refuses_what_the_code_would_let_through(open_sqlite):
    """The guard below the guard: a second event of one request cannot be in the file."""
    store = await open_sqlite()
    await store.append([asked("r1", request="q")])
    statement = "INSERT INTO chat_events (id, conversation_id, seq, type, request_id) VALUES ('x', 'c', ?, 'message.received', ?)"
    for values in ((9, "q"), (1, "other")):
        with pytest.raises(apsw.ConstraintError):
            await store._database.write(lambda connection, values=values: connection.execute(statement, values))


async def test_only_one_process_has_a_history(open_sqlite):
    await open_sqlite()
    with pytest.raises(StoreInUse, match=r"history\.db is in use by process \d+"):
        await open_sqlite()


async def test_effects_follow_from_the_events_of_calls(open_sqlite, query):
    store = await open_sqlite()
    await store.append([asked("r1"), started("r1"), replied("r1")])
    for number in (1, 2, 3, 4):
        await store.append([called("r1", f"call-{number}")])
    await store.append([called("r1", "call-4")])
    await store.append([returned("r1", "call-1")])
    await store.append([returned("r1", "call-2", is_error=True), unresolved("r1", "call-3")])
    await store.append([returned("r1", "never-called")])
    await store.close()
    rows = query("SELECT call, service, tool, digest, key, class, state, result FROM effects ORDER BY call")
    about = ("notes", "add", "sha256:0")
    assert rows == [
        ("call-1", *about, "key of r1 call-1", "write_own", "done", 9),
        ("call-2", *about, "key of r1 call-2", "write_own", "failed", 10),
        ("call-3", *about, "key of r1 call-3", "write_own", "unknown", 11),
        ("call-4", *about, "key of r1 call-4", "write_own", "intent", None),
    ]


async def test_asks_follow_from_the_events_of_runs(open_sqlite, query):
    store = await open_sqlite()
    calls = [f"call-{number}" for number in range(7)]
    await store.append([asked("r1"), started("r1"), *(wished("r1", call) for call in calls)])
    await store.append([questioned("r1", call) for call in calls[:5]])
    await store.append([
        granted("r1", "call-0"), granted("r1", "call-1", edited=True), granted("r1", "call-2", decision="deny"),
        granted("r1", "call-3", decision="deny", by="expiry"), granted("r1", "call-4", decision="deny", by="cancel"),
        told("r1", "call-0"), told("r1", "call-1", outcome="decline"), told("r1", "call-2", outcome="cancel"),
        told("r1", "call-3", outcome="cancel", by="expiry"), returned("r1", "call-5"),
    ])  # fmt: skip
    await store.close()
    columns = "kind, call, digest, pin, state, decided_by, decided_at IS NULL, expires_at"
    rows = query(f"SELECT {columns} FROM approvals ORDER BY kind, call")
    expires = "2026-02-01T00:00:00.000Z"
    assert rows == [
        ("approval", "call-0", "sha256:0", "pin-1", "allowed", "bob", 0, expires),
        ("approval", "call-1", "sha256:1", "pin-1", "edited", "bob", 0, expires),
        ("approval", "call-2", "sha256:0", "pin-1", "denied", "bob", 0, expires),
        ("approval", "call-3", "sha256:0", "pin-1", "expired", "expiry", 0, expires),
        ("approval", "call-4", "sha256:0", "pin-1", "cancelled", "cancel", 0, expires),
        ("approval", "call-5", "sha256:0", "pin-1", "cancelled", "cancel", 0, expires),
        ("approval", "call-6", "sha256:0", "pin-1", "pending", None, 1, expires),
        ("elicitation", "call-0", "", "", "accepted", "bob", 0, None),
        ("elicitation", "call-1", "", "", "declined", "bob", 0, None),
        ("elicitation", "call-2", "", "", "cancelled", "bob", 0, None),
        ("elicitation", "call-3", "", "", "expired", "expiry", 0, None),
        ("elicitation", "call-4", "", "", "pending", None, 1, None),
    ]
    store = await open_sqlite()
    await store.append([resumed("r1"), failed("r1")])
    await store.close()
    assert query("SELECT count(*) FROM approvals WHERE state = 'pending'") == [(0,)]


async def test_columns_for_later_are_kept_up_to_date(open_sqlite, query):
    store = await open_sqlite()
    stored = await store.append([opened(), prompt_set("c", "Be kind."), asked("r1"), started("r1")])
    await store.close()
    store = await open_sqlite()
    stored += await store.append([resumed("r1"), prompt_set("c", "Be brief.")])
    await store.close()
    assert query("SELECT recoveries FROM runs") == [(1,)]
    total = sum(event.token_count for event in stored)
    assert query("SELECT system_prompt, token_count, pinned, archived_at FROM conversations") == [
        ("Be brief.", total, 0, None)
    ]


async def test_a_forgotten_last_seq_is_looked_up(open_sqlite, monkeypatch):
    monkeypatch.setattr(appending, "REMEMBERED", 2)
    store = await open_sqlite()
    for name in ("a", "b", "d", "a", "b", "d"):
        await store.append([opened(name)])
    assert [[event.seq for event in await store.read(name)] for name in ("a", "b", "d")] == [[1, 2]] * 3


async def test_a_fault_in_a_group_does_not_disturb_the_numbering_of_others(open_sqlite):
    store = await open_sqlite()
    broken = asked("r9", "broken", text="lone \ud800 surrogate")
    answers = await asyncio.gather(
        *(store.append([asked(f"r{number}")]) for number in range(4)),
        store.append([broken]),
        *(store.append([asked(f"s{number}")]) for number in range(4)),
        return_exceptions=True,
    )
    assert isinstance(answers.pop(4), UnicodeEncodeError)
    assert [events[0].seq for events in answers] == list(range(1, 9))
    assert [event.seq for event in await store.read("c")] == list(range(1, 9))
    assert await store.read("broken") == ()
    assert len(await store.runs(RunFilter())) == 8


@pytest.mark.promise("P3")
async def test_repetitions_do_not_break_up_a_group(open_sqlite):
    """In a storm of repetitions the others are still acknowledged together: one sync for all of them."""
    disk = FaultyDisk()
    store = await open_sqlite(vfs=disk.name)
    await store.append([asked("r0", request="q")])
    before = disk.syncs
    answers = await asyncio.gather(
        *(store.append([asked(f"r{number}", request="q" if number % 2 else "")]) for number in range(1, 51)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, DuplicateRequest) for answer in answers) == 25
    assert disk.syncs == before + 1


async def test_a_repetition_leaves_nothing_open(open_sqlite, query):
    """A query that was not read to its end would hold on to the log: no checkpoint could empty it."""
    store = await open_sqlite()
    await store.append([asked("r1", request="q")])
    with pytest.raises(DuplicateRequest):
        await store.append([asked("r2", request="q")])
    assert await store.erase("c")
    await store.append([asked("r3", request="q")])
    with pytest.raises(DuplicateRequest):
        await store.append([asked("r4", request="q")])
    await store.close()
    assert query("SELECT clean FROM opening") == [(1,)]


# --- durability ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P1")
async def test_events_that_were_promised_are_synced_and_others_ride_along(open_sqlite):
    disk = FaultyDisk()
    store = await open_sqlite(vfs=disk.name)
    synced = {}
    read = called("r1", "call-2")
    read = type(read)(
        conversation_id="c",
        type="tool.called",
        tool_call_id="call-2",
        extra={**read.extra, "key": "k", "class": "read_public"},
    )
    written = returned("r1")
    written = type(written)(
        conversation_id="c", type=written.type, tool_call_id="call-1", extra={**written.extra, "class": "write_own"}
    )
    for name, event in {
        "conversation.opened": opened(), "message.received": asked("r1"), "run.started": started("r1"),
        "model.replied": replied("r1"), "tool.called": called("r1"), "tool.returned": returned("r1"),
        "tool.returned write_own": written, "tool.called read": read, "tool.unresolved": unresolved("r1", "call-2"),
        "run.failed": failed("r1"), "run.retried": retried("r2", "r1"), "run.started again": started("r2"),
        "run.completed": completed("r2"), "message.received again": asked("r3"), "run.cancelled": cancelled("r3"),
        "message": asked("r4"), "started": started("r4"), "approval.requested": wished("r4"),
        "elicitation.requested": questioned("r4"), "run.waiting": waiting("r4"), "approval.answered": granted("r4"),
        "elicitation.answered": told("r4"), "conversation.changed": changed(title="x"), "history.compacted": compacted(),
    }.items():  # fmt: skip
        before = disk.syncs
        await store.append([event])
        synced[name] = disk.syncs - before
    assert synced == {
        "conversation.opened": 1, "message.received": 1, "run.started": 0, "model.replied": 0, "tool.called": 1,
        "tool.returned": 0, "tool.returned write_own": 1, "tool.called read": 1, "tool.unresolved": 1, "run.failed": 1,
        "run.retried": 1, "run.started again": 0, "run.completed": 1, "message.received again": 1, "run.cancelled": 1,
        "message": 1, "started": 0, "approval.requested": 1, "elicitation.requested": 0, "run.waiting": 1,
        "approval.answered": 1, "elicitation.answered": 1, "conversation.changed": 1, "history.compacted": 0,
    }  # fmt: skip
    before = disk.syncs
    await store.append([opened("new"), asked("r9", "new")])
    await store.erase("new")
    assert disk.syncs > before + 1


@pytest.mark.promise("P1")
async def test_a_message_whose_sync_failed_is_not_acknowledged(open_sqlite):
    disk = FaultyDisk()
    store = await open_sqlite(vfs=disk.name, on_fatal=lambda: None)
    disk.rule = lambda operation, _: FAILED_SYNC if operation == "sync" else None
    assert not store.lost
    with pytest.raises(Exception, match="not stored"):
        await store.append([asked("r1")])
    assert store.lost
    disk.rule = None


async def test_a_history_in_memory_cannot_be_lost_while_its_process_lives():
    assert not MemoryEventStore().lost


# --- erasing and cost ----------------------------------------------------------------------------------------------


@pytest.mark.promise("P20")
async def test_nothing_of_an_erased_conversation_is_left_in_any_file(open_sqlite, history):
    store = await open_sqlite()
    canary = "canary-7c1f"
    for number in range(30):
        text = f"{canary} {number} " + "x" * 3000
        await store.append([opened(f"c{number % 3}"), asked(f"r{number}", f"c{number % 3}", text=text)])
    await store.append([started("r0", "c0"), called("r0", conversation="c0")])
    await store.append([opened("stays"), asked("other", "stays", text="harmless")])
    for number in range(3):
        assert await store.erase(f"c{number}")
    files = [entry for entry in history.parent.iterdir() if entry.is_file()]
    assert {"history.db", "history.db-wal"} <= {entry.name for entry in files}
    assert not [entry.name for entry in files if b"canary" in entry.read_bytes()]
    assert len(await store.read("stays")) == 2


@pytest.mark.promise("P20")
async def test_nothing_of_an_erased_part_is_left_in_any_file(open_sqlite, history):
    store = await open_sqlite()
    for number in range(30):
        text = f"{'canary' if number < 20 else 'harmless'} {number} " + "x" * 3000
        await store.append([asked(f"r{number}", text=text), started(f"r{number}"), called(f"r{number}")])
        await store.append([returned(f"r{number}"), completed(f"r{number}")])
    (first,) = [run.first_seq for run in await store.runs(RunFilter(run_id="r20"))]
    await store.append([changed(title="harmless")])
    assert await store.erase("c", before=first)
    files = [entry for entry in history.parent.iterdir() if entry.is_file()]
    assert {"history.db", "history.db-wal"} <= {entry.name for entry in files}
    assert not [entry.name for entry in files if b"canary" in entry.read_bytes()]
    assert len(await store.read("c")) == 52


async def test_a_history_of_the_first_version_is_taken_along(history, open_sqlite, migrations, tmp_path, clock):
    old = tmp_path / "old"
    old.mkdir()
    (old / "0001_history.sql").write_text(migrations.joinpath("0001_history.sql").read_text())
    database = await Database.open(history, migrations=old, clock=clock)
    insert = (
        "INSERT INTO conversations (id, title, kind, surface, state, metadata, first_seq, last_seq, token_count,"
        " prompt_tokens, completion_tokens, estimated, created_at, updated_at)"
        " VALUES ('c', 'Milk', 'chat', 'ws', 'idle', '{}', 1, 4, 9, 1, 2, 0, 'then', 'then')"
    )
    await database.write(lambda connection: connection.execute(insert))
    await database.close()
    store = await open_sqlite()
    (row,) = await store.conversations()
    assert (row.title, row.title_by, row.services, row.allowed, row.tokens) == ("Milk", "message", None, {}, 9)
    assert (await store.append([asked("r1")]))[0].seq == 5


def plan_of(statement):
    connection = apsw.Connection(":memory:")
    for script in ("0001_history.sql", "0002_asks.sql", "0003_instructions.sql", "0004_outbox.sql", "0005_copies.sql"):
        connection.execute((resources.files("tom.store") / "migrations" / script).read_text())
    names = set(re.findall(r":(\w+)", statement))
    numbered = max(map(int, re.findall(r"\?(\d)", statement)), default=0)
    values = dict.fromkeys(names) if names else [None] * (numbered or statement.count("?"))
    lines = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, values)]
    connection.close()
    return [line for line in lines if "json_each" not in line and line != "SCAN CONSTANT ROW"]


SCANS = {
    "runs", "runs_asking", "runs_unfinished", "states_of_unfinished", "needed_from", "count_everything",
    "summed", "instructed", "entries_due", "erasures_due", "lag", "parked", "release", "written_out", "held", "owed",
    "refill_sessions", "refill_exchanges", "refill_prompts", "mirrors",
}  # fmt: skip
"""Queries that look at a whole list: of runs that nothing narrows, of the few unfinished runs, of what waits, of everything."""

SORTS = {
    "conversations_by_id", "runs_by_request", "runs_of_conversation",
    "parked", "refill_sessions", "refill_exchanges", "refill_prompts",
}  # fmt: skip
"""Queries that sort what they return; the others find it in order."""


@pytest.mark.parametrize("name", load_queries())
def test_a_query_reads_no_more_than_it_returns(name):
    plan = plan_of(load_queries()[name])
    assert name in SCANS or not [line for line in plan if line.startswith("SCAN")]
    assert name in SORTS or not [line for line in plan if "ORDER BY" in line]
    if name == "runs_unfinished":
        assert plan[0] == "SCAN runs USING INDEX runs_unfinished"
