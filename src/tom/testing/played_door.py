"""A played house: gateway and agent of one person, who do exactly what a test says, when it says it.

It speaks the documented HTTP answers and the frames of the chat door over a real socket, so that a client (the page,
``tom chat``) can be watched between two fragments of a reply, in a cut connection, or before an acknowledgement. It
is not the product: what Tom itself does is tested with `tom.testing.house`.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tom import ids
from tom.agent import frames
from tom.agent.feed import Delta, Progressed, Restarted
from tom.clock import SystemClock, timestamp
from tom.conversation import asks, codec
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass
from tom.conversation.usage import Usage
from tom.gateway import page as tom_page
from tom.testing.played_asks import PlayedAsks

WAIT_SECONDS = 10.0
PASSWORD = "correct horse"  # noqa: S105 - of somebody who exists only in tests


class PlayedDoor:
    """Plays gateway and agent for one person."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self.events: dict[str, list[Event]] = {}
        self.live: dict[str, Delta] = {}
        self.sockets: dict[WebSocket, set[str]] = {}
        self.received: list[dict[str, Any]] = []
        self.epoch = "epoch-1"
        self.silent = False
        """Take messages and acknowledge nothing."""
        self.closed = False
        """Refuse sockets."""
        self.refused_text: str | None = None
        """Refuse messages with this text."""
        self.logged_in = True
        self.user = "alice"
        self.asks = PlayedAsks(self.events, self._append)
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- what happens, when the test says so ---------------------------------------------------------------------

    def append(self, event: Event) -> None:
        """Store an event and tell those who listen."""
        self._do(self._append(event))

    def say(self, cid: str, run: str, text: str, *, offset: int, turn: int = 0, attempt: int = 1) -> None:
        """Send one fragment of a reply, and remember the text so far for readers who come later."""
        self._do(self._say(Delta(cid, run, None, turn, attempt, offset, text)))

    def restart(self, cid: str, run: str, *, turn: int, attempt: int) -> None:
        """Withdraw what was said of a turn."""
        self.live.pop(run, None)
        self._do(self._tell(cid, frames.restarted(Restarted(cid, run, None, turn, attempt))))

    def progress(
        self, cid: str, run: str, call_id: str, done: float, total: float | None, message: str = "", *, tool: str
    ) -> None:
        """A tool of the service `time` says how far it is."""
        item = Progressed(cid, run, None, 0, call_id, "time", tool, done, total, message)
        self._do(self._tell(cid, frames.progressed(item)))

    def wait_for(self, asked: Event) -> Event:
        """The run asks its person and waits; returns the ask as it was stored."""
        self.append(asked)
        kind = str(asked.type).partition(".")[0]
        self.append(asks.run_waiting(asked.conversation_id, run_id=asked.run_id, reason=kind))
        return self.events[asked.conversation_id][-2]

    def cut(self, code: int = 1012) -> None:
        """Close every socket."""
        self._do(self._cut(code))

    def actions(self, name: str) -> list[dict[str, Any]]:
        """What clients sent of one action."""
        return [frame for frame in self.received if frame["action"] == name]

    def listens(self, cid: str) -> bool:
        """Whether any socket follows the conversation."""
        return any(cid in topics for topics in self.sockets.values())

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` holds. Raises TimeoutError after ten seconds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("it did not happen")
            time.sleep(0.005)

    def wait_for_reader(self, cid: str) -> None:
        """Wait until somebody follows the conversation. Raises TimeoutError."""
        self.wait(lambda: self.listens(cid))

    def wait_for_message(self) -> tuple[str, str]:
        """The conversation and run of the newest message, once its sender follows it. Raises TimeoutError."""
        self.wait(lambda: any(self.listens(cid) for cid in self.events))
        cid = next(cid for cid in self.events if self.listens(cid))
        return cid, next(event.run_id for event in reversed(self.events[cid]) if event.type == "message.received")

    # --- stories -------------------------------------------------------------------------------------------------

    def ask(self, cid: str, text: str) -> str:
        """A message came from some other device, and its run has started."""
        events = self._accept(cid, text, ids.ulid())
        for event in events:
            self.append(event)
        self.start(cid, events[-1].run_id)
        return events[-1].run_id

    def start(self, cid: str, run: str) -> None:
        """The run leaves the queue."""
        self.append(happened.run_started(cid, run_id=run, level=1, services=["time"]))

    def reply(
        self, cid: str, run: str, text: str, *, turn: int = 0, calls: Sequence[ToolCall] = (), model: str = "small-1"
    ) -> None:
        """A turn's reply is stored."""
        self.live.pop(run, None)
        reply = happened.model_replied(
            cid, text, run_id=run, turn=turn, attempt=1, finish_reason="stop", model=model, usage=Usage(30, 12),
            tool_calls=tuple(calls),
        )  # fmt: skip
        self.append(reply)

    def call(self, cid: str, run: str, call_id: str, tool: str, arguments: Mapping[str, Any], *, turn: int = 0) -> None:
        """A tool of the service `time` is about to be called."""
        called = happened.tool_called(
            cid, run_id=run, turn=turn, call_id=call_id, service="time", tool=tool, arguments=arguments,
            digest="sha256:0", tool_class=ToolClass.READ_PUBLIC, key="k",
        )  # fmt: skip
        self.append(called)

    def result(self, cid: str, run: str, call_id: str, text: str, *, turn: int = 0, error: bool = False) -> None:
        """A call came back after 420 ms."""
        self.append(
            happened.tool_returned(cid, text, run_id=run, turn=turn, call_id=call_id, is_error=error, duration_ms=420)
        )

    def complete(self, cid: str, run: str) -> None:
        """The run is over."""
        self.append(happened.run_completed(cid, run_id=run, usage=Usage(60, 24), finish_reason="stop", hops=1))

    def answered(self, cid: str, question: str, answer: str, model: str = "small-1") -> str:
        """A question and its whole answer."""
        run = self.ask(cid, question)
        self.reply(cid, run, answer, model=model)
        self.complete(cid, run)
        return run

    # --- inside the loop -----------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            raise RuntimeError("the door is not open")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _append(self, event: Event) -> None:
        kept = self.events.setdefault(event.conversation_id, [])
        stored = event.stored(event_id=ids.ulid(), seq=len(kept) + 1, timestamp=_now())
        kept.append(stored)
        await self._tell(event.conversation_id, frames.event(stored, stored.request_id))

    async def _say(self, delta: Delta) -> None:
        before = self.live.get(delta.run_id)
        same = before is not None and (before.turn, before.attempt) == (delta.turn, delta.attempt)
        whole = (before.text if before and same else "")[: delta.offset] + delta.text
        self.live[delta.run_id] = Delta(delta.conversation_id, delta.run_id, None, delta.turn, delta.attempt, 0, whole)
        await self._tell(delta.conversation_id, frames.chunk(delta))

    async def _tell(self, cid: str, frame: Mapping[str, Any]) -> None:
        for socket, topics in list(self.sockets.items()):
            everywhere = "*" in topics and frame["status"] == "event"
            if cid in topics or everywhere:
                try:
                    await socket.send_text(frames.render(frame))
                except WebSocketDisconnect:  # it left between two frames
                    self.sockets.pop(socket, None)

    async def _cut(self, code: int) -> None:
        for socket in list(self.sockets):
            self.sockets.pop(socket, None)
            await socket.close(code)

    def _accept(
        self, cid: str, text: str, request_id: str, attachments: Sequence[Mapping[str, Any]] = ()
    ) -> list[Event]:
        kept = [{key: value for key, value in one.items() if key != "data"} | {"file": "0" * 64} for one in attachments]
        received = happened.message_received(
            cid, text, run_id=ids.ulid(), request_id=request_id, payload_digest="d", surface="ws", attachments=kept
        )
        return [received] if self.events.get(cid) else [happened.conversation_opened(cid, surface="ws"), received]

    # --- the socket ----------------------------------------------------------------------------------------------

    async def _chat(self, socket: WebSocket) -> None:
        if self.closed:
            await socket.send_denial_response(JSONResponse({"error": {"message": "away"}}, 503))
            return
        if not self.logged_in:
            await socket.send_denial_response(JSONResponse({"error": {"message": "log in"}}, 401))
            return
        await socket.accept()
        self.sockets[socket] = set()
        doing = {
            "chat": self._take, "prompt": self._take, "resume": self._resume, "subscribe": self._subscribe, "unsubscribe": self._leave, "stop": self._stop,
            "retry": self._retry, "ping": self._pong,
        }  # fmt: skip
        try:
            while True:
                frame = json.loads(await socket.receive_text())
                self.received.append(frame)
                await doing[frame["action"]](socket, frame["request_id"], frame["payload"])
        except (WebSocketDisconnect, RuntimeError):
            self.sockets.pop(socket, None)

    async def _take(self, socket: WebSocket, request_id: str, payload: Mapping[str, Any]) -> None:
        cid = payload["conversation_id"]
        text = payload.get("text", "/" + payload.get("name", ""))
        if text == self.refused_text:
            await socket.send_text(frames.render(frames.failed(request_id, "storage_full", "The disk is full.", {})))
            return
        if self.silent:
            return
        if not any(event.request_id == request_id for event in self.events.get(cid, ())):
            for event in self._accept(cid, text, request_id, payload.get("attachments", ())):
                await self._append(event)
        taken = next(event for event in self.events[cid] if event.request_id == request_id)
        accepted = frames.accepted(
            request_id, conversation_id=cid, run_id=taken.run_id, seq=taken.seq, durable=True, queued=0
        )
        await socket.send_text(frames.render(accepted))

    async def _resume(self, socket: WebSocket, request_id: str, payload: Mapping[str, Any]) -> None:
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
        facts |= {"epoch": self.epoch, **({"reload": True} if reload else {})}
        await socket.send_text(frames.render(frames.done(request_id, "caught_up", conversation_id=cid, **facts)))
        for run in running:
            await socket.send_text(frames.render(frames.chunk(self.live[run], replay=True)))

    async def _subscribe(self, socket: WebSocket, request_id: str, payload: Mapping[str, Any]) -> None:
        self.sockets[socket].add(payload["conversation_id"])
        await socket.send_text(frames.render(frames.done(request_id, "subscribed")))

    async def _leave(self, socket: WebSocket, _request_id: str, payload: Mapping[str, Any]) -> None:
        self.sockets[socket].discard(payload["conversation_id"])

    async def _stop(self, _socket: WebSocket, _request_id: str, payload: Mapping[str, Any]) -> None:
        cid, run = payload["conversation_id"], payload["run_id"]
        self.live.pop(run, None)
        await self._append(happened.run_cancelled(cid, run_id=run, usage=Usage(1, 1), reason="stopped"))

    async def _retry(self, socket: WebSocket, request_id: str, payload: Mapping[str, Any]) -> None:
        cid = payload["conversation_id"]
        again = happened.run_retried(cid, run_id=ids.ulid(), retry_of=payload["run_id"], request_id=request_id)
        await self._append(again)
        accepted = frames.accepted(
            request_id, conversation_id=cid, run_id=again.run_id, seq=len(self.events[cid]), durable=True, queued=0
        )
        await socket.send_text(frames.render(accepted))

    async def _pong(self, socket: WebSocket, request_id: str, _payload: Mapping[str, Any]) -> None:
        await socket.send_text(frames.render(frames.pong(request_id, _now())))

    # --- HTTP ----------------------------------------------------------------------------------------------------

    async def _sessions(self, _request: Request) -> Response:
        if not self.logged_in:
            return JSONResponse({"error": {"code": "authentication_required", "message": "log in"}}, 401)
        rows = [_row(cid, events) for cid, events in self.events.items()]
        return JSONResponse({"sessions": sorted(rows, key=lambda row: row["updated_at"], reverse=True), "next": None})

    async def _stored(self, request: Request) -> Response:
        events = self.events.get(request.path_params["id"])
        if events is None:
            return JSONResponse({"error": {"code": "session_not_found", "message": "no such session"}}, 404)
        after, limit = int(request.query_params["after"]), int(request.query_params["limit"])
        found = [codec.to_json(event) for event in events[after : after + limit]]
        return JSONResponse({"events": found, "first_seq": 1, "last_seq": len(events), "epoch": self.epoch})

    async def _index(self, _request: Request) -> Response:
        if not self.logged_in:
            return RedirectResponse("/auth?next=/", 303)
        return HTMLResponse(tom_page.index_page(user=self.user))

    async def _auth(self, request: Request) -> Response:
        return HTMLResponse(tom_page.login_page(next_path=request.query_params.get("next", "/")))

    async def _log_in(self, request: Request) -> Response:
        in_json = request.headers["content-type"] == "application/json"
        given: Mapping[str, Any] = await request.json() if in_json else dict(await request.form())
        if given["password"] != PASSWORD:
            refused = tom_page.login_page(next_path=str(given.get("next", "/")), error="Invalid credentials")
            answer = JSONResponse({"status": "ERROR", "message": "Invalid credentials"}, 401)
            return answer if in_json else HTMLResponse(refused, 401)
        self.logged_in = True
        answer = JSONResponse({"status": "OK"}) if in_json else RedirectResponse(str(given["next"]), 303)
        answer.set_cookie("tom_login", "played", httponly=True)
        return answer

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._index), Route("/auth", self._auth), Route("/login", self._log_in, methods=["POST"]),
            Route("/sessions", self._sessions), Route("/sessions/{id}/events", self._stored),
            WebSocketRoute("/ws/chat", self._chat), *self.asks.routes(), *tom_page.page_routes(),
        ]  # fmt: skip
        return Starlette(routes=routes)

    async def serve(self, server: uvicorn.Server) -> None:
        """Be open until ``server`` is told to exit."""
        self._loop = asyncio.get_running_loop()
        await server.serve()


@contextmanager
def played_door() -> Generator[PlayedDoor]:
    """A door that is open on a free port of 127.0.0.1."""
    door = PlayedDoor()
    app = _with_policy(door._app())  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    config = uvicorn.Config(app, port=0, log_level="critical", ws="websockets-sansio", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(door.serve(server)), name="played-door")
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            if time.monotonic() > deadline:
                raise RuntimeError("the played door did not open")
            time.sleep(0.01)
        door.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield door
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def _with_policy(app: ASGIApp) -> ASGIApp:
    """Send the content policy with every answer, as the gateway does."""
    policy = (b"content-security-policy", tom_page.CONTENT_SECURITY_POLICY.encode())

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], policy]
            await send(message)

        await app(scope, receive, send_with_policy)

    return wrapped


def _row(cid: str, events: Sequence[Event]) -> dict[str, Any]:
    titles = [event.content for event in events if event.type == "message.received"]
    over = str(events[-1].type) in {"run.completed", "run.failed", "run.cancelled"}
    state = "idle" if over else "waiting" if events[-1].type == "run.waiting" else "running"
    titles = [event.extra["title"] for event in events if "title" in event.extra][-1:] or titles
    return {
        "id": cid, "title": titles[0] if titles else None, "state": state,
        "updated_at": events[-1].timestamp, "last_seq": len(events),
    }  # fmt: skip


def _now() -> str:
    return timestamp(SystemClock().now())
