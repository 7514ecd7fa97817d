"""A browser, and a small door that speaks the chat frames and does exactly what a test tells it, when it tells it.

The page is the real one, over real sockets; only the house behind it is played, so that a test can stop the world
between two fragments. `test_page_live.py` drives the same page against the whole of Tom.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tom import ids
from tom.agent import frames
from tom.agent.feed import Delta, Restarted
from tom.conversation import codec
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.tool import ToolClass
from tom.conversation.usage import Usage
from tom.gateway import page as tom_page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Door:
    """Plays gateway and agent for one person, `alice`."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self.live: dict[str, Delta] = {}
        self.sockets: dict[WebSocket, set[str]] = {}
        self.received: list[dict[str, Any]] = []
        self.rendered: list[list[str]] = []
        self.epoch = "epoch-1"
        self.silent = False  # take messages, acknowledge nothing
        self.closed = False  # refuse sockets
        self.retired: str | None = None  # refuse messages with this text
        self.logged_in = True
        self.loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    # --- what a test does --------------------------------------------------------------------------------------

    def do(self, work: Any) -> Any:
        assert self.loop is not None
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(10)

    def append(self, event: Event) -> Event:
        return self.do(self._append(event))

    def say(self, cid: str, run: str, text: str, *, offset: int, turn: int = 0, attempt: int = 1) -> None:
        """Send one fragment and remember the text so far, as the agent does."""
        self.do(self._say(Delta(cid, run, None, turn, attempt, offset, text)))

    def tell(self, frame: dict[str, Any]) -> None:
        self.do(self._tell(frame["conversation_id"], frame))

    def restart(self, cid: str, run: str, *, turn: int, attempt: int) -> None:
        self.live.pop(run, None)
        self.tell(frames.restarted(Restarted(cid, run, None, turn, attempt)))

    def cut(self, code: int = 1012) -> None:
        """Close every socket."""
        self.do(self._cut(code))

    def actions(self, name: str) -> list[dict[str, Any]]:
        return [frame for frame in self.received if frame["action"] == name]

    # --- stories -----------------------------------------------------------------------------------------------

    def ask(self, cid: str, text: str, request_id: str | None = None) -> str:
        """A message from somewhere; its run has started."""
        run = self._accept(cid, text, request_id or ids.ulid())
        for event in run[1]:
            self.append(event)
        self.start(cid, run[0])
        return run[0]

    def start(self, cid: str, run: str) -> None:
        self.append(happened.run_started(cid, run_id=run, level=1, services=["time"]))

    def reply(self, cid: str, run: str, text: str, *, turn: int = 0, calls: Any = (), model: str = "small-1") -> None:
        self.live.pop(run, None)
        self.append(
            happened.model_replied(
                cid,
                text,
                run_id=run,
                turn=turn,
                attempt=1,
                finish_reason="stop",
                model=model,
                usage=Usage(30, 12),
                tool_calls=tuple(calls),
            )  # fmt: skip
        )

    def call(self, cid: str, run: str, call_id: str, tool: str, arguments: dict[str, Any], *, turn: int = 0) -> None:
        self.append(
            happened.tool_called(
                cid,
                run_id=run,
                turn=turn,
                call_id=call_id,
                service="time",
                tool=tool,
                arguments=arguments,
                digest="sha256:0",
                tool_class=ToolClass.READ_PUBLIC,
                key="k",
            )  # fmt: skip
        )

    def result(self, cid: str, run: str, call_id: str, text: str, *, turn: int = 0, error: bool = False) -> None:
        self.append(
            happened.tool_returned(cid, text, run_id=run, turn=turn, call_id=call_id, is_error=error, duration_ms=420)
        )

    def complete(self, cid: str, run: str) -> None:
        usage = Usage(60, 24)
        self.append(happened.run_completed(cid, run_id=run, usage=usage, finish_reason="stop", hops=1))

    def answered(self, cid: str, question: str, answer: str, model: str = "small-1") -> str:
        run = self.ask(cid, question)
        self.reply(cid, run, answer, model=model)
        self.complete(cid, run)
        return run

    # --- inside the loop ---------------------------------------------------------------------------------------

    async def _append(self, event: Event) -> Event:
        kept = self.events.setdefault(event.conversation_id, [])
        stored = event.stored(event_id=ids.ulid(), seq=len(kept) + 1, timestamp=_now())
        kept.append(stored)
        await self._tell(event.conversation_id, frames.event(stored, stored.request_id))
        return stored

    async def _say(self, delta: Delta) -> None:
        before = self.live.get(delta.run_id)
        so_far = before.text if before and before.attempt == delta.attempt and before.turn == delta.turn else ""
        whole = so_far[: delta.offset] + delta.text
        self.live[delta.run_id] = Delta(delta.conversation_id, delta.run_id, None, delta.turn, delta.attempt, 0, whole)
        await self._tell(delta.conversation_id, frames.chunk(delta))

    async def _tell(self, cid: str, frame: dict[str, Any]) -> None:
        for socket, topics in list(self.sockets.items()):
            if cid in topics:
                await socket.send_text(frames.render(frame))

    async def _cut(self, code: int) -> None:
        for socket in list(self.sockets):
            self.sockets.pop(socket, None)
            await socket.close(code)

    def _accept(self, cid: str, text: str, request_id: str) -> tuple[str, list[Event]]:
        run = ids.ulid()
        opening = [] if self.events.get(cid) else [happened.conversation_opened(cid, surface="ws")]
        received = happened.message_received(
            cid, text, run_id=run, request_id=request_id, payload_digest="d", surface="ws"
        )
        return run, [*opening, received]

    # --- doors -------------------------------------------------------------------------------------------------

    async def chat(self, socket: WebSocket) -> None:
        if self.closed or not self.logged_in:
            await socket.close(4401)
            return
        await socket.accept()
        self.sockets[socket] = set()
        try:
            while True:
                frame = json.loads(await socket.receive_text())
                self.received.append(frame)
                await getattr(self, f"_do_{frame['action']}")(socket, frame["request_id"], frame["payload"])
        except (WebSocketDisconnect, RuntimeError):
            self.sockets.pop(socket, None)

    async def _do_chat(self, socket: WebSocket, request_id: str, payload: dict[str, Any]) -> None:
        cid = payload["conversation_id"]
        if payload["text"] == self.retired:
            await socket.send_text(frames.render(frames.failed(request_id, "storage_full", "The disk is full.", {})))
            return
        if self.silent:
            return
        known = [event for event in self.events.get(cid, ()) if event.request_id == request_id]
        if not known:
            _, events = self._accept(cid, payload["text"], request_id)
            known = [await self._append(event) for event in events]
        event = known[-1]
        accepted = frames.accepted(
            request_id, conversation_id=cid, run_id=event.run_id, seq=event.seq, durable=True, queued=0
        )
        await socket.send_text(frames.render(accepted))

    async def _do_resume(self, socket: WebSocket, request_id: str, payload: dict[str, Any]) -> None:
        cid = payload["conversation_id"]
        if cid not in self.events:
            refused = frames.failed(request_id, "conversation_not_found", "There is no such conversation.", {})
            await socket.send_text(frames.render(refused))
            return
        reload = payload.get("epoch", self.epoch) != self.epoch
        for event in self.events[cid][0 if reload else payload["after"] :]:
            await socket.send_text(frames.render(frames.event(event, event.request_id)))
        self.sockets[socket].add(cid)
        running = [run for run, delta in self.live.items() if delta.conversation_id == cid]
        facts: dict[str, Any] = {"last_seq": len(self.events[cid]), "run_id": running[0] if running else None}
        facts |= {"epoch": self.epoch} | ({"reload": True} if reload else {})
        await socket.send_text(frames.render(frames.done(request_id, "caught_up", conversation_id=cid, **facts)))
        for run in running:
            await socket.send_text(frames.render(frames.chunk(self.live[run], replay=True)))

    async def _do_unsubscribe(self, socket: WebSocket, request_id: str, payload: dict[str, Any]) -> None:
        self.sockets[socket].discard(payload["conversation_id"])

    async def _do_stop(self, socket: WebSocket, request_id: str, payload: dict[str, Any]) -> None:
        self.live.pop(payload["run_id"], None)
        usage = Usage(1, 1)
        await self._append(
            happened.run_cancelled(payload["conversation_id"], run_id=payload["run_id"], usage=usage, reason="stopped")
        )

    async def _do_retry(self, socket: WebSocket, request_id: str, payload: dict[str, Any]) -> None:
        again = happened.run_retried(
            payload["conversation_id"], run_id=ids.ulid(), retry_of=payload["run_id"], request_id=request_id
        )
        await self._append(again)

    async def _do_ping(self, socket: WebSocket, request_id: str, payload: dict[str, Any]) -> None:
        await socket.send_text(frames.render(frames.pong(request_id, _now())))

    async def sessions(self, request: Request) -> Response:
        if not self.logged_in:
            return JSONResponse({"status": "ERROR"}, 401)
        rows = [self._row(cid, events) for cid, events in self.events.items()]
        return JSONResponse({"sessions": sorted(rows, key=lambda row: row["updated_at"], reverse=True), "next": None})

    def _row(self, cid: str, events: list[Event]) -> dict[str, Any]:
        titles = [event.content for event in events if event.type == "message.received"]
        state = "idle" if str(events[-1].type) in {"run.completed", "run.failed", "run.cancelled"} else "running"
        return {
            "id": cid, "title": titles[0] if titles else None, "state": state,
            "updated_at": events[-1].timestamp, "last_seq": len(events),
        }  # fmt: skip

    async def stored(self, request: Request) -> Response:
        cid = request.path_params["id"]
        if cid not in self.events:
            return JSONResponse({"error": {"code": "session_not_found", "message": "no"}}, 404)
        after, limit = int(request.query_params["after"]), int(request.query_params["limit"])
        found = self.events[cid][after : after + limit]
        return JSONResponse({
            "session_id": cid, "events": [codec.to_json(event) for event in found], "first_seq": 1,
            "last_seq": len(self.events[cid]), "next_after": after + len(found), "epoch": self.epoch,
        })  # fmt: skip

    async def index(self, request: Request) -> Response:
        if not self.logged_in:
            return RedirectResponse("/auth?next=/", 303)
        return HTMLResponse(tom_page.index_page(user="alice"))

    async def auth(self, request: Request) -> Response:
        return HTMLResponse(tom_page.login_page(next_path=request.query_params.get("next", "/")))

    async def log_in(self, request: Request) -> Response:
        form = await request.form()
        if form["password"] != "correct horse":
            return HTMLResponse(tom_page.login_page(next_path=str(form["next"]), error="Invalid credentials"), 401)
        self.logged_in = True
        return RedirectResponse(str(form["next"]), 303)

    def app(self) -> Any:
        routes = [
            Route("/", self.index), Route("/auth", self.auth), Route("/login", self.log_in, methods=["POST"]),
            Route("/sessions", self.sessions), Route("/sessions/{id}/events", self.stored),
            WebSocketRoute("/ws/chat", self.chat), *tom_page.page_routes(),
        ]  # fmt: skip
        return with_policy(Starlette(routes=routes))


