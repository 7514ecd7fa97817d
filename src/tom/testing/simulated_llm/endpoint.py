"""The endpoint: a listening socket, a thread to serve it, and the ways to tell it what to answer."""

import asyncio
import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

import msgspec
import uvloop

from tom.testing.simulated_llm.connection import Connection
from tom.testing.simulated_llm.desk import Author, Desk
from tom.testing.simulated_llm.faults import Fault
from tom.testing.simulated_llm.rendering import CREATED, answer
from tom.testing.simulated_llm.request import ReceivedRequest
from tom.testing.simulated_llm.script import Script

PATIENCE = 10.0
"""Seconds that starting, stopping and telling may take."""
MODELS = ("simulated", "simulated-small", "simulated-large")


class SimulatedLLM:
    """A language model endpoint that answers by script.

    A context manager, plain or async; it serves from a thread of its own until it is left. Everything may be called
    from any thread at any time. `run` serves in the calling thread instead, as a program does.
    """

    def __init__(
        self, *scripts: Script, otherwise: Author | None = None, port: int = 0, chunks_per_write: int = 0
    ) -> None:
        """``scripts`` are the queue; ``port`` 0 takes a free one; the address is always 127.0.0.1."""
        self._desk = Desk(otherwise or Script.text())
        self._desk.reply(*scripts)
        self._per_write = chunks_per_write
        self._peers: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._reopening: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None
        self.port = port

    # --- life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def start(self) -> None:
        """Listen, in a thread. Raises OSError when the port is taken."""
        ready = threading.Event()

        def serve() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._serve(ready.set))
            except OSError as error:
                self._failure = error
            finally:
                ready.set()

        self._thread = threading.Thread(target=serve, name="simulated-llm", daemon=True)
        self._thread.start()
        ready.wait(PATIENCE)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End all connections and the thread."""
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(PATIENCE)
            self._thread = None

    def run(self, listening: Callable[[], None]) -> None:
        """Serve in this thread until SIGINT or SIGTERM; ``listening`` is called when the port is open."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(listening, stop_by_signal=True))

    # --- what is answered

    def reply(self, *scripts: Script) -> None:
        """Answer the next requests with ``scripts``, one each."""
        self._desk.reply(*scripts)
        self._apply()

    def when(self, pattern: str, author: Author) -> None:
        """Answer each request whose last user text has ``pattern`` (regular expression, case ignored) by ``author``."""
        self._desk.when(pattern, author)

    def otherwise(self, author: Author) -> None:
        """Answer by ``author``, a script or a function of the request, what no rule and no queue answers."""
        self._desk.otherwise(author)
        self._apply()

    def clear(self) -> None:
        """Forget all scripts and listen again if a fault closed the port; counts and requests stay."""
        self._desk.clear()
        self._apply()

    # --- what was asked

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL to give to a client, with ``/v1``."""
        return f"{self.origin}/v1"

    @property
    def calls(self) -> int:
        """How many completions were asked for."""
        return self._desk.calls

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The last thousand requests for completions, oldest first."""
        return list(self._desk.requests)

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._desk.connections

    @property
    def aborted(self) -> int:
        """How many answers the client did not wait for."""
        return self._desk.aborted

    @property
    def open_streams(self) -> int:
        """How many answers are being given now."""
        return self._desk.streams

    def wait_until(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Wait until ``condition`` about counts or requests holds, at most ``timeout`` seconds; returns whether it does."""
        end = time.monotonic() + timeout
        with self._desk.lock:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return condition()
                self._desk.lock.wait(left)
        return True

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """As `wait_until`, without blocking the loop."""
        return await asyncio.to_thread(self.wait_until, condition, timeout)

    # --- inside the loop

    async def _serve(self, listening: Callable[[], None], *, stop_by_signal: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        if stop_by_signal:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._stopping.set)
        await self._open()
        await self._follow_script()
        listening()
        try:
            await self._stopping.wait()
        finally:
            if self._reopening is not None:
                self._reopening.cancel()
            await self._close(idle_only=False)

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._desk, self._route, self._peers, self._per_write),
                "127.0.0.1",
                self.port,
                backlog=1024,
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self, *, idle_only: bool) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for peer in list(self._peers):
            if not (idle_only and peer.busy):
                peer.close()
        await asyncio.sleep(0)

    async def _follow_script(self) -> None:
        """Close or open the port as the next script wants it."""
        script = self._desk.connection_fault()
        if script is None or script.trouble is not Fault.REFUSE:
            await self._open()
        elif self._server is not None:
            await self._close(idle_only=True)
            if script.seconds > 0 and self._loop is not None:
                self._reopening = self._loop.call_later(script.seconds, self._reopen, script)

    def _reopen(self, script: Script) -> None:
        self._desk.use_up(script)
        if self._desk.connection_fault() is script:
            self._desk.otherwise(Script.text())
        self._tell(self._follow_script())

    def _apply(self) -> None:
        """Let the listening socket follow a change of scripts, and wait for it where another thread made it."""
        if self._loop is None or self._loop.is_closed():
            return
        if threading.current_thread() is self._thread or self._thread is None:
            self._tell(self._follow_script())
        else:
            asyncio.run_coroutine_threadsafe(self._follow_script(), self._loop).result(PATIENCE)

    def _tell(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- other routes

    def _route(self, request: ReceivedRequest) -> bytes:
        match request.method, request.path:
            case "GET", path if path.endswith("/models"):
                listed = [
                    {"id": name, "object": "model", "created": CREATED, "owned_by": "simulated"} for name in MODELS
                ]
                return _json(200, {"object": "list", "data": listed})
            case "GET", "/control/calls":
                bodies = [msgspec.Raw(kept.body) for kept in self.requests]
                return _json(200, {"calls": self.calls, "aborted": self.aborted, "requests": bodies})
            case "POST", "/control/script":
                return self._control(request)
            case _:
                return _json(404, {"error": {"message": "There is no such route.", "type": "invalid_request_error"}})

    def _control(self, request: ReceivedRequest) -> bytes:
        try:
            told = request.json
            queue = [Script.from_json(value) for value in told.get("queue", ())]
            rules = [(re.compile(rule["match"]), Script.from_json(rule["script"])) for rule in told.get("when", ())]
            otherwise = Script.from_json(told["otherwise"]) if "otherwise" in told else None
        except (msgspec.DecodeError, re.PatternError, ValueError, TypeError, KeyError) as error:
            return _json(422, {"error": {"message": f"The script is not understood: {error!r}"}})
        if told.get("clear"):
            self._desk.clear()
        self._desk.reply(*queue)
        for pattern, script in rules:
            self._desk.when(pattern.pattern, script)
        if otherwise is not None:
            self._desk.otherwise(otherwise)
        self._tell(self._follow_script())
        return _json(200, {"calls": self.calls})


def _json(status: int, value: Any) -> bytes:
    return answer(status, msgspec.json.encode(value))
