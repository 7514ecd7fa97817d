"""What one socket still has to send. Deltas are joined to one frame per interval; a reader that is slow slows nobody.

The first delta of a reply goes out at once, later ones at most every `INTERVAL`: fewer frames, and no visible delay.
What waits is bounded: deltas of one reply join into one, and above ``limit`` they are dropped until the reply's end,
when the whole reply follows (`was_thinned`). A reader that stays above the limit for `PATIENCE` seconds is closed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tom.agent import frames
from tom.agent.feed import Delta

INTERVAL = 0.05
PATIENCE = 30.0

type Send = Callable[[str], Awaitable[None]]


class ReaderTooSlow(Exception):
    """The reader has not caught up for `PATIENCE` seconds."""


class Outbox:
    """Frames and deltas in order, for one reader."""

    def __init__(self, limit: int, *, plain: bool = False) -> None:
        """Thin deltas above ``limit`` waiting characters; not for a ``plain`` reader, who could not be given the rest."""
        self.plain = plain
        self._limit = limit
        self._queue: deque[str | Delta] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._due = 0.0
        self._thinned: set[tuple[str, int, int]] = set()
        self._behind_since = 0.0

    def put(self, frame: str) -> None:
        """A frame, to be sent after everything before it."""
        self._queue.append(frame)
        self._grow(len(frame))
        self._wake.set()

    def put_delta(self, delta: Delta) -> None:
        """A fragment; joined with the one before it where that continues the same reply."""
        address = (delta.run_id, delta.turn, delta.attempt)
        if address in self._thinned:
            return
        if self._size > self._limit and not self.plain:
            self._thinned.add(address)
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Delta) and _continues(last, delta):
            self._queue[-1] = replace(last, text=last.text + delta.text)
        else:
            self._queue.append(delta)
        self._grow(len(delta.text))
        self._wake.set()

    def was_thinned(self, run_id: str, turn: int, attempt: int) -> bool:
        """Whether fragments of this reply were dropped; asked once, at its end."""
        address = (run_id, turn, attempt)
        thinned = address in self._thinned
        self._thinned.discard(address)
        return thinned

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit and self._room.is_set():
            self._room.clear()
            self._behind_since = time.monotonic()

    async def room(self) -> None:
        """Wait until there is room; whoever replays a long history asks between pages."""
        await self._room.wait()

    async def send_to(self, send: Send) -> None:
        """Send for ever. Raises `ReaderTooSlow`, and whatever ``send`` raises when the socket is gone."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._may_wait() and (wait := self._due - loop.time()) > 0:
                await self._pause(loop, wait)
                continue
            if not self._room.is_set() and time.monotonic() - self._behind_since > PATIENCE:
                raise ReaderTooSlow
            item = self._queue.popleft()
            if isinstance(item, Delta):
                self._due = loop.time() + INTERVAL
                size, text = len(item.text), self._rendered(item)
            else:
                size, text = len(item), item
            await self._send(send, text)
            self._size -= size
            if self._size <= self._limit:
                self._room.set()

    def _rendered(self, delta: Delta) -> str:
        frame = frames.chunk(delta)
        return frames.render((frames.plain(frame) if self.plain else None) or frame)

    def _may_wait(self) -> bool:
        """Whether all that waits is a delta that is not the first of its reply."""
        first = self._queue[0]
        return len(self._queue) == 1 and isinstance(first, Delta) and first.offset > 0

    async def _pause(self, loop: asyncio.AbstractEventLoop, wait: float) -> None:
        """Wait for the interval to pass, or for a frame that is not a delta."""
        timer = loop.call_later(wait, self._interval_over)
        try:
            while len(self._queue) == 1 and self._due:
                self._wake.clear()
                await self._wake.wait()
        finally:
            timer.cancel()

    def _interval_over(self) -> None:
        self._due = 0.0
        self._wake.set()

    async def _send(self, send: Send, text: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await send(text)
        except TimeoutError:
            raise ReaderTooSlow from None


def _continues(last: Delta, delta: Delta) -> bool:
    return (
        last.run_id == delta.run_id
        and last.turn == delta.turn
        and last.attempt == delta.attempt
        and last.kind == delta.kind
        and last.offset + len(last.text) == delta.offset
    )
