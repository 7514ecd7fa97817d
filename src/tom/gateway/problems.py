"""An error as the door that was used says it: the Tom routes' shape, the chat page's shape, or a page."""

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from tom.accounts.refusals import InvalidCredentials, PasswordRequired
from tom.errors import AuthenticationRequired, PayloadTooLarge, TomError
from tom.gateway.request import Header, Reply, Request, json_reply, page_reply, redirect
from tom.openapi import wording
from tom.openapi.operations import Dialect


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
    if dialect is not Dialect.TOM or error.http_status == 429:
        return wording.error_body(error, dialect, request_id)
    details = {} if isinstance(error, PayloadTooLarge) else error.details
    return {"status": "ERROR", "message": text_of(error), "request_id": request_id, **details}


def error_headers(error: TomError) -> list[Header]:
    """The headers that belong to an error."""
    named = [(name.lower().encode(), value.encode()) for name, value in wording.error_headers(error).items()]
    if isinstance(error, InvalidCredentials | PasswordRequired):  # no token would do
        return [header for header in named if header[0] != b"www-authenticate"]
    return named


def last_event(request: Request, error: TomError, dialect: Dialect, told: bytes) -> bytes:
    """What an event stream says that ends before its time; ``told`` is what it began with."""
    return wording.last_event(error, dialect, request.request_id, told)


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
