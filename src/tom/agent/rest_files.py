"""The REST door's files: what came with a message, and the pictures that tools returned.

A file goes out as JSON, its content as base64 or text: nothing that a service or a person brought is ever an answer
that a browser could take for a page of ours.
"""

import base64
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer
from tom.agent.attachments import image_type
from tom.agent.cell import Cell
from tom.agent.guarding import routes_of
from tom.agent.rest_faults import SessionNotFound
from tom.agent.visiting import session_of
from tom.errors import CallerError

_NAME = re.compile(r"[0-9a-f]{64}")


class FileNotFound(CallerError):
    """There is no such file."""

    code = "not_found"
    http_status = 404


class FilesDoor:
    """Hands out the files of one person's conversations."""

    def __init__(self, cell: Cell) -> None:
        """Read from ``cell``."""
        self._cell = cell

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return routes_of(self._cell, {"getFile": self.read})

    async def read(self, request: Request) -> Response:
        """``{"media_type", "size", "data"}`` of a picture (base64), ``{"media_type", "size", "text"}`` of a text."""
        content = await self._content(request)
        answer: dict[str, Any] = {"media_type": image_type(content), "size": len(content)}
        if answer["media_type"] is not None:
            return JsonAnswer(answer | {"data": base64.b64encode(content).decode()})
        return JsonAnswer(answer | {"media_type": "text/plain", "text": content.decode("utf-8", "replace")})

    async def _content(self, request: Request) -> bytes:
        file = request.path_params["file"]
        if not _NAME.fullmatch(file):
            raise FileNotFound
        try:
            session = (await session_of(self._cell, request)).id
        except SessionNotFound:
            raise FileNotFound from None  # a file of somebody else is one that does not exist
        content = await self._cell.files.read(session, file)
        if content is None:
            raise FileNotFound
        return content
