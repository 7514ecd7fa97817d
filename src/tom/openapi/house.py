"""What the house itself answers: health, metrics, tickets, this document."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.describing import (
    Answer,
    Content,
    Schema,
    Told,
    answered,
    flag,
    header,
    mapping,
    number,
    one_of,
    query,
    record,
    ref,
    shown,
    text,
    whole,
)

_COUNTS: Final[Mapping[str, Schema]] = {
    "requests_total": whole("Opened sessions, messages, completions.", minimum=0),
    "responses_total": whole(minimum=0), "errors_total": whole("Answers from 500 on, and failed runs.", minimum=0),
}  # fmt: skip
_AGENTS: Final = mapping("How many agents run and start; behind a gateway.", whole(minimum=0))
_LATENCY: Final = record({"p50": number(minimum=0), "p95": number(minimum=0), "p99": number(minimum=0)})

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Health": record({"status": {"const": "ok"}, "uptime_seconds": number(minimum=0), **_COUNTS}, {
        "tls": text("The certificate's condition; behind a gateway."), "agents": _AGENTS,
        "details": mapping("With the admin token only: how each part is."),
    }),
    "Readiness": record({"ready": flag()}, {"tls": text(), "agents": _AGENTS}),
    "Metrics": record({
        **_COUNTS, "requests_by_method": mapping("", whole(minimum=0)), "responses_by_status": mapping("", whole(minimum=0)),
        "request_latency_avg_ms": number(minimum=0), "uptime_seconds": number(minimum=0),
    }, {
        "request_latency_ms": _LATENCY, "websocket_connections": whole(minimum=0), "tokens_total": whole(minimum=0),
        "runs": record({"active": whole(minimum=0), "queued": whole(minimum=0), "waiting": whole(minimum=0)}),
    }),
    "Ticket": record({"ticket": text("Good for one connection."), "expires_in": whole("Seconds.", minimum=1)}),
}  # fmt: skip

_COUNTED: Final[Mapping[str, Any]] = {"requests_total": 12, "responses_total": 12, "errors_total": 0}
_METRICS: Final[Mapping[str, Any]] = {
    **_COUNTED, "requests_by_method": {"POST": 12}, "responses_by_status": {"200": 11, "201": 1},
    "request_latency_avg_ms": 410.5, "uptime_seconds": 3600.0,
    "request_latency_ms": {"p50": 380.0, "p95": 900.0, "p99": 1200.0},
    "runs": {"active": 1, "queued": 0, "waiting": 0}, "websocket_connections": 3, "tokens_total": 5120,
}  # fmt: skip
_ADMIN_TOKEN: Final = header("X-Admin-Token", text(), "The operator's token: with it there is more to see.")

TOLD: Final[Mapping[str, Told]] = {
    "createTicket": Told(
        summary="A ticket for a WebSocket",
        text="For a page of another origin, which cannot send a header with a WebSocket: it names the protocols "
        "`tom.chat.v1, tom.ticket.<ticket>`. A ticket is good once, for 30 seconds.",
        answers={200: answered(
            "The ticket.", ref("Ticket"), shown("ticket", "One", {"ticket": "q0w9e8r7t6z5u4i3o2p1", "expires_in": 30})
        )},
        refusals={400: ("invalid_json",)},
    ),
    "getHealth": Told(
        summary="Alive?",
        text="Always 200 while the program runs.",
        parameters=(_ADMIN_TOKEN,),
        answers={200: answered(
            "Alive.", ref("Health"), shown("alive", "Alive", {"status": "ok", "uptime_seconds": 3600.0, **_COUNTED})
        )},
    ),
    "getReadiness": Told(
        summary="Ready for work?",
        text="Not while starting, while stopping, and when the storage is lost.",
        answers={
            200: answered("Ready.", ref("Readiness"), shown("ready", "Ready", {"ready": True})),
            503: answered("Not ready.", ref("Readiness"), shown("draining", "Stopping", {"ready": False})),
        },
    ),
    "getMetrics": Told(
        summary="Figures",
        text="As JSON, or as Prometheus reads them where `format=prometheus` or `Accept` asks for text before JSON. Not "
        "there at all when `METRICS_ENABLED` is false. On other addresses than this machine's it needs the admin token, "
        "unless `metrics.public` is true.",
        parameters=(
            query("format", one_of("prometheus", "json"), "`prometheus`: text 0.0.4.", "prometheus"), _ADMIN_TOKEN,
        ),
        answers={200: Answer(
            text="The figures since the start.",
            contents=(
                Content(schema=ref("Metrics"), examples=(shown("figures", "After an hour", _METRICS),)),
                Content(
                    schema=text(), kind="text/plain",
                    examples=(shown("prometheus", "One line of it", 'tom_runs{state="active"} 1.0\n'),),
                ),
                Content(schema=text(), kind="application/openmetrics-text"),
            ),
        )},
        refusals={
            400: ("invalid_format",), 401: ("missing_admin_token", "invalid_admin_token"), 404: ("not_found",),
            429: ("rate_limited",), 503: ("admin_disabled",),
        },
    ),
    "getDocument": Told(
        summary="This document",
        text="OpenAPI 3.1, the same from an agent alone and from the gateway.",
        answers={200: answered(
            "The document.", record({"openapi": text(), "info": mapping(), "paths": mapping()}, additionalProperties=True),
            shown("begin", "How it begins", {"openapi": "3.1.0", "info": {"title": "Tom"}, "paths": {}}),
        )},
    ),
    "getDocumentation": Told(
        summary="This document as a page",
        text="One page without scripts, which loads nothing from anywhere.",
        answers={200: Answer(
            text="The page.",
            contents=(
                Content(schema=text(), kind="text/html", examples=(shown("page", "The beginning", "<!doctype html>"),)),
            ),
        )},
    ),
}  # fmt: skip
