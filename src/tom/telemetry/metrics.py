"""Counts what a program does, and shows it as JSON or as Prometheus reads it.

With `METRICS_ENABLED=false` no `Metrics` is made at all: whoever counts holds ``Metrics | None`` and asks first. Counting is
an addition in a dictionary; everything else is done when somebody looks. Used by one event loop: no lock.
"""

import importlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tom.clock import Clock
from tom.errors import CallerError
from tom.ids import ulid
from tom.telemetry.numbers import BOUNDS, Durations, Numbers, Traffic

PROMETHEUS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ACTION: Final = "WS"
"""What stands for a method where a socket's action is counted."""

FAILURE: Final = 500
_MOST_UNDER_WAY: Final = 10_000
_MOST_UNTOLD: Final = 1_000


class InvalidFormat(CallerError):
    """format must be json or prometheus."""

    code = "invalid_format"
    http_status = 400


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is so at this moment. ``archive_lag`` in seconds, 0 where there is no archive."""

    uptime: float
    active: int = 0
    queued: int = 0
    waiting: int = 0
    sockets: int = 0
    archive_lag: float = 0.0


class Metrics:
    """The counts of one program since it started."""

    __slots__ = ("_clock", "_under_way", "_untold", "boot", "numbers")

    def __init__(self, clock: Clock) -> None:
        """Everything is zero; ``boot`` names this start of the program."""
        self._clock = clock
        self.boot = ulid()
        self.numbers = Numbers()
        self._under_way: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._untold: OrderedDict[str, None] = OrderedDict()

    # --- requests over HTTP -------------------------------------------------------------------------------------

    def request(self, method: str) -> None:
        """A counted request has come."""
        _count(self.numbers.requests.received, method)

    def answer(self, method: str, route: str, status: int, seconds: float, *, failed_run: str = "") -> None:
        """It was answered after so many seconds; ``route`` is the template.

        ``failed_run``: the run whose failure the answer tells. It is one failure: from now on that of the answer; another
        answer that tells of it again is none.
        """
        traffic = self.numbers.requests
        _count(traffic.answered, (method, route, status))
        traffic.durations.note(seconds)
        if status >= FAILURE and (not failed_run or failed_run in self._untold):
            traffic.failed += 1
            if failed_run:
                del self._untold[failed_run]
                self.numbers.failed_runs -= 1

    # --- actions of sockets -------------------------------------------------------------------------------------

    def action(self, route: str, run_id: str | None, status: int = 0) -> None:
        """A ``chat`` or ``retry`` action: it began ``run_id`` whose end answers it (`run_ended`), or it was refused.

        With a ``status`` and no run it was refused so; with both it repeats what was asked before, and what the run has come
        to is told again: that is no failure of its own.
        """
        traffic = self.numbers.actions
        _count(traffic.received, ACTION)
        if run_id is None or status:
            self._answer_action(route, status, 0.0, failed=run_id is None and status >= FAILURE)
            return
        self._under_way[run_id] = (route, self._clock.monotonic())
        if len(self._under_way) > _MOST_UNDER_WAY:
            self._under_way.popitem(last=False)

    def run_ended(self, run_id: str, failure: int = 0) -> None:
        """A run is over; ``failure``: the HTTP status that tells how it failed, 0 when it did not."""
        begun = self._under_way.pop(run_id, None)
        if begun is not None:
            self._answer_action(begun[0], failure or 200, self._clock.monotonic() - begun[1], failed=bool(failure))
        elif failure:
            self.numbers.failed_runs += 1
            self._untold[run_id] = None
            if len(self._untold) > _MOST_UNTOLD:
                self._untold.popitem(last=False)

    def _answer_action(self, route: str, status: int, seconds: float, *, failed: bool = False) -> None:
        traffic = self.numbers.actions
        _count(traffic.answered, (ACTION, route, status))
        traffic.durations.note(seconds)
        traffic.failed += failed

    # --- what runs do -------------------------------------------------------------------------------------------

    def first_token(self, seconds: float) -> None:
        """The first text of an answer came so many seconds after its run had begun."""
        self.numbers.first_token.note(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """What one model call used."""
        _count(self.numbers.tokens, "prompt", prompt)
        _count(self.numbers.tokens, "completion", completion)

    def tool_call(self, service: str, outcome: str) -> None:
        """A tool has answered: ``ok``, ``error`` or ``unresolved``."""
        _count(self.numbers.tools, (service, outcome))

    def provider_error(self, code: str) -> None:
        """A model call failed."""
        _count(self.numbers.provider_errors, code)

    def rate_limited(self) -> None:
        """Somebody asked too often and was refused."""
        self.numbers.limited += 1


def _count[K](counts: dict[K, int], key: K, number: int = 1) -> None:
    counts[key] = counts.get(key, 0) + number


# --- showing --------------------------------------------------------------------------------------------------------


def wants_prometheus(wanted: str | None, accept: str) -> bool:
    """Which form is asked for: by ``format``, else by the ``Accept`` header's first known type. Raises `InvalidFormat`."""
    if wanted is not None:
        if wanted not in {"json", "prometheus"}:
            raise InvalidFormat
        return wanted == "prometheus"
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in {"text/plain", "application/openmetrics-text"}:
            return True
        if kind in {"application/json", "*/*", "application/*"}:
            return False
    return False


