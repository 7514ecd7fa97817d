"""The document of the chat door, for programs and for people."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.cell import Cell
from tom.agent.guarding import routes_of


class DocumentDoor:
    """Serves ``/openapi.json`` and ``/docs`` to everybody."""

    def __init__(self, cell: Cell) -> None:
        """The same for every cell."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return routes_of(self._cell, {"getDocument": self.document, "getDocumentation": self.page})

    async def document(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """OpenAPI 3.1."""
        from tom.openapi import document  # noqa: PLC0415 - made when it is first asked for

        body = await asyncio.to_thread(document.rendered)
        return Response(body, media_type="application/json", headers=_FRESH)

    async def page(self, request: Request) -> Response:  # noqa: ARG002
        """The same as a page, under a policy of its own."""
        from tom.openapi import page  # noqa: PLC0415

        body = await asyncio.to_thread(page.rendered)
        headers = {**_FRESH, "Content-Security-Policy": page.policy(), "Referrer-Policy": "no-referrer"}
        return Response(body, media_type="text/html", headers=headers)


_FRESH = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
