"""The body of GET /health."""

from tom.telemetry.health import Uptime, health_body
from tom.telemetry.metrics import Metrics
from tom.testing.manual_clock import ManualClock


def test_it_counts_what_was_asked_answered_and_failed():
    clock = ManualClock()
    uptime, metrics = Uptime(clock), Metrics(clock)
    metrics.request("POST")
    metrics.request("POST")
    metrics.answer("POST", "/sessions", 201, 0.1)
    metrics.answer("POST", "/sessions", 500, 0.1)
    clock.advance(1.23456)
    assert health_body(uptime, metrics.numbers) == {
        "status": "ok",
        "uptime_seconds": 1.235,
        "requests_total": 2,
        "responses_total": 2,
        "errors_total": 1,
    }


def test_without_metrics_it_is_alive_all_the_same():
    assert health_body(Uptime(ManualClock()), None) == {
        "status": "ok",
        "uptime_seconds": 0.0,
        "requests_total": 0,
        "responses_total": 0,
        "errors_total": 0,
    }
