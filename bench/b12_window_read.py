"""B12: reading the window of a conversation of 1,000,000 events against one of 1,000.

Both lie in one file. The window is what one prompt needs: the newest events up to the default budget of tokens. They
are read in turns; figures are medians.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import apsw
import uvloop

from measure import Result, finish, median, percentile
from tom.conversation.codec import encode_row
from tom.conversation.event import Event
from tom.store.queries import load_queries
from tom.store.sqlite import SqliteEventStore

SMALL = 1000
BUDGET = 4000
RATIO_MUST = 1.2
MS_MUST = 0.5
TOKENS = 60
TEXT = "A sentence of the length that people write, more or less. " * 3


async def fill(store: SqliteEventStore, path: Path, conversations: dict[str, int]) -> None:
    """Write the events straight into the table: what is measured is reading."""
    await store.close()
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", 0)
    insert = load_queries()["insert_event"]
    with connection:
        for conversation, count in conversations.items():
            connection.executemany(insert, (encode_row(event_of(conversation, seq)) for seq in range(1, count + 1)))
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


def event_of(conversation: str, seq: int) -> Event:
    """A reply or a message in turn."""
    user = seq % 2 == 0
    return Event(
        conversation_id=conversation,
        type="message.received" if user else "model.replied",
        id=f"{conversation}-{seq:010d}",
        seq=seq,
        timestamp="2026-01-01T00:00:00.000Z",
        role="user" if user else "assistant",
        content=TEXT,
        extra={"run_id": f"run-{seq // 2}", "turn": 0, "attempt": 1},
        token_count=TOKENS,
    )


async def measure(large: int, reads: int) -> Result:
    """Read both windows in turns."""
    took: dict[str, list[float]] = {"small": [], "large": []}
    sizes = {"small": SMALL, "large": large}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        await fill(await SqliteEventStore.open(path), path, sizes)
        store = await SqliteEventStore.open(path)
        for number in range(reads + 50):
            for name in took:
                before = time.perf_counter()
                window = await store.tail(name, tokens=BUDGET)
                spent = (time.perf_counter() - before) * 1000
                if number >= 50:  # the first reads fill the caches
                    took[name].append(spent)
        events = len(window)
        await store.close()
    result = Result(
        "B12", f"the newest {events} events ({BUDGET} tokens)", ("events in the conversation", "p50 ms", "p99 ms")
    )
    for name, values in took.items():
        result.add(f"{sizes[name]:,}", median(values), percentile(values, 0.99))
    ratio, spent = median(took["large"]) / median(took["small"]), median(took["large"])
    result.numbers = {"ratio": ratio, "p50_ms": spent, "p99_ms": percentile(took["large"], 0.99), "events": events}
    result.must[f"{ratio:.2f} × the time of the small one (at most {RATIO_MUST})"] = ratio <= RATIO_MUST
    result.must[f"{spent:.2f} ms (at most {MS_MUST} ms)"] = spent <= MS_MUST
    result.series = took
    result.unit = "ms"
    return result


def main() -> None:
    """Run, print, end with 1 when a figure was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 events and fewer reads")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    parser.add_argument("--plot", action="store_true", help="draw bench/results/B12.png")
    asked = parser.parse_args()
    result = uvloop.run(measure(100_000, 300) if asked.quick else measure(1_000_000, 2000))
    if asked.json:
        print(json.dumps({"bench": result.name, **result.numbers, "must": result.must}))
    else:
        finish(result, plot=asked.plot)


if __name__ == "__main__":
    main()
