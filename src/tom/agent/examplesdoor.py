"""The example pages, served by an agent that runs alone: a chat client and a view of its traffic, on the same origin.

They are the real files of ``examples/`` (a wheel carries copies). Nothing of a person is in them.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import tom
from tom.agent.answering import chat_error
from tom.errors import NotFoundHere

KINDS: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
PAGES: Final = ("chat.html", "chat.js", "metrics.html", "metrics.js", "pages.css", "words.js")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src *; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""They may ask any address, for the person writes there which one; and load nothing from it."""


def folder() -> Traversable:
    """Where the pages lie: in the wheel, else in the checkout."""
    packed = resources.files("tom.agent") / "examples"
    return packed if packed.is_dir() else Path(tom.__file__).parents[2] / "examples"


class ExamplesDoor:
    """Hands out the example pages to whoever asks."""

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/examples", self.index, methods=["GET"]),
            Route("/examples/", self.index, methods=["GET"]),
            Route("/examples/{file}", self.file, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """To the chat page."""
        return RedirectResponse("/examples/chat.html", 303)

    async def file(self, request: Request) -> Response:
        """One of the pages' files."""
        name = str(request.path_params["file"])
        if name not in PAGES:
            return chat_error(NotFoundHere(), request.scope["tom.request_id"])
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        content = (folder() / name).read_bytes()
        return Response(content, headers=headers, media_type=f"{KINDS[Path(name).suffix]}; charset=utf-8")
