"""Errors as they go out over HTTP, the same words in both programs: bodies, headers, the last event of a stream."""

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from tom.errors import MethodNotAllowed, TomError
from tom.openapi.operations import Dialect

RETRY_SECONDS: Final = 2.0
"""When to come back after a 503 that does not say so itself."""

_TYPES: Final[Mapping[int, str]] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_WAITING: Final[Mapping[int, float]] = {429: 1.0, 503: RETRY_SECONDS}
_ELSEWHERE: Final = "session_elsewhere"
_DONE: Final = b"data: [DONE]\n\n"


def error_body(error: TomError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    """The body of an error at the chat door; at the routes of Tom bodies are other ones."""
    return openai_body(error, request_id) if dialect is Dialect.OPENAI else chat_body(error, request_id)


def chat_body(error: TomError, request_id: str) -> dict[str, Any]:
    """``{"error":{"code","message","details"?},"request_id"}``; too many requests are told flat: ``{"error","retry_after"}``."""
    if error.http_status == 429:
        return {"error": "rate_limited", "retry_after": retry_after(error)}
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        told["details"] = error.details
    return {"error": told, "request_id": request_id}


def openai_body(error: TomError, request_id: str) -> dict[str, Any]:
    """As OpenAI's clients read it: ``{"error":{"message","type","param","code"},"request_id"}``."""
    status = error.http_status
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    told = {"message": error.message, "type": kind, "param": error.details.get("param"), "code": error.code}
    body: dict[str, Any] = {"error": told, "request_id": request_id}
    return body | {"retry_after": retry_after(error)} if status == 429 else body


def error_headers(error: TomError) -> dict[str, str]:
    """The headers that belong to an error."""
    headers: dict[str, str] = {}
    seconds = retry_after(error)
    if seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def retry_after(error: TomError) -> float | None:
    """Seconds until another try makes sense, where that is known."""
    waits = error.http_status in _WAITING or error.code == _ELSEWHERE
    if not waits:
        return None
    default = getattr(error, "retry_after", _WAITING.get(error.http_status, 1.0))
    return error.details.get("retry_after", default)


def last_event(error: TomError, dialect: Dialect, request_id: str, told: bytes) -> bytes:
    """Why an event stream that has begun ends before its time.

    ``told`` is what the stream began with; ``request_id`` is of the HTTP request.
    """
    if dialect is Dialect.OPENAI:
        return b"data: " + msgspec.json.encode(openai_body(error, request_id)) + b"\n\n" + _DONE
    frame = {
        "request_id": _named_in(told) or "unknown",
        "status": "error",
        "chunk": {"error": error.message},
        "error": {"code": error.code, "message": error.message, "details": error.details},
    }
    return b"event: error\ndata: " + msgspec.json.encode(frame) + b"\n\n"


def answer_bytes(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A whole answer, after which the connection is closed; for what is refused before there is a request."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}".encode(), *(b"%s: %s" % header for header in headers)]
    lines += [b"content-length: %d" % len(body), b"connection: close", b"", body]
    return b"\r\n".join(lines)


class _Frame(msgspec.Struct):
    """What of a frame is asked here."""

    request_id: str | None = None


def _named_in(told: bytes) -> str | None:
    """The id of the message that a stream answers; its first event has it."""
    line = told.partition(b"data: ")[2].partition(b"\n")[0]
    try:
        return msgspec.json.decode(line, type=_Frame).request_id
    except msgspec.DecodeError:
        return None
