"""HTTP answers in the two dialects of this agent: the chat page's and the Tom routes'."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tom.agent import strictjson
from tom.errors import CallerError, InvalidJson, TomError

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


def chat_error(error: TomError, request_id: str) -> Response:
    """An error as the chat page has it: ``{"error":{"code","message","details"?},"request_id"}``."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    headers = {"Retry-After": "2"} if error.http_status == 503 else {}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JsonAnswer({"error": body, "request_id": request_id}, error.http_status, headers)


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
