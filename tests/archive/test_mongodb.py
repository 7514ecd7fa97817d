"""What MongoDB does rarely, played over a real socket; and its collections, on nx-27017."""

import pymongo
import pytest

from tom.archive.archive import ArchiveUnavailable, ArchiveUnfit, RecordRefused
from tom.archive.mongodb import MongodbArchive
from tom.testing.archive_contract import message, session
from tom.testing.played_mongodb import Odd, played_mongodb

pytestmark = pytest.mark.anyio

WELL = {"ok": 1.0, "n": 1, "nModified": 0}
NONE = {"ok": 1.0, "cursor": {"id": 0, "ns": "tom.any", "firstBatch": []}}
READ = (NONE, NONE)
"""What is there, is read first: messages at these places, and the session."""


@pytest.fixture
async def played():
    async with played_mongodb() as server:
        yield server


@pytest.fixture
def archive(played, clock, opened):
    opened.append(
        MongodbArchive(played.url, database="tom", namespace="chat_history", user="local", clock=clock, seconds=1.0)
    )
    return opened[-1]


@pytest.mark.promise("P26")
@pytest.mark.parametrize(
    ("answers", "expected", "words"),
    [
        ([{"ok": 0.0, "code": 10107, "errmsg": "not primary", "codeName": "NotWritablePrimary"}], ArchiveUnavailable, "NotPrimaryError"),
        ([{"ok": 0.0, "code": 13, "errmsg": "not authorized on tom"}], ArchiveUnfit, "13"),
        ([{"ok": 0.0, "code": 50, "errmsg": "exceeded time limit"}], ArchiveUnavailable, "50"),
        ([*READ, WELL, {"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [{"index": 0, "code": 10334, "errmsg": "secret"}]}], RecordRefused, "10334"),
        ([*READ, WELL, {"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [{"index": 0, "code": 121, "errmsg": "secret"}]}], RecordRefused, "121"),
        ([*READ, WELL, {"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "secret"}]}], ArchiveUnavailable, "11000"),
        ([*READ, WELL, {"ok": 1.0, "n": 1, "nModified": 0, "writeConcernError": {"code": 64, "errmsg": "secret"}}], ArchiveUnavailable, ""),
        ([Odd.CLOSE], ArchiveUnavailable, "AutoReconnect"),
        ([*READ, WELL, Odd.CLOSE], ArchiveUnavailable, "AutoReconnect"),
        ([Odd.SILENT], ArchiveUnavailable, ""),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_told_apart(archive, played, answers, expected, words):
    played.answers = list(answers)
    with pytest.raises(expected) as caught:
        await archive.write(session(), (message(1, "text of the person"),))
    assert type(caught.value) is expected
    assert words in caught.value.message
    assert "secret" not in caught.value.message
    before = played.connections
    played.answers = list(READ)
    await archive.write(session(), (message(1),))
    assert played.connections > before
    assert played.told[-2:] == ["update", "update"]


async def test_nobody_there_is_said_in_time(clock, free_port, opened):
    archive = MongodbArchive(
        f"mongodb://127.0.0.1:{free_port}", database="tom", namespace="n", user="u", clock=clock, seconds=0.3
    )
    opened.append(archive)
    for verb in (archive.prepare(), archive.erase("c"), archive.sessions(limit=1, offset=0)):
        with pytest.raises(ArchiveUnavailable):
            await verb


async def test_what_no_document_holds_is_refused(archive, played):
    for record in (message(1, n=2**70), message(2, **{"a\0b": 1})):
        played.answers = list(READ)
        with pytest.raises(RecordRefused):
            await archive.write(session(), (record,))
    played.answers = list(READ)
    with pytest.raises(RecordRefused):
        await archive.write(session(), (message(1, "half \ud83d a character"),))


async def test_an_index_that_is_another_one_is_said(archive, played):
    played.answers = [{"ok": 0.0, "code": 85, "errmsg": "IndexOptionsConflict"}]
    with pytest.raises(ArchiveUnfit):
        await archive.prepare()
    await archive.prepare()
    assert played.told == ["createIndexes"] * 3


@pytest.mark.services
async def test_the_collections_are_as_written(open_mongodb, mongodb_server):
    archive = open_mongodb(sessions="s", messages="m")
    await archive.prepare()
    await archive.write(session(limit=5, a=1), (message(3, "text", run_id="r"),))
    with pymongo.MongoClient(mongodb_server.url) as client:
        database = client[archive._names[0]]
        (row,), (kept,) = list(database.s.find({}, {"_id": 0})), list(database.m.find({}, {"_id": 0}))
    assert sorted(row) == ["created_at", "id", "memory_limit", "metadata", "namespace", "user"]
    assert sorted(kept) == sorted([
        "namespace", "user", "session_id", "seq", "role", "content", "created_at", "stored_at", "metadata",
    ])  # fmt: skip
    assert (row["metadata"], kept["seq"], kept["metadata"]) == ({"a": 1}, 3, {"run_id": "r"})
