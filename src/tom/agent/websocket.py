"""The WebSocket door: one ASGI connection, one `Socket`, one `Outbox`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tom.agent.identify import Admitted
from tom.agent.inbox import Inbox
from tom.agent.options import choices_of
from tom.agent.outbox import Outbox, ReaderTooSlow
from tom.agent.socket import Abuse, Socket
from tom.errors import RateLimited
from tom.limits.addresses import counted_address
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


FULL = "Server at maximum capacity"
TOO_MANY = "Too many connections for this user"


@dataclass(frozen=True, slots=True)
class Entry:
    """How somebody comes in: as whom, as long as ``holds``, with which subprotocol and on which device.

    ``plain``: documented frames only.
    """

    admitted: Admitted
    holds: Callable[[], bool]
    protocol: str | None = None
    device: str = ""
    plain: bool = False


class SocketCount:
    """How many sockets are open, in all and by whom."""

    def __init__(self) -> None:
        """None."""
        self.open = 0
        self._by: dict[str, int] = {}

    def join(self, caller: Caller, *, most: int, most_each: int) -> str:
        """Count one more of the caller's; or say why there cannot be one, counting nothing.

        Visitors are told apart by their address, everybody else by name.
        """
        if self.open >= most:
            return FULL
        who = _who(caller)
        if self._by.get(who, 0) >= most_each:
            return TOO_MANY
        self.open += 1
        self._by[who] = self._by.get(who, 0) + 1
        return ""

    def leave(self, caller: Caller) -> None:
        """One of the caller's is closed."""
        who = _who(caller)
        self.open -= 1
        self._by[who] -= 1
        if not self._by[who]:
            del self._by[who]


def _who(caller: Caller) -> str:
    return f"visitor:{counted_address(caller.address)}" if caller.visitor else f"user:{caller.user}"


ENDED = (4401, "Login or token ended")


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


async def serve_websocket(cell: "Cell", receive: Receive, send: Send, entry: Entry) -> None:
    """Serve whom ``entry`` lets in until the connection ends, or their token does."""
    chat, caller = cell.settings.chat, entry.admitted.caller
    await receive()  # websocket.connect
    await send({"type": "websocket.accept", "subprotocol": entry.protocol})
    full = cell.sockets.join(caller, most=chat.max_connections, most_each=chat.max_connections_per_user)
    if full:
        await send({"type": "websocket.close", "code": 1013, "reason": full})
        return
    outbox = Outbox(chat.send_buffer, plain=entry.plain)
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
        caller=caller,
        device=entry.device,
        choices=choices_of(cell.settings),
        streaming=chat.streaming,
        show_thinking=chat.show_thinking,
        tool_notices=chat.tool_notifications,
        admit=admit,
        count=partial(cell.metrics.action, chat.endpoint) if cell.metrics else None,
    )
    ended = asyncio.Event()
    token = entry.admitted.token
    release = token.hold(ended.set) if token else None
    try:
        await _converse(outbox, _Reading(cell, socket, rate, receive, entry), ended, send)
    finally:
        if release:
            release()
        cell.sockets.leave(caller)
        socket.close()


async def _converse(outbox: Outbox, reading: "_Reading", ended: asyncio.Event, send: Send) -> None:
    """Read, carry out and write until one of them ends: none may be left waiting for another that is gone."""

    async def send_text(text: str) -> None:
        await send({"type": "websocket.send", "text": text})

    async def end() -> None:
        await ended.wait()
        raise Abuse(*ENDED)

    tasks = [asyncio.ensure_future(work) for work in (reading.run(), reading.work(), outbox.send_to(send_text), end())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    failures = [task.exception() for task in tasks if not task.cancelled()]
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


class _Reading:
    """The client's frames on their way to the socket; each is looked at for whether its sender still may be here."""

    def __init__(self, cell: "Cell", socket: Socket, rate: ActionRate, receive: Receive, entry: Entry) -> None:
        self._cell = cell
        self._socket = socket
        self._rate = rate
        self._receive = receive
        self._holds = entry.holds
        self._inbox = Inbox(self._carry_out, socket.overtake)
        self.work = self._inbox.work

    async def run(self) -> None:
        """Read until the client is gone and what it said is carried out. Raises `Abuse`."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                await self._inbox.empty()
                return
            text = message.get("text")
            if text is None:
                raise Abuse(1003, "Binary frames are not understood")
            if not self._holds():
                raise Abuse(*ENDED)
            wait = self._rate.take(self._cell.clock.monotonic())
            if wait:
                self._socket.refuse_rate(text, wait)
            else:
                await self._inbox.take(text)

    async def _carry_out(self, text: str) -> None:
        if not self._holds():
            raise Abuse(*ENDED)
        await self._socket.receive(text)
