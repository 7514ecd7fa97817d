"""What becomes of an answer when the token that asked for it is taken back: nothing more of it is sent.

An event stream is told so by one last error, as its door words it; an answer that has not begun is 401; any other is cut off. What
the request has set going goes on, as when its client goes away.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tom.accounts.holding import Holding
from tom.agent.answering import dialect_at
from tom.errors import InvalidToken
from tom.openapi.wording import last_event

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]

_EVENTS: Final = b"text/event-stream"
_FIRST_EVENT: Final = 1024
"""Bytes of a stream's beginning that are remembered: its first event names the message."""

_GONE: Final[Message] = {"type": "http.disconnect"}


async def serve_while_held(held: Holding, app: App, scope: Scope, receive: Receive, send: Send, refuse: App) -> None:
    """Let ``app`` answer as long as ``held`` lasts; ``refuse`` answers when it ends before the answer has begun."""
    exchange = _Exchange(receive, send)
    release = held.hold(exchange.cut)
    async with asyncio.TaskGroup() as group:
        cutting = group.create_task(exchange.end_when_cut(scope, refuse))
        try:
            await app(scope, exchange.receive, exchange.send)
        finally:
            release()
            if not exchange.is_cut.is_set():
                cutting.cancel()


class _Exchange:
    """One request and its answer, which can be cut off between two of its pieces."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.is_cut = asyncio.Event()
        self._receive = receive
        self._send = send
        self._sending = asyncio.Lock()
        self._receiving: set[asyncio.Timeout] = set()
        self._begun = False
        self._complete = False
        self._events = False
        self._told = b""

    def cut(self) -> None:
        """Send and receive nothing more."""
        self.is_cut.set()
        for waiting in self._receiving:
            waiting.reschedule(asyncio.get_running_loop().time())

    async def receive(self) -> Message:
        """What the client sends; once it is cut off, that the client is gone."""
        if self.is_cut.is_set():
            return _GONE
        waiting = asyncio.timeout(None)
        try:
            async with waiting:
                self._receiving.add(waiting)
                return await self._receive()
        except TimeoutError:
            return _GONE
        finally:
            self._receiving.discard(waiting)

    async def send(self, message: Message) -> None:
        """Pass on a piece of the answer; once it is cut off, nothing."""
        async with self._sending:
            if self.is_cut.is_set():
                return
            if message["type"] == "http.response.start":
                self._begun = True
                headers = dict(message.get("headers", ()))
                self._events = headers.get(b"content-type", b"").startswith(_EVENTS)
            else:
                self._complete = not message.get("more_body", False)
                self._told = self._told or message.get("body", b"")[:_FIRST_EVENT]
            await self._send(message)

    async def end_when_cut(self, scope: Scope, refuse: App) -> None:
        """Wait for the cut, then say the last word, if there is one to say."""
        await self.is_cut.wait()
        async with self._sending:
            if self._complete:
                return
            if not self._begun:
                await refuse(scope, self._receive, self._send)
            elif self._events:
                dialect, request_id = dialect_at(scope["path"]), scope["tom.request_id"]
                last = last_event(InvalidToken(), dialect, request_id, self._told)
                await self._send({"type": "http.response.body", "body": last})
