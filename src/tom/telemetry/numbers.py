"""What is counted, as values that can be added up and sent to another process: `metrics.py` counts, this is the sum.

Nothing here grows with use: labels are methods, route templates, statuses, services and codes, never people or conversations.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram that Prometheus reads, in seconds."""

_FINEST: Final = 0.0001
_STEP: Final = 1.1
_GRID: Final = tuple(_FINEST * _STEP**number for number in range(176))
"""Bounds of the grid that percentiles are read from: a tenth apart, up to half an hour."""


class Durations:
    """Durations in seconds: how many, how long together, how they are spread. Its size is fixed."""

    __slots__ = ("buckets", "count", "grid", "total")

    def __init__(self) -> None:
        """None yet."""
        self.count = 0
        self.total = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.grid = [0] * (len(_GRID) + 1)

    def note(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.total += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.grid[bisect_left(_GRID, seconds)] += 1

    def percentile(self, share: float) -> float:
        """The duration that ``share`` (0..1) of all stay below, within a twentieth; 0 when there are none."""
        wanted, seen = share * self.count, 0
        for place, number in enumerate(self.grid):
            seen += number
            if number and seen >= wanted:
                return _GRID[min(place, len(_GRID) - 1)] / math.sqrt(_STEP)
        return 0.0

    def add(self, other: "Durations") -> None:
        """Add those of another program."""
        self.count += other.count
        self.total += other.total
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        self.grid = [one + more for one, more in zip(self.grid, other.grid, strict=True)]

    def encode(self) -> list[Any]:
        """As JSON."""
        return [self.count, self.total, self.buckets, self.grid]

    @classmethod
    def decode(cls, told: Sequence[Any]) -> "Durations":
        """What `encode` made. ValueError, TypeError for anything else."""
        found = cls()
        found.count, found.total = int(told[0]), float(told[1])
        buckets, grid = [int(one) for one in told[2]], [int(one) for one in told[3]]
        if (len(buckets), len(grid)) != (len(found.buckets), len(found.grid)):
            raise ValueError("durations of another version")
        found.buckets, found.grid = buckets, grid
        return found


@dataclass(slots=True)
class Traffic:
    """Requests of one kind: received by method; answered by method, route template and status; how long that took."""

    received: dict[str, int] = field(default_factory=dict[str, int])
    answered: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])
    durations: Durations = field(default_factory=Durations)
    failed: int = 0

    def add(self, other: "Traffic") -> None:
        """Add that of another program."""
        add_counts(self.received, other.received)
        add_counts(self.answered, other.answered)
        self.durations.add(other.durations)
        self.failed += other.failed


@dataclass(slots=True)
class Numbers:
    """Everything that is counted.

    ``requests``: over HTTP; ``actions``: of sockets; ``failed_runs``: runs that failed without an answer that said so.
    ``tokens`` by ``prompt`` and ``completion``; ``tools`` by service and outcome; ``provider_errors`` by code.
    """

    requests: Traffic = field(default_factory=Traffic)
    actions: Traffic = field(default_factory=Traffic)
    first_token: Durations = field(default_factory=Durations)
    failed_runs: int = 0
    limited: int = 0
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    tools: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    provider_errors: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, other: "Numbers", *, requests: bool = True) -> None:
        """Add those of another program; without its ``requests`` where this one has counted them itself."""
        if requests:
            self.requests.add(other.requests)
        self.actions.add(other.actions)
        self.first_token.add(other.first_token)
        self.failed_runs += other.failed_runs
        self.limited += other.limited
        add_counts(self.tokens, other.tokens)
        add_counts(self.tools, other.tools)
        add_counts(self.provider_errors, other.provider_errors)

    @property
    def traffic(self) -> Traffic:
        """Requests and actions together."""
        both = Traffic()
        both.add(self.requests)
        both.add(self.actions)
        return both

    @property
    def errors(self) -> int:
        """Answers with a status of 500 or more, and failed runs; a failure that an answer told is one."""
        return self.requests.failed + self.actions.failed + self.failed_runs


def add_counts[K](known: dict[K, int], more: Mapping[K, int]) -> None:
    """Add ``more`` to the counts that are known."""
    for name, count in more.items():
        known[name] = known.get(name, 0) + count


def encode_numbers(numbers: Numbers) -> dict[str, Any]:
    """As JSON, for the gateway that adds up what its agents counted."""
    return {
        "requests": _encode_traffic(numbers.requests),
        "actions": _encode_traffic(numbers.actions),
        "first_token": numbers.first_token.encode(),
        "failed_runs": numbers.failed_runs,
        "limited": numbers.limited,
        "tokens": numbers.tokens,
        "tools": [[*key, count] for key, count in numbers.tools.items()],
        "provider_errors": numbers.provider_errors,
    }


def decode_numbers(told: Mapping[str, Any]) -> Numbers:
    """What `encode_numbers` made. KeyError, ValueError, TypeError, IndexError for anything else."""
    return Numbers(
        requests=_decode_traffic(told["requests"]),
        actions=_decode_traffic(told["actions"]),
        first_token=Durations.decode(told["first_token"]),
        failed_runs=int(told["failed_runs"]),
        limited=int(told["limited"]),
        tokens={str(name): int(count) for name, count in told["tokens"].items()},
        tools={(str(service), str(outcome)): int(count) for service, outcome, count in told["tools"]},
        provider_errors={str(code): int(count) for code, count in told["provider_errors"].items()},
    )


def _encode_traffic(traffic: Traffic) -> dict[str, Any]:
    return {
        "received": traffic.received,
        "answered": [[*key, count] for key, count in traffic.answered.items()],
        "durations": traffic.durations.encode(),
        "failed": traffic.failed,
    }


def _decode_traffic(told: Mapping[str, Any]) -> Traffic:
    return Traffic(
        received={str(method): int(count) for method, count in told["received"].items()},
        answered={
            (str(method), str(route), int(status)): int(count) for method, route, status, count in told["answered"]
        },
        durations=Durations.decode(told["durations"]),
        failed=int(told["failed"]),
    )