def with_policy(app: Any) -> Any:
    """Send the content policy with every answer, as the gateway does."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", tom_page.CONTENT_SECURITY_POLICY.encode())
                message["headers"] = [*message["headers"], policy]
            await send(message)

        await app(scope, receive, send_with_policy if scope["type"] == "http" else send)

    return wrapped


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


@pytest.fixture
def door() -> Iterator[Door]:
    """The played house, listening on loopback."""
    played = Door()
    server = uvicorn.Server(
        uvicorn.Config(played.app(), port=0, log_level="warning", ws="websockets-sansio", lifespan="off")
    )

    def serve() -> None:
        async def main() -> None:
            played.loop = asyncio.get_running_loop()
            await server.serve()

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    played.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield played
    server.should_exit = True
    server.force_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without anything that calls home."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, door: Door) -> Iterator[Callable[..., Page]]:
    """``open_page(path)`` opens a device of its own. Whatever the browser complains about fails the test."""
    contexts = []
    complaints: list[str] = []

    def open_(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: complaints.append(message.text) if _bad(message) else None)
        page.on("request", lambda request: complaints.append(request.url) if _foreign(request.url, door) else None)
        page.goto(door.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def _bad(message: Any) -> bool:
    # A socket that the test closes and a 404 that it asks for are reported as errors; a policy violation is one.
    expected = "WebSocket connection to" in message.text or "Failed to load resource" in message.text
    return message.type == "error" and not expected


def _foreign(url: str, door: Door) -> bool:
    return not url.startswith((door.url, door.url.replace("http", "ws"), "data:", "blob:"))
