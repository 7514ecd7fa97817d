"""The frames of one socket, carried out one after the other; only a `stop` need not wait for what is slow before it.

A message may wait for its attachments before it is accepted. A person who stops a run meanwhile is heard at once: what
runs is stopped, and the frame keeps its place where it has more to do there.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

_MOST_FRAMES: Final = 32
_MOST_CHARACTERS: Final = 1_048_576

type CarryOut = Callable[[str], Awaitable[None]]


class Inbox:
    """What a client has sent and was not carried out yet. Bounded: beyond that nothing more is read."""

    def __init__(self, carry_out: CarryOut, overtake: Callable[[str], Awaitable[bool]]) -> None:
        """``overtake`` is given each frame that would have to wait; True: it has been carried out."""
        self._carry_out = carry_out
        self._overtake = overtake
        self._waiting: deque[str] = deque()
        self._size = 0
        self._busy = False
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def take(self, text: str) -> None:
        """Take one frame in; returns when there is room for another one."""
        if (self._busy or self._waiting) and await self._overtake(text):
            return
        self._waiting.append(text)
        self._size += len(text)
        self._idle.clear()
        self._some.set()
        if len(self._waiting) >= _MOST_FRAMES or self._size >= _MOST_CHARACTERS:
            self._room.clear()
        await self._room.wait()

    async def empty(self) -> None:
        """Wait until all that came in is carried out; a client that is gone has said it all the same."""
        await self._idle.wait()

    async def work(self) -> None:
        """Carry out what comes in, for ever. Raises what ``carry_out`` raises."""
        while True:
            if not self._waiting:
                self._idle.set()
                self._some.clear()
                await self._some.wait()
                continue
            text = self._waiting.popleft()
            self._busy = True
            try:
                await self._carry_out(text)
            finally:
                self._busy = False
            self._size -= len(text)
            if len(self._waiting) < _MOST_FRAMES and self._size < _MOST_CHARACTERS:
                self._room.set()
