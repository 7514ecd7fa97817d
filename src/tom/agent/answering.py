"""HTTP answers in the dialects of this agent: the chat page's, OpenAI's and the Tom routes'."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tom.agent import strictjson
from tom.agent.recorded import AnswerPending, is_recorded
from tom.errors import InvalidJson, PayloadTooLarge, TomError
from tom.openapi.operations import Dialect
from tom.openapi.wording import RETRY_SECONDS, chat_body, error_headers, openai_body

_encode = msgspec.json.Encoder().encode


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
    """An error as the chat page has it."""
    return JsonAnswer(chat_body(error, request_id), error.http_status, error_headers(error))


def openai_error(error: TomError, request_id: str) -> Response:
    """The answer that tells an error to an OpenAI client.

    What a run has failed of is recorded. Sent again by itself, as these clients do, its message would be answered twice.
    """
    headers = error_headers(error)
    if is_recorded(error) or isinstance(error, AnswerPending):
        headers["x-should-retry"] = "false"
    return JsonAnswer(openai_body(error, request_id), error.http_status, headers)


def tom_error(message: str, status: int = 200, extra: Mapping[str, Any] | None = None) -> Response:
    """An error as the Tom routes have it: ``{"status":"ERROR","message"}``."""
    headers = {"Retry-After": f"{RETRY_SECONDS:.0f}"} if status == 503 else {}
    return JsonAnswer({"status": "ERROR", "message": message, **(extra or {})}, status, headers)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, read no further than ``limit`` bytes. Raises `PayloadTooLarge`."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise PayloadTooLarge(limit=limit)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise PayloadTooLarge(limit=limit)
        pieces.append(piece)
    return b"".join(pieces)


def parse_body(body: bytes) -> Any:
    """The JSON of a body. Raises `InvalidJson`."""
    try:
        return strictjson.parse_json(body)
    except (ValueError, RecursionError):
        message = "Request body is not valid JSON"
        raise InvalidJson(message) from None
