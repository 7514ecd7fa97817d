"""Power goes at any moment: the log on disk ends anywhere, and what was acknowledged is in it (F2)."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from tom.conversation.event import Event
from tom.store.eventstore import RunFilter
from tom.store.sqlite import SqliteEventStore
from tom.testing.store_events import asked, completed, granted, opened, replied, resumed, started, waiting, wished

pytestmark = pytest.mark.anyio

SECTOR = 512


@dataclass(frozen=True)
class Recorded:
    """The files of a store that was busy, and how far its log was when each append was acknowledged."""

    database: bytes
    log: bytes
    events: tuple[Event, ...]
    acknowledged: tuple[tuple[int, int], ...]

    def owed(self, size):
        """How many events were acknowledged with fsync while the log had at most ``size`` bytes."""
        return max((events for at, events in self.acknowledged if at <= size), default=0)


@pytest.fixture(scope="module")
async def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("busy")
    store = await SqliteEventStore.open(folder / "history.db")
    log = folder / "history.db-wal"
    acknowledged = []
    await store.append([opened(), asked("r")])
    acknowledged.append((log.stat().st_size, 2))
    for number in range(12):
        run = f"r{number}"
        await store.append([asked(run, text="word " * (number * 40))])
        acknowledged.append((log.stat().st_size, 3 + 8 * number))
        await store.append([started(run)])
        await store.append([replied(run, text="answer " * 200), wished(run), waiting(run)])
        await store.append([granted(run), resumed(run)])
        await store.append([completed(run)])
        acknowledged.append((log.stat().st_size, 10 + 8 * number))
    database, bytes_of_log = (folder / "history.db").read_bytes(), log.read_bytes()
    events = await store.read("c")
    await store.close()
    assert acknowledged[-1][0] == len(bytes_of_log), "no checkpoint came between, so the log only grew"
    return Recorded(database, bytes_of_log, events, tuple(acknowledged))


async def hold(folder, recorded, log, size):
    """Open what the power cut left and hold it to the promise; ``size`` bytes of the log are as they were written."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "history.db").write_bytes(recorded.database)
    (folder / "history.db-wal").write_bytes(log)
    store = await SqliteEventStore.open(folder / "history.db", boot_id="the next boot")
    try:
        events = await store.read("c")
        assert events == recorded.events[: len(events)], "what is there is a prefix, without holes"
        assert len(events) >= recorded.owed(size), "what was acknowledged is there"
        runs = await store.runs(RunFilter())
        assert [run.first_seq for run in runs] == [event.seq for event in events if event.type == "message.received"]
    finally:
        await store.close()
    connection = apsw.Connection(str(folder / "history.db"))
    assert connection.pragma("integrity_check") == "ok"
    assert connection.execute("SELECT count(*) FROM chat_events").get == len(events)
    states = dict(connection.execute("SELECT run, state FROM approvals").fetchall())
    answered = {event.run_id for event in events if event.type == "approval.answered"}
    assert states == {
        event.run_id: "allowed" if event.run_id in answered else "pending"
        for event in events
        if event.type == "approval.requested"
    }
    connection.close()


def fast_folder(tmp_path):
    memory = Path("/dev/shm")
    return (memory if memory.is_dir() else tmp_path) / f"power-cut-{tmp_path.name}"


@pytest.fixture
def folder(tmp_path):
    place = fast_folder(tmp_path)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.promise("P1")
async def test_the_log_may_end_anywhere(recorded, folder):
    for size in range(0, len(recorded.log), max(97, len(recorded.log) // 200)):
        await hold(folder, recorded, recorded.log[:size], size)
    await hold(folder, recorded, recorded.log, len(recorded.log))


@pytest.mark.promise("P1")
async def test_the_end_of_the_log_may_be_torn(recorded, folder):
    """Sectors after the last sync may be there, be zero, or hold what was there before."""
    chance = random.Random(20261121)
    for _ in range(60):
        size = chance.randrange(0, len(recorded.log), SECTOR)
        torn = bytearray(recorded.log)
        for start in range(size, len(torn), SECTOR):
            fate = chance.choice(("kept", "zero", "old"))
            if fate != "kept":
                length = len(torn[start : start + SECTOR])
                torn[start : start + SECTOR] = bytes(length) if fate == "zero" else chance.randbytes(length)
        await hold(folder, recorded, bytes(torn), size)


@pytest.mark.trust
@pytest.mark.promise("P1")
@pytest.mark.timeout(900)
async def test_the_log_may_end_at_every_97th_byte(recorded, folder):
    for size in range(0, len(recorded.log), 97):
        await hold(folder, recorded, recorded.log[:size], size)