def json_body(numbers: Numbers, gauges: Gauges) -> dict[str, Any]:
    """The body of ``GET /metrics``."""
    traffic = numbers.traffic
    spread = traffic.durations
    return {
        "requests_total": sum(traffic.received.values()),
        "responses_total": sum(traffic.answered.values()),
        "errors_total": numbers.errors,
        "requests_by_method": traffic.received,
        "responses_by_status": _by_status(traffic),
        "request_latency_avg_ms": round(spread.total / spread.count * 1000, 3) if spread.count else 0.0,
        "uptime_seconds": gauges.uptime,
        "request_latency_ms": {
            name: round(spread.percentile(share) * 1000, 3)
            for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
        },
        "runs": {"active": gauges.active, "queued": gauges.queued, "waiting": gauges.waiting},
        "websocket_connections": gauges.sockets,
        "tokens_total": sum(numbers.tokens.values()),
    }


def load_exposition() -> None:
    """Import what the text form needs, which takes a tenth of a second: in a thread, before the first scrape."""
    importlib.import_module("prometheus_client")


def prometheus_text(numbers: Numbers, gauges: Gauges) -> bytes:
    """The same in Prometheus' text format 0.0.4."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - only a scrape needs it

    class Families:
        def collect(self) -> Iterator[Any]:
            return _families(numbers, gauges)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())  # pyright: ignore[reportArgumentType] - a collector by its method alone
    return generate_latest(registry)


def _families(numbers: Numbers, gauges: Gauges) -> Iterator[Any]:
    from prometheus_client import core  # noqa: PLC0415 - only a scrape needs it

    traffic = numbers.traffic
    yield _counter("tom_requests", "Requests answered", ("method", "route", "status"), traffic.answered)
    yield _histogram("tom_request_seconds", "From request to answer", traffic.durations)
    states = {("active",): gauges.active, ("queued",): gauges.queued, ("waiting",): gauges.waiting}
    runs = core.GaugeMetricFamily("tom_runs", "Runs that have not ended", labels=["state"])
    for labels, count in states.items():
        runs.add_metric(list(labels), count)
    yield runs
    yield _histogram("tom_ttft_seconds", "From the beginning of a run to its first text", numbers.first_token)
    yield _counter("tom_tokens", "Tokens of model calls", ("kind",), {(kind,): n for kind, n in numbers.tokens.items()})
    yield _counter("tom_tool_calls", "Tool calls", ("service", "outcome"), numbers.tools)
    failures = {(code,): count for code, count in numbers.provider_errors.items()}
    yield _counter("tom_provider_errors", "Model calls that failed", ("code",), failures)
    yield core.CounterMetricFamily("tom_rate_limited", "Requests refused for their rate", value=numbers.limited)
    yield core.CounterMetricFamily("tom_errors", "Answers of 500 and more, and failed runs", value=numbers.errors)
    yield core.GaugeMetricFamily("tom_ws_connections", "Open sockets", value=gauges.sockets)
    yield core.GaugeMetricFamily("tom_archive_lag_seconds", "Age of what the archive lacks", value=gauges.archive_lag)


def _counter(name: str, text: str, labels: tuple[str, ...], counts: dict[Any, int]) -> Any:
    from prometheus_client import core  # noqa: PLC0415 - only a scrape needs it

    family = core.CounterMetricFamily(name, text, labels=list(labels))
    for key, count in counts.items():
        family.add_metric([str(part) for part in key], count)
    return family


def _histogram(name: str, text: str, durations: Durations) -> Any:
    from prometheus_client import core  # noqa: PLC0415 - only a scrape needs it

    seen, buckets = 0, list[tuple[str, float]]()
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), durations.buckets, strict=True):
        seen += count
        buckets.append((bound, seen))
    return core.HistogramMetricFamily(name, text, buckets=buckets, sum_value=durations.total)


def _by_status(traffic: Traffic) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, _, status), count in sorted(traffic.answered.items(), key=lambda entry: entry[0][2]):
        _count(found, str(status), count)
    return found
