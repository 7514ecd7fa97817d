"""The body of GET /health."""

from datetime import UTC, datetime

from tom.telemetry.health import Counters


class Hand:
    """A clock moved by hand."""

    def __init__(self):
        self.seconds = 100.0

    def now(self):
        return datetime(2025, 1, 15, tzinfo=UTC)

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.seconds += seconds


def test_it_counts_what_was_asked_answered_and_failed():
    clock = Hand()
    counters = Counters(clock)
    counters.request()
    counters.request()
    counters.response(failed=False)
    counters.response(failed=True)
    clock.seconds += 1.23456
    assert counters.body() == {
        "status": "ok",
        "uptime_seconds": 1.235,
        "requests_total": 2,
        "responses_total": 2,
        "errors_total": 1,
    }
