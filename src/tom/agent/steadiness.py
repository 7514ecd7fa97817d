"""Whether the clock on the wall can be believed: nothing is erased for its age on the word of one reading.

Two readings an hour apart, by the clock that never goes back, have to agree. A clock that was set in between, or a
machine that was started anew, begins the hour again. Readings are kept in a file, because agents come and go.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tom.clock import Clock, parse_timestamp, timestamp
from tom.sqlite.opening import machine_boot_id

APART = 3600.0
"""Seconds between the two readings."""

SLACK = 300.0
"""Seconds by which the clocks may differ within that time, and still count as steady."""


@dataclass(frozen=True, slots=True)
class _Reading:
    wall: str
    monotonic: float
    boot: str


class Steadiness:
    """The readings of one agent; ``path`` None: kept in memory only."""

    def __init__(self, clock: Clock, path: Path | None = None, *, boot_id: str | None = None) -> None:
        """Read ``clock``. ``boot_id`` stands for the machine's."""
        self._clock = clock
        self._path = path
        self._boot = machine_boot_id() if boot_id is None else boot_id
        self._first: _Reading | None = None
        self._last: _Reading | None = None

    def wall(self) -> datetime:
        """The time as the clock has it, believed or not."""
        return self._clock.now()

    def now(self) -> datetime | None:
        """The time, when it has been steady for an hour; else None, and the hour goes on or begins."""
        if self._first is None:
            self._first, self._last = self._load()
        reading = _Reading(timestamp(self._clock.now()), self._clock.monotonic(), self._boot)
        if self._first is None or self._last is None or not _steady(self._last, reading):
            self._first = reading
        self._last = reading
        self._save()
        passed = reading.monotonic - self._first.monotonic
        if passed < APART:
            return None
        return min(parse_timestamp(reading.wall), parse_timestamp(self._first.wall) + timedelta(seconds=passed))

    def _load(self) -> tuple[_Reading | None, _Reading | None]:
        if self._path is None:
            return None, None
        try:
            stored: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
            first, last = (
                _Reading(str(given["wall"]), float(given["monotonic"]), str(given["boot"]))
                for given in (stored["first"], stored["last"])
            )
            for reading in (first, last):
                parse_timestamp(reading.wall)
        except (OSError, ValueError, KeyError, TypeError):
            return None, None
        return first, last

    def _save(self) -> None:
        if self._path is None or self._first is None or self._last is None:
            return
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps({"first": asdict(self._first), "last": asdict(self._last)}), "utf-8")
        beside.replace(self._path)


def _steady(before: _Reading, after: _Reading) -> bool:
    """Whether both clocks went on alike; of another start of the machine, or an unknown one, that cannot be said."""
    if not after.boot or before.boot != after.boot or after.monotonic < before.monotonic:
        return False
    wall = (parse_timestamp(after.wall) - parse_timestamp(before.wall)).total_seconds()
    return abs(wall - (after.monotonic - before.monotonic)) <= SLACK
