"""The body of ``GET /health``: alive since when, and how much was asked, as far as that is counted."""

from tom.clock import Clock
from tom.telemetry.numbers import Numbers


class Uptime:
    """How long a program has been running."""

    __slots__ = ("_clock", "_started", "started_at")

    def __init__(self, clock: Clock) -> None:
        """It begins now."""
        self._clock = clock
        self._started = clock.monotonic()
        self.started_at = clock.now()

    def seconds(self) -> float:
        """Seconds since the program started, to the millisecond."""
        return round(self._clock.monotonic() - self._started, 3)


def health_body(uptime: Uptime, numbers: Numbers | None) -> dict[str, str | int | float]:
    """The body of ``GET /health``; ``numbers`` None: nothing is counted, the counters stay 0."""
    traffic = numbers.traffic if numbers else None
    return {
        "status": "ok",
        "uptime_seconds": uptime.seconds(),
        "requests_total": sum(traffic.received.values()) if traffic else 0,
        "responses_total": sum(traffic.answered.values()) if traffic else 0,
        "errors_total": numbers.errors if numbers else 0,
    }
