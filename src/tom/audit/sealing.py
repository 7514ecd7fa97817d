"""What is older than retention says leaves the database in whole segments: one file for each, ``audit/FIRST-LAST.jsonl.gz``.

A segment is what was recorded in whole calendar months (UTC) that are over for longer than the retention. The row that
stands for it (`audit_segments`) has its last hash, which opens what follows, and a mac; only rows of a segment may be
deleted, the database's triggers refuse everything else. `verify` reads the files, too.
"""

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tom.audit.head import sync_directory
from tom.audit.rows import Row, mac_of
from tom.clock import timestamp

FOLDER: Final = "audit"
ALL_ROWS: Final = "SELECT number, at, kind, who, source, subject, before, after, hash, mac FROM audit ORDER BY number"
_OLD_ROWS: Final = (
    "SELECT number, at, kind, who, source, subject, before, after, hash, mac FROM audit WHERE number < ?"
    " ORDER BY number"
)
_BEYOND: Final = 2**62


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows ``first`` to ``last``, which were sealed; ``hash`` is that of the last one."""

    first: int
    last: int
    hash: str
    sealed_at: str
    mac: str

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.first}-{self.last}.jsonl.gz"


def border(now: datetime, days: float) -> str:
    """Whatever was recorded before this moment may be sealed: the beginning of a month, as a timestamp."""
    oldest = (now - timedelta(days=days)).astimezone(UTC)
    return timestamp(oldest.replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def due(connection: Any, before: str) -> list[Row]:
    """The rows from the first one on that were all recorded before ``before``."""
    young = connection.execute("SELECT min(number) FROM audit WHERE at >= ?", (before,)).get
    return [Row(*row) for row in connection.execute(_OLD_ROWS, (_BEYOND if young is None else young,))]


def write_segment(directory: Path, rows: list[Row]) -> None:
    """Write the file of a segment, on disk when this returns. A file left by an earlier try is replaced."""
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{rows[0].number}-{rows[-1].number}.jsonl.gz"
    fresh = path.with_suffix(".new")
    lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(gzip.compress(lines.encode("utf-8"), mtime=0))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(folder)


def read_segment(directory: Path, segment: Segment) -> Iterator[Row]:
    """The rows of a segment's file. OSError, ValueError, TypeError for one that is not there or not whole."""
    with gzip.open(directory / FOLDER / segment.name, "rt", encoding="utf-8") as file:
        for line in file:
            yield Row(**json.loads(line))


def store_segment(connection: Any, rows: list[Row], key: bytes, now: datetime) -> None:
    """Put the segment's row in place of its rows; runs in the writer."""
    first, last = rows[0].number, rows[-1].number
    mac = mac_of(key, "segment", first, last, rows[-1].hash)
    connection.execute(
        "INSERT INTO audit_segments (first, last, hash, sealed_at, mac) VALUES (?, ?, ?, ?, ?)",
        (first, last, rows[-1].hash, timestamp(now), mac),
    )
    connection.execute("DELETE FROM audit WHERE number <= ?", (last,))


def segments(connection: Any) -> list[Segment]:
    """The sealed segments, oldest first."""
    return [
        Segment(*row)
        for row in connection.execute("SELECT first, last, hash, sealed_at, mac FROM audit_segments ORDER BY first")
    ]
