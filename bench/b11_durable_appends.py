"""B11: durable acknowledgements at 64 writers, against one connection behind a lock that commits each event.

64 tasks append `message.received` to a conversation each, and go on when the append is acknowledged (fsync). The other
side does what a straightforward program does: the same tables and rows, one connection, one lock, a commit per event,
in a worker thread. The two take turns; figures are medians of the turns.
"""

import argparse
import asyncio
import json
import tempfile
import time
from importlib import resources
from pathlib import Path

import apsw
import uvloop

from measure import Result, finish, median, percentile
from tom.clock import SystemClock
from tom.conversation.event import Event, conversation_opened, message_received
from tom.ids import ulid
from tom.sqlite.migrations import load_migrations
from tom.store.appending import Appender
from tom.store.queries import load_queries
from tom.store.sqlite import SqliteEventStore

WRITERS = 64
RATE_MUST = 20_000
RATIO_MUST = 3.5
P99_MUST_MS = 5.0
TEXT = "Hello Tom, what is the time in Oslo, and will it rain there tomorrow?"


class Lock:
    """One connection behind a lock, a commit with fsync per append."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.pragma("journal_mode", "wal")
        self._connection.pragma("synchronous", 2)
        for migration in load_migrations(resources.files("tom.store").joinpath("migrations")):
            self._connection.execute(migration.sql)
        self._appender = Appender(load_queries(), SystemClock(), 1)
        self._lock = asyncio.Lock()

    async def append(self, events: list[Event]) -> None:
        async with self._lock:
            await asyncio.to_thread(self._commit, events)

    def _commit(self, events: list[Event]) -> None:
        with self._connection:
            self._appender.append_all(self._connection, [events])

    async def close(self) -> None:
        self._connection.close()


async def load(store: SqliteEventStore | Lock, turn: int, seconds: float) -> tuple[float, list[float]]:
    """Let 64 writers append for ``seconds``; returns acknowledgements a second, and how long each took in ms."""
    took: list[float] = []
    clock = time.perf_counter
    conversations = [f"conversation-{turn}-{writer}" for writer in range(WRITERS)]
    for conversation in conversations:
        await store.append([conversation_opened(conversation, surface="ws")])

    async def write(conversation: str) -> None:
        while (before := clock()) < end:
            event = message_received(
                conversation, TEXT, run_id=ulid(), request_id=ulid(), payload_digest="0" * 64, surface="ws"
            )
            await store.append([event])
            took.append((clock() - before) * 1000)

    began = clock()
    end = began + seconds
    async with asyncio.TaskGroup() as group:
        for conversation in conversations:
            group.create_task(write(conversation))
    return len(took) / (clock() - began), took


async def measure(turns: int, seconds: float) -> Result:
    """Load both in turns."""
    rates: dict[str, list[float]] = {"lock, commit per event": [], "tom": []}
    p50: dict[str, list[float]] = {name: [] for name in rates}
    p99: dict[str, list[float]] = {name: [] for name in rates}
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            "lock, commit per event": Lock(Path(folder) / "lock.db"),
            "tom": await SqliteEventStore.open(Path(folder) / "history.db"),
        }
        for turn in range(turns):
            for name, store in stores.items():
                rate, took = await load(store, turn, seconds)
                rates[name].append(rate)
                p50[name].append(percentile(took, 0.5))
                p99[name].append(percentile(took, 0.99))
        for store in stores.values():
            await store.close()
    result = Result("B11", f"durable acknowledgements at {WRITERS} writers", ("", "acks/s", "p50 ms", "p99 ms"))
    for name, values in rates.items():
        result.add(name, median(values), median(p50[name]), median(p99[name]))
    rate, ratio, slow = (
        median(rates["tom"]),
        median(rates["tom"]) / median(rates["lock, commit per event"]),
        median(p99["tom"]),
    )
    result.numbers = {
        "acks_per_second": rate,
        "best": max(rates["tom"]),
        "ratio": ratio,
        "p50_ms": median(p50["tom"]),
        "p99_ms": slow,
    }
    result.must[f"{rate:,.0f} acknowledgements a second (at least {RATE_MUST:,})"] = rate >= RATE_MUST
    result.must[f"{ratio:.1f} × the lock (at least {RATIO_MUST} ×)"] = ratio >= RATIO_MUST
    result.must[f"p99 {slow:.1f} ms (at most {P99_MUST_MS} ms)"] = slow <= P99_MUST_MS
    result.series = rates
    result.unit = "acks/s"
    return result


def main() -> None:
    """Run, print, end with 1 when a figure was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short turn")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--plot", action="store_true", help="draw bench/results/B11.png")
    asked = parser.parse_args()
    result = uvloop.run(measure(1, 1.5) if asked.quick else measure(5, 3.0))
    if asked.json:
        print(json.dumps({"bench": result.name, **result.numbers, "must": result.must}))
    else:
        finish(result, plot=asked.plot)


if __name__ == "__main__":
    main()
