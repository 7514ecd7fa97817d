"""Counting, adding up, and the two forms in which it is shown."""

import json
import subprocess
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tom.telemetry.metrics import Gauges, InvalidFormat, Metrics, json_body, prometheus_text, wants_prometheus
from tom.telemetry.numbers import Durations, Numbers, decode_numbers, encode_numbers
from tom.testing.manual_clock import ManualClock

GAUGES = Gauges(uptime=12.5, active=1, queued=2, waiting=3, sockets=4, archive_lag=5.5)


@pytest.fixture
def counted():
    """A little of everything."""
    clock = ManualClock()
    metrics = Metrics(clock)
    metrics.run_ended("run-0", 502)
    for seconds, status in ((0.02, 201), (0.2, 200), (2.0, 502)):
        metrics.request("POST")
        metrics.answer("POST", "/sessions", status, seconds, failed_run="run-0" if status == 502 else "")
    metrics.action("/ws/chat", None, 429)
    metrics.action("/ws/chat", "run-1")
    metrics.action("/ws/chat", "run-2")
    clock.advance(3)
    metrics.run_ended("run-1")
    metrics.run_ended("run-2", 502)
    metrics.first_token(0.3)
    metrics.tokens(30, 12)
    metrics.tool_call("notes", "ok")
    metrics.tool_call('od"d\\\n', "error")
    metrics.provider_error("provider_timeout")
    metrics.rate_limited()
    return metrics


def test_json_tells_requests_answers_errors_and_times(counted):
    body = json_body(counted.numbers, GAUGES)
    spread = body.pop("request_latency_ms")
    average = body.pop("request_latency_avg_ms")
    assert body == {
        "requests_total": 6,
        "responses_total": 6,
        "errors_total": 2,
        "requests_by_method": {"POST": 3, "WS": 3},
        "responses_by_status": {"200": 2, "201": 1, "429": 1, "502": 2},
        "uptime_seconds": 12.5,
        "runs": {"active": 1, "queued": 2, "waiting": 3},
        "websocket_connections": 4,
        "tokens_total": 42,
    }
    assert average == pytest.approx((20 + 200 + 2000 + 0 + 3000 + 3000) / 6)
    assert spread["p50"] <= spread["p95"] <= spread["p99"]
    assert spread["p99"] == pytest.approx(3000, rel=0.06)
    json.dumps(body)


def test_nothing_counted_is_all_zeros():
    body = json_body(Numbers(), Gauges(uptime=0.0))
    assert body["requests_total"] == body["errors_total"] == body["request_latency_avg_ms"] == 0
    assert body["request_latency_ms"] == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


def test_the_text_is_what_prometheus_own_parser_reads(counted):
    families = {
        family.name: family
        for family in text_string_to_metric_families(prometheus_text(counted.numbers, GAUGES).decode())
    }
    kinds = {name: family.type for name, family in families.items()}
    assert kinds == {
        "tom_requests": "counter", "tom_request_seconds": "histogram", "tom_runs": "gauge", "tom_ttft_seconds": "histogram",
        "tom_tokens": "counter", "tom_tool_calls": "counter", "tom_provider_errors": "counter", "tom_rate_limited": "counter",
        "tom_errors": "counter", "tom_ws_connections": "gauge", "tom_archive_lag_seconds": "gauge",
    }  # fmt: skip
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["tom_requests_total", (("method", "POST"), ("route", "/sessions"), ("status", "201"))] == 1
    assert samples["tom_requests_total", (("method", "WS"), ("route", "/ws/chat"), ("status", "502"))] == 1
    assert samples["tom_runs", (("state", "queued"),)] == 2
    assert samples["tom_tokens_total", (("kind", "completion"),)] == 12
    assert samples["tom_tool_calls_total", (("outcome", "error"), ("service", 'od"d\\\n'))] == 1
    assert samples["tom_provider_errors_total", (("code", "provider_timeout"),)] == 1
    assert samples["tom_rate_limited_total", ()] == 1
    assert samples["tom_request_seconds_count", ()] == 6
    assert samples["tom_request_seconds_bucket", (("le", "+Inf"),)] == 6
    assert samples["tom_request_seconds_bucket", (("le", "0.05"),)] == 2
    assert samples["tom_archive_lag_seconds", ()] == 5.5
    names = {name for key in samples for name, _ in key[1]}
    assert names == {"method", "route", "status", "state", "kind", "service", "outcome", "code", "le"}


@pytest.mark.parametrize(
    ("wanted", "accept", "prometheus"),
    [
        (None, "", False),
        (None, "*/*", False),
        (None, "application/json", False),
        (None, "text/plain", True),
        (None, "text/plain; version=0.0.4, application/json", True),
        (None, "application/json, text/plain", False),
        (None, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        (None, "text/html, text/plain", True),
        (None, "image/png", False),
        ("json", "text/plain", False),
        ("prometheus", "application/json", True),
    ],
)
def test_the_form_is_chosen_by_format_or_accept(wanted, accept, prometheus):
    assert wants_prometheus(wanted, accept) is prometheus


@pytest.mark.parametrize("wanted", ["", "xml", "Prometheus", "openmetrics"])
def test_another_format_is_refused(wanted):
    with pytest.raises(InvalidFormat):
        wants_prometheus(wanted, "*/*")


def test_what_several_programs_counted_adds_up(counted):
    sent = decode_numbers(json.loads(json.dumps(encode_numbers(counted.numbers))))
    assert encode_numbers(sent) == encode_numbers(counted.numbers)
    total = Numbers()
    total.add(sent)
    total.add(sent, requests=False)
    body = json_body(total, GAUGES)
    assert body["requests_by_method"] == {"POST": 3, "WS": 6}
    assert body["tokens_total"] == 84
    assert body["errors_total"] == 3  # the answer of 502 is this program's own


@pytest.mark.parametrize("wrong", [{}, {"requests": 1}, {"durations": [1, 2, [], []]}])
def test_numbers_that_cannot_be_read_are_refused(wrong, counted):
    told = encode_numbers(counted.numbers)
    if "durations" in wrong:
        told["requests"]["durations"] = wrong["durations"]
    else:
        told = wrong
    with pytest.raises((KeyError, ValueError, TypeError)):
        decode_numbers(told)


@pytest.mark.parametrize("scale", [0.001, 0.1, 10.0])
def test_percentiles_are_right_within_a_twentieth(scale):
    spread = Durations()
    for number in range(1, 1001):
        spread.note(number * scale / 1000)
    for share in (0.5, 0.95, 0.99):
        assert spread.percentile(share) == pytest.approx(share * scale, rel=0.06)


def test_its_size_does_not_grow_with_use():
    metrics = Metrics(ManualClock())
    for number in range(30_000):
        metrics.action("/ws/chat", f"run-{number}")  # none of them ever ends
    assert len(metrics._under_way) <= 10_000
    assert len(json.dumps(encode_numbers(metrics.numbers))) < 4000


def test_counting_costs_next_to_nothing():
    metrics = Metrics(ManualClock())
    started = time.perf_counter()
    for _ in range(20_000):
        metrics.request("POST")
        metrics.answer("POST", "/sessions", 201, 0.01)
    assert (time.perf_counter() - started) / 20_000 < 0.00005


def test_counting_imports_no_prometheus():
    program = "import sys, tom.telemetry.metrics; print('prometheus_client' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
