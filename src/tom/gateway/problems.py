"""An error as the door that was used says it: the Tom routes' shape, the chat page's shape, or a page."""

import math
from collections.abc import Mapping
from enum import Enum
from html import escape
from typing import Any, Final
from urllib.parse import quote

from tom.accounts.refusals import TooManyAttempts
from tom.errors import AuthenticationRequired, ConflictingCredentials, InvalidToken, RateLimited, TomError
from tom.gateway.refusals import MethodNotAllowed
from tom.gateway.request import Header, Reply, Request, json_reply, page_reply, redirect

BUSY_RETRY_AFTER: Final = 5.0


class Dialect(Enum):
    """How a route words its errors."""

    TOM = "tom"
    CHAT = "chat"
    OPENAI = "openai"


class InternalError(TomError):
    """Internal error."""


def problem(request: Request, error: TomError, dialect: Dialect) -> Reply:
    """The answer that tells ``error``."""
    if request.wants_page:
        if isinstance(error, AuthenticationRequired):
            return redirect(f"/auth?next={quote(_target(request))}")
        return _page(request, error)
    body = error_body(error, dialect, request.request_id)
    return json_reply(body, error.http_status, error_headers(error))


def error_body(error: TomError, dialect: Dialect, request_id: str) -> Mapping[str, Any]:
    """The body of an error."""
    if dialect is Dialect.OPENAI:
        return _openai_body(error, request_id)
    if isinstance(error, TooManyAttempts | RateLimited):
        return {"error": "rate_limited", "retry_after": _retry_after(error)}
    message = text_of(error)
    if dialect is Dialect.CHAT:
        told = {"code": error.code, "message": message} | ({"details": error.details} if error.details else {})
        return {"error": told, "request_id": request_id}
    return {"status": "ERROR", "message": message, "request_id": request_id, **error.details}


_TYPES: Final[Mapping[int, str]] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def _openai_body(error: TomError, request_id: str) -> Mapping[str, Any]:
    status = error.http_status
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    told = {"message": text_of(error), "type": kind, "param": error.details.get("param"), "code": error.code}
    body: dict[str, Any] = {"error": told, "request_id": request_id}
    return body | {"retry_after": _retry_after(error)} if status == 429 else body


def _retry_after(error: TomError) -> float | None:
    """Seconds until another try makes sense, where that is known."""
    default = BUSY_RETRY_AFTER if error.http_status == 503 else None
    return error.details.get("retry_after", getattr(error, "retry_after", default))


def error_headers(error: TomError) -> list[Header]:
    """The headers that belong to an error."""
    headers: list[Header] = []
    retry_after = _retry_after(error)
    if retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after))).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, AuthenticationRequired | InvalidToken | ConflictingCredentials):
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def text_of(error: TomError) -> str:
    """The message without a full stop at its end: the contract's texts have none."""
    return error.message.removesuffix(".")


def document(title: str, content: str) -> str:
    """A page of the gateway's own; ``content`` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Tom</title></head><body><main>{content}</main></body></html>"
    )


def _page(request: Request, error: TomError) -> Reply:
    title = text_of(error)
    content = (
        f"<h1>{escape(title)}</h1><p>Error {error.http_status}, request <code>{escape(request.request_id)}</code>.</p>"
        '<p><a href="/">Go to the first page</a></p>'
    )
    return page_reply(document(title, content), error.http_status, error_headers(error))


def _target(request: Request) -> str:
    """What was asked for, to go on with after the login."""
    query: bytes = request.scope["query_string"]
    path: str = request.scope.get("raw_path", b"/").decode("latin-1")
    return f"{path}?{query.decode('latin-1')}" if query else path
