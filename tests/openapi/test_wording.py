"""Errors as they go out: bodies, headers and the last event of a stream."""

import json

import pytest

from tom.errors import (
    InvalidToken,
    MethodNotAllowed,
    PayloadTooLarge,
    RateLimited,
    SessionElsewhere,
    ShuttingDown,
    TomError,
)
from tom.openapi.operations import Dialect
from tom.openapi.wording import error_body, error_headers, last_event

ACCEPTED = (
    b'id: 1\nevent: accepted\ndata: {"request_id":"r\\"1","status":"accepted"}\n\nevent: processing\ndata: {}\n\n'
)


class Waiting(TomError):
    """Not now."""

    http_status = 503
    retry_after = 7.2


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (TomError(), {}),
        (InvalidToken(), {"WWW-Authenticate": "Bearer"}),
        (MethodNotAllowed({"POST", "GET"}), {"Allow": "GET, POST"}),
        (ShuttingDown(), {"Retry-After": "2"}),
        (Waiting(), {"Retry-After": "8"}),
        (RateLimited(retry_after=0.2), {"Retry-After": "1"}),
        (RateLimited(retry_after=2.1), {"Retry-After": "3"}),
        (SessionElsewhere(), {"Retry-After": "1"}),
        (SessionElsewhere(retry_after=9), {"Retry-After": "9"}),
        (TomError(retry_after=9), {}),
    ],
)
def test_an_error_has_its_headers(error, headers):
    assert error_headers(error) == headers


def test_an_error_has_its_body_in_each_dialect():
    error = PayloadTooLarge(limit=3)
    assert error_body(error, Dialect.CHAT, "i") == {
        "error": {"code": "payload_too_large", "message": "The request body is too large.", "details": {"limit": 3}},
        "request_id": "i",
    }
    assert error_body(error, Dialect.OPENAI, "i") == {
        "error": {
            "message": "The request body is too large.", "type": "invalid_request_error", "param": None,
            "code": "payload_too_large",
        },
        "request_id": "i",
    }  # fmt: skip
    many = RateLimited(retry_after=2.0)
    assert error_body(many, Dialect.CHAT, "i") == {"error": "rate_limited", "retry_after": 2.0}
    told = error_body(many, Dialect.OPENAI, "i")
    assert (told["error"]["type"], told["retry_after"]) == ("rate_limit_error", 2.0)
    assert error_body(TomError(), Dialect.OPENAI, "i")["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("told", "request_id"),
    [
        (ACCEPTED, 'r"1'),
        (ACCEPTED[:40], "unknown"),
        (b"", "unknown"),
        (b": ping\n\n", "unknown"),
        (b'event: event\ndata: {"request_id":null}\n\n', "unknown"),
        (b"event: event\ndata: 1\n\n", "unknown"),
    ],
)
def test_the_last_event_of_a_stream_is_a_frame_that_names_the_message(told, request_id):
    kind, data = last_event(InvalidToken(), Dialect.CHAT, "i", told).decode().strip().split("\n")
    assert kind == "event: error"
    frame = json.loads(data.removeprefix("data: "))
    assert list(frame) == ["request_id", "status", "chunk", "error"]
    assert (frame["request_id"], frame["chunk"]["error"]) == (request_id, frame["error"]["message"])


def test_the_last_piece_of_a_completion_is_an_error_and_its_mark():
    error, done = last_event(InvalidToken(), Dialect.OPENAI, "i", b"").decode().strip().split("\n\n")
    assert json.loads(error.removeprefix("data: ")) == error_body(InvalidToken(), Dialect.OPENAI, "i")
    assert done == "data: [DONE]"
