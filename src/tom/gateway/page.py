"""The page: a login form, one document, its style and script, and the rendering of Markdown for it.

Everything is static or made here; nothing is inline, so the strictest content policy holds. The script and the style
live below a path that names their content, which lets browsers keep them for ever.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from math import ceil
from string import Template
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tom.gateway.render import render_markdown, render_plain

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types tom"
)
"""The policy under which the page works, for the gateway's headers."""

MAX_TEXTS: Final = 50
MAX_BYTES: Final = 1024 * 1024
_RENDER_SECONDS: Final = 3.0
_BODY_SECONDS: Final = 30.0
_MOST_WAITING: Final = 8
_MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page as it is sent."""

    content: bytes
    media_type: str
    etag: str


def login_page(*, next_path: str, error: str | None = None, retry_after: float | None = None) -> str:
    """Render the login form, which works without a script.

    ``next_path`` is where the person wanted to go, a path on this host that the caller has checked. ``error`` is shown
    above the form; ``retry_after`` is in seconds, and says when the next attempt will be looked at.
    """
    return _document("login.html", next=next_path, alert=_alert(error, retry_after))


def index_page(*, user: str, banner: str | None = None) -> str:
    """Render the page of the logged-in ``user``; ``banner`` is a sentence shown on top of it."""
    notice = f'<p class="banner" id="notice">{escape(banner)}</p>' if banner else ""
    return _document("index.html", user=user, notice=notice, initial=user[:1].upper(), modules=_modules())


def page_routes() -> list[BaseRoute]:
    """The routes that the page needs besides the documents.

    ``GET /static/…`` needs no login. ``POST /page/render`` takes ``{"markdown": [text, …]}``, at most `MAX_TEXTS` texts
    and `MAX_BYTES` bytes, and answers ``{"html": [fragment, …]}``; it belongs behind the login and the CSRF rule.
    """
    return [
        Route("/static/{path:path}", _serve_static, methods=["GET"]),
        Route("/page/render", _Rendering().answer, methods=["POST"]),
    ]


def static_path(name: str) -> str:
    """The path of a file of the page, with the digest of all of them in it."""
    return f"/static/{_build()}/{name}"


# --- documents ---------------------------------------------------------------------------------------------------


def _document(name: str, **values: str) -> str:
    """Fill a template. ``alert``, ``modules`` and ``notice`` are HTML made here, everything else is escaped."""
    made_here = {"alert", "modules", "notice"}
    safe = {key: value if key in made_here else escape(value) for key, value in values.items()}
    return _template(name).substitute(safe, static=f"/static/{_build()}")


@cache
def _template(name: str) -> Template:
    return Template(resources.files("tom.gateway").joinpath("templates", name).read_text("utf-8"))


def _alert(error: str | None, retry_after: float | None) -> str:
    sentences = [error.rstrip(".") + "."] if error else []
    if retry_after:
        seconds = ceil(retry_after)
        sentences.append(f"Please wait {seconds} second{'s' if seconds != 1 else ''} before the next attempt.")
    return f'<p class="alert" role="alert">{escape(" ".join(sentences))}</p>' if sentences else ""


def _modules() -> str:
    """All scripts at once: they import each other, and asking for one after the other would take a round trip each."""
    names = sorted(name for name in _files() if name.endswith(".js"))
    return "\n".join(f'<link rel="modulepreload" href="{static_path(name)}">' for name in names)


# --- static files ------------------------------------------------------------------------------------------------


@cache
def _files() -> dict[str, StaticFile]:
    files: dict[str, StaticFile] = {}
    for entry in resources.files("tom.gateway").joinpath("static").iterdir():
        media_type = _MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if media_type:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[entry.name] = StaticFile(content, media_type, etag)
    return files


@cache
def _build() -> str:
    names = sorted((name, file.etag) for name, file in _files().items())
    return hashlib.sha256(repr(names).encode()).hexdigest()[:16]


async def _serve_static(request: Request) -> Response:
    build, _, name = request.path_params["path"].partition("/")
    file = _files().get(name)
    if build != _build() or file is None:
        return _refused(request, 404, "Not found")
    headers = {"ETag": file.etag, "Cache-Control": _FOREVER, "X-Content-Type-Options": "nosniff"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


# --- rendering ---------------------------------------------------------------------------------------------------


class _Rendering:
    """Renders for one gateway: one request at a time, while a few wait.

    Reading Markdown is pure Python and holds the interpreter's lock: more at once would be no faster, and keep the
    event loop from its turn.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rendering")
        self._accepted = 0

    async def answer(self, request: Request) -> Response:
        """``POST /page/render``."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _refused(request, 415, "Content-Type must be application/json")
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _bounded_body(request)
        except TimeoutError:
            return _refused(request, 408, "The body did not arrive in time")
        if body is None:
            return _refused(request, 413, f"At most {MAX_BYTES} bytes are rendered at once")
        texts = _texts(body)
        if texts is None:
            return _refused(request, 400, f"'markdown' must be a list of at most {MAX_TEXTS} texts")
        if sum(len(text.encode()) for text in texts) > MAX_BYTES:
            return _refused(request, 413, f"At most {MAX_BYTES} bytes are rendered at once")
        return JSONResponse({"html": await self._render(texts)}, headers={"Cache-Control": "no-store"})

    async def _render(self, texts: Sequence[str]) -> list[str]:
        """In turn; shown without their form when too many wait already."""
        if self._accepted > _MOST_WAITING:
            return await run_in_threadpool(_render_all, texts, seconds=0)
        self._accepted += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, _render_all, texts)
        # The place is given back when the thread is done, not when its caller stops waiting.
        future.add_done_callback(self._give_back)
        return await asyncio.shield(future)

    def _give_back(self, _done: object) -> None:
        self._accepted -= 1


async def _bounded_body(request: Request) -> bytes | None:
    """The body; None when it is longer than allowed. JSON may escape every character, hence the factor."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > 6 * MAX_BYTES:
            return None
    return bytes(body)


def _texts(body: bytes) -> list[str] | None:
    try:
        texts: list[Any] = json.loads(body)["markdown"]
        if type(texts) is not list or len(texts) > MAX_TEXTS:
            return None
        return [text.encode("utf-8", "replace").decode() for text in texts]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _render_all(texts: Sequence[str], *, seconds: float = _RENDER_SECONDS) -> list[str]:
    """Render one after the other; once the time is used up, what is left is shown without its form."""
    until = time.monotonic() + seconds
    return [render_markdown(text) if time.monotonic() < until else render_plain(text) for text in texts]


def _refused(request: Request, status: int, message: str) -> JSONResponse:
    request_id = request.headers.get("x-request-id")
    return JSONResponse({"status": "ERROR", "message": message, "request_id": request_id}, status)
