"""The WebSocket door: one ASGI connection, one `Socket`, one `Outbox`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tom.agent.options import choices_of
from tom.agent.outbox import Outbox, ReaderTooSlow
from tom.agent.socket import Abuse, Socket
from tom.errors import RateLimited
from tom.policy.permissions import Caller
from tom.telemetry import logs

if TYPE_CHECKING:
    from tom.agent.cell import Cell

log = logs.get("agent")

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FLOOD_WINDOW = 10.0
FLOOD_STRIKES = 3
CLOSE_SECONDS = 1.0


class SocketCount:
    """How many sockets are open."""

    def __init__(self) -> None:
        """None."""
        self.open = 0


class ActionRate:
    """Actions per second of one socket; the third refusal within ten seconds is flooding."""

    def __init__(self, per_second: int) -> None:
        """Allow ``per_second`` actions."""
        self._per_second = per_second
        self._recent: deque[float] = deque()
        self._strikes: deque[float] = deque()

    def take(self, now: float) -> float:
        """0 when the action may be carried out, else the seconds to wait. Raises `Abuse` on flooding."""
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) < self._per_second:
            self._recent.append(now)
            return 0.0
        self.strike(now)
        return round(self._recent[0] + 1.0 - now, 1) or 0.1

    def strike(self, now: float) -> None:
        """An action was refused for coming too fast. Raises `Abuse` on flooding."""
        while self._strikes and self._strikes[0] <= now - FLOOD_WINDOW:
            self._strikes.popleft()
        self._strikes.append(now)
        if len(self._strikes) >= FLOOD_STRIKES:
            raise Abuse(4429, "Too many actions")


async def serve_websocket(
    cell: "Cell", receive: Receive, send: Send, *, caller: Caller, device: str = "", plain: bool = False
) -> None:
    """Serve ``caller``, on ``device``, until the connection ends; ``plain``: documented frames only."""
    chat = cell.settings.chat
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    limit = min(chat.max_connections, chat.max_connections_per_user)
    if cell.sockets.open >= limit:
        full = chat.max_connections <= chat.max_connections_per_user
        reason = "Server at maximum capacity" if full else "Too many connections for this user"
        await send({"type": "websocket.close", "code": 1013, "reason": reason})
        return
    cell.sockets.open += 1
    outbox = Outbox(chat.send_buffer, plain=plain)
    rate = ActionRate(chat.actions_per_second)

    async def admit() -> None:
        try:
            await cell.rates.admit(caller, None)
        except RateLimited:
            if cell.metrics is not None:
                cell.metrics.rate_limited()
            rate.strike(cell.clock.monotonic())
            raise

    socket = Socket(
        cell.conversations,
        outbox,
        cell.clock,
        cell.approvals,
        user=cell.settings.user,
        device=device,
        choices=choices_of(cell.settings),
        streaming=chat.streaming,
        show_thinking=chat.show_thinking,
        tool_notices=chat.tool_notifications,
        admit=admit,
        count=partial(cell.metrics.action, chat.endpoint) if cell.metrics else None,
    )
    try:
        await _converse(cell, socket, outbox, rate, receive, send)
    finally:
        cell.sockets.open -= 1
        socket.close()


async def _converse(
    cell: "Cell", socket: Socket, outbox: Outbox, rate: ActionRate, receive: Receive, send: Send
) -> None:
    """Read and write until one of both ends: a writer that is gone must not leave a reader waiting, nor the reverse."""

    async def send_text(text: str) -> None:
        await send({"type": "websocket.send", "text": text})

    reading = asyncio.ensure_future(_read(cell, socket, rate, receive))
    writing = asyncio.ensure_future(outbox.send_to(send_text))
    try:
        await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        reading.cancel()
        writing.cancel()
        await asyncio.wait([reading, writing])
    failures = [task.exception() for task in (reading, writing) if not task.cancelled()]
    await _close(send, next((failure for failure in failures if failure is not None), None))


async def _close(send: Send, failure: BaseException | None) -> None:
    """Say why the socket is closed, where there is anything to say and somebody to hear it."""
    if isinstance(failure, Abuse):
        code, reason = failure.code, str(failure)
    elif isinstance(failure, ReaderTooSlow):
        code, reason = 1013, "Reader too slow"
    elif failure is None or isinstance(failure, (OSError, RuntimeError)):
        return  # the client went away
    else:
        log.error("❌ A defect in a socket", event="internal_error", exception=failure)
        code, reason = 1011, "Internal error"
    with contextlib.suppress(TimeoutError, OSError, RuntimeError):
        async with asyncio.timeout(CLOSE_SECONDS):  # a reader that takes nothing does not take this either
            await send({"type": "websocket.close", "code": code, "reason": reason})


async def _read(cell: "Cell", socket: Socket, rate: ActionRate, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is None:
            raise Abuse(1003, "Binary frames are not understood")
        wait = rate.take(cell.clock.monotonic())
        if wait:
            socket.refuse_rate(text, wait)
        else:
            await socket.receive(text)
