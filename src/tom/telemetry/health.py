"""Counters of one program and the body of ``GET /health``."""

from tom.clock import Clock


class Counters:
    """What `GET /health` tells. Used by one event loop: no lock."""

    __slots__ = ("_clock", "_started", "errors_total", "requests_total", "responses_total")

    def __init__(self, clock: Clock) -> None:
        """Everything is zero and the uptime begins now."""
        self._clock = clock
        self._started = clock.monotonic()
        self.requests_total = 0
        self.responses_total = 0
        self.errors_total = 0

    def request(self) -> None:
        """A session was created, a message posted or a WebSocket ``chat`` action received."""
        self.requests_total += 1

    def response(self, *, failed: bool) -> None:
        """It was answered; ``failed``: with a status of 500 or more, or its run failed."""
        self.responses_total += 1
        self.errors_total += failed

    def uptime(self) -> float:
        """Seconds since the program started, to the millisecond."""
        return round(self._clock.monotonic() - self._started, 3)

    def body(self) -> dict[str, str | int | float]:
        """The body of ``GET /health``."""
        return {
            "status": "ok",
            "uptime_seconds": self.uptime(),
            "requests_total": self.requests_total,
            "responses_total": self.responses_total,
            "errors_total": self.errors_total,
        }
