"""What one reader has still to hear of a feed: in order, its fragments joined, and bounded.

The first fragment of a reply is handed out at once, later ones at most every `INTERVAL`. Above a limit fragments are
dropped until the reply's end; a reader whose events pile up as well is given up, and reads them from the store again.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import replace

from tom.agent.feed import Delta, Feed, Item, Stored
from tom.conversation.event import EventType
from tom.errors import ConversationNotFound, ShuttingDown

INTERVAL = 0.05
"""Seconds between two fragments of one reply."""

LIMIT = 1_048_576
"""Characters of fragments that may wait for the reader."""

MOST_ITEMS = 10_000
"""Items that may wait; joined fragments are one."""

MOST_FRAGMENTS = MOST_ITEMS // 2
"""Items beside which no fragment begins to wait: text and thoughts that take turns are not joined, and events need room."""


class ReaderTooSlow(Exception):
    """More waits for the reader than is kept for it."""


class Backlog:
    """The items that wait for one reader of ``feed``, heard under one topic (a run's or a conversation's id)."""

    def __init__(self, feed: Feed, topic: str, *, interval: float = INTERVAL, limit: int = LIMIT) -> None:
        """Hear from now on, without awaiting."""
        self._feed = feed
        self._interval = interval
        self._limit = limit
        self._queue: deque[Item] = deque()
        self._size = 0
        self._due = 0.0
        self._wake = asyncio.Event()
        self._thinned: set[tuple[str, int, int]] = set()
        self._leave = feed.listen(topic, self._hear)
        self._forget = feed.on_close(self._wake.set)
        self._over = False
        self._stay = feed.on_erasure(topic, self._end)

    def close(self) -> None:
        """Hear no more. Closing twice is fine."""
        self._leave()
        self._forget()
        self._stay()
        self._queue.clear()

    def take_all(self) -> list[Item]:
        """What waits now, of which nothing waits any more then."""
        taken = list(self._queue)
        self._queue.clear()
        self._thinned.clear()
        self._size = 0
        return taken

    async def next(self) -> Item:
        """The next item.

        Raises `ShuttingDown` when the agent stops and nothing waits, `ConversationNotFound` when the conversation was
        erased, `ReaderTooSlow`.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if not self._queue:
                if self._over:
                    raise ConversationNotFound
                if self._feed.closed:
                    raise ShuttingDown
                await self._wake.wait()
            elif self._may_wait() and (wait := self._due - loop.time()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
            elif len(self._queue) > MOST_ITEMS:
                raise ReaderTooSlow
            else:
                return self._take(loop.time())

    def _end(self) -> None:
        self._over = True
        self._wake.set()

    def _may_wait(self) -> bool:
        """Whether all that waits is a fragment that is not the first of its reply."""
        first = self._queue[0]
        return len(self._queue) == 1 and isinstance(first, Delta) and first.offset > 0

    def _take(self, now: float) -> Item:
        item = self._queue.popleft()
        if isinstance(item, Delta):
            self._size -= len(item.text)
            self._due = now + self._interval
        return item

    def _hear(self, item: Item) -> None:
        if isinstance(item, Delta):
            self._hear_delta(item)
            return
        if isinstance(item, Stored) and item.event.type == EventType.MODEL_REPLIED:
            self._thinned.discard((item.event.run_id, item.event.turn, item.event.extra.get("attempt", 1)))
        if len(self._queue) <= MOST_ITEMS:
            self._queue.append(item)
        self._wake.set()

    def _hear_delta(self, delta: Delta) -> None:
        address = (delta.run_id, delta.turn, delta.attempt)
        if address in self._thinned:
            return
        last = self._queue[-1] if self._queue else None
        joins = isinstance(last, Delta) and _continues(last, delta)
        if self._size > self._limit or (not joins and len(self._queue) >= MOST_FRAGMENTS):
            self._thinned.add(address)
            return
        self._size += len(delta.text)
        if isinstance(last, Delta) and joins:
            self._queue[-1] = replace(last, text=last.text + delta.text)
            return
        self._queue.append(delta)
        self._wake.set()


def _continues(last: Delta, delta: Delta) -> bool:
    same = (last.run_id, last.turn, last.attempt, last.kind) == (delta.run_id, delta.turn, delta.attempt, delta.kind)
    return same and last.offset + len(last.text) == delta.offset
