"""The document of the chat door, for programs and for people: the bodies that an agent alone answers, too."""

import asyncio
from typing import Final

from tom.gateway.request import Reply, Request
from tom.gateway.table import Access, Route
from tom.openapi.operations import Dialect

_FRESH: Final = (b"cache-control", b"no-cache")


def document_routes() -> list[Route]:
    """``/openapi.json`` and ``/docs``, open to everybody."""
    return [
        Route("GET", "/openapi.json", Access.OPEN, _document, dialect=Dialect.CHAT, quiet=True),
        Route("GET", "/docs", Access.OPEN, _page, dialect=Dialect.CHAT, quiet=True),
    ]


async def _document(_request: Request) -> Reply:
    from tom.openapi import document  # noqa: PLC0415 - made when it is first asked for

    body = await asyncio.to_thread(document.rendered)
    return Reply(200, body, [(b"content-type", b"application/json"), _FRESH])


async def _page(_request: Request) -> Reply:
    from tom.openapi import page  # noqa: PLC0415

    body = await asyncio.to_thread(page.rendered)
    policy = (b"content-security-policy", page.policy().encode())
    return Reply(200, body, [(b"content-type", b"text/html; charset=utf-8"), _FRESH, policy])
