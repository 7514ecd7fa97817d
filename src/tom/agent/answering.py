"""HTTP answers in the dialects of this agent: the chat page's, OpenAI's and the Tom routes'."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tom.agent import strictjson
from tom.agent.recorded import AnswerPending, is_recorded
from tom.errors import CallerError, InvalidJson, RateLimited, SessionElsewhere, TomError
from tom.openapi.operations import Dialect

_encode = msgspec.json.Encoder().encode


class PayloadTooLarge(CallerError):
    """The request is too large."""

    code = "payload_too_large"
    http_status = 413


class JsonAnswer(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode ``content``."""
        return _encode(content)


def dialect_at(path: str) -> Dialect:
    """The dialect of errors at a path that may be no operation's."""
    return Dialect.OPENAI if path == "/v1" or path.startswith("/v1/") else Dialect.CHAT


def problem(error: TomError, request_id: str, dialect: Dialect) -> Response:
    """An error in the words of the operation that it befell."""
    return openai_error(error, request_id) if dialect is Dialect.OPENAI else chat_error(error, request_id)


def chat_error(error: TomError, request_id: str) -> Response:
    """An error as the chat page has it: ``{"error":{"code","message","details"?},"request_id"}``.

    Too many requests are told flat: ``{"error":"rate_limited","retry_after"}``.
    """
    headers = error_headers(error)
    if isinstance(error, RateLimited):
        body: dict[str, Any] = {"error": "rate_limited", "retry_after": error.details.get("retry_after", 1.0)}
        return JsonAnswer(body, 429, headers)
    body = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return JsonAnswer({"error": body, "request_id": request_id}, error.http_status, headers)


_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def openai_body(error: TomError, request_id: str) -> dict[str, Any]:
    """An error as OpenAI's clients read it: ``{"error":{"message","type","param","code"},"request_id"}``."""
    status = error.http_status
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    told = {"message": error.message, "type": kind, "param": error.details.get("param"), "code": error.code}
    body: dict[str, Any] = {"error": told, "request_id": request_id}
    if isinstance(error, RateLimited):
        body["retry_after"] = error.details.get("retry_after", 1.0)
    return body


def openai_error(error: TomError, request_id: str) -> Response:
    """The answer that tells an error to an OpenAI client.

    What a run has failed of is recorded. Sent again by itself, as these clients do, its message would be answered twice.
    """
    headers = error_headers(error)
    if is_recorded(error) or isinstance(error, AnswerPending):
        headers["x-should-retry"] = "false"
    return JsonAnswer(openai_body(error, request_id), error.http_status, headers)


def error_headers(error: TomError) -> dict[str, str]:
    """The headers that belong to an error."""
    headers = {"Retry-After": "2"} if error.http_status == 503 else {}
    if isinstance(error, RateLimited | SessionElsewhere):
        headers["Retry-After"] = str(max(1, math.ceil(error.details.get("retry_after", 1.0))))
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def tom_error(message: str, status: int = 200, extra: Mapping[str, Any] | None = None) -> Response:
    """An error as the Tom routes have it: ``{"status":"ERROR","message"}``."""
    headers = {"Retry-After": "2"} if status == 503 else {}
    return JsonAnswer({"status": "ERROR", "message": message, **(extra or {})}, status, headers)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, read no further than ``limit`` bytes. Raises `PayloadTooLarge`."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise PayloadTooLarge
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise PayloadTooLarge
        pieces.append(piece)
    return b"".join(pieces)


def parse_body(body: bytes) -> Any:
    """The JSON of a body. Raises `InvalidJson`."""
    try:
        return strictjson.parse_json(body)
    except (ValueError, RecursionError):
        message = "Request body is not valid JSON"
        raise InvalidJson(message) from None
