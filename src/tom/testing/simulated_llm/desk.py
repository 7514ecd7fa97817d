"""Which script answers which request, and what was asked so far."""

import re
import threading
from collections import Counter, deque
from collections.abc import Callable

from tom.testing.simulated_llm.faults import Fault
from tom.testing.simulated_llm.request import ReceivedRequest
from tom.testing.simulated_llm.script import Script

type Author = Script | Callable[[ReceivedRequest], Script]
KEPT = 1000
"""Requests that are kept to be looked at."""


class Desk:
    """Chooses answers: first the rules by the person's words, then the queue, then what is answered otherwise."""

    def __init__(self, otherwise: Author) -> None:
        self.lock = threading.Condition()
        self.calls = 0
        self.aborted = 0
        self.connections = 0
        self.streams = 0
        self.requests: deque[ReceivedRequest] = deque(maxlen=KEPT)
        self._first = otherwise
        self._otherwise = otherwise
        self._queue: deque[Script] = deque()
        self._rules: list[tuple[re.Pattern[str], Author]] = []
        self._failed: Counter[Script] = Counter()

    def reply(self, *scripts: Script) -> None:
        """Answer the next requests with ``scripts``, one each."""
        self._queue.extend(scripts)

    def when(self, pattern: str, author: Author) -> None:
        """Answer requests whose last user text has ``pattern`` (a regular expression, case ignored)."""
        self._rules.append((re.compile(pattern, re.IGNORECASE), author))

    def otherwise(self, author: Author) -> None:
        """Answer what neither a rule nor the queue answers."""
        self._otherwise = author

    def clear(self) -> None:
        """Forget all scripts; the counts and requests stay."""
        self._queue.clear()
        self._rules.clear()
        self._failed.clear()
        self._otherwise = self._first

    def connection_fault(self) -> Script | None:
        """The script that is next, where it goes wrong before there is a request."""
        script = self._queue[0] if self._queue else self._otherwise
        if isinstance(script, Script) and script.trouble is not None and script.trouble.hits_connections:
            return script
        return None

    def use_up(self, script: Script) -> None:
        """A connection fault has happened."""
        if self._queue and self._queue[0] is script:
            self._queue.popleft()

    def choose(self, request: ReceivedRequest) -> Script:
        """Count and keep ``request``, and choose its answer."""
        with self.lock:
            self.calls += 1
            self.requests.append(request)
            self.lock.notify_all()
        author = self._author(request)
        script = author if isinstance(author, Script) else author(request)
        if script.trouble is Fault.FLAPPING:
            return self._flap(script)
        if author is not self._otherwise and self._queue and author is self._queue[0]:
            self._queue.popleft()
        return script

    def count(self, *, connections: int = 0, streams: int = 0, aborted: int = 0) -> None:
        """Note that a client has come, or that an answer has begun, ended or been given up by the client."""
        with self.lock:
            self.connections += connections
            self.streams += streams
            self.aborted += aborted
            self.lock.notify_all()

    def _author(self, request: ReceivedRequest) -> Author:
        for pattern, author in self._rules:
            if pattern.search(request.last_user_text):
                return author
        return self._queue[0] if self._queue else self._otherwise

    def _flap(self, script: Script) -> Script:
        """Fail ``times`` times, then answer."""
        self._failed[script] += 1
        if self._failed[script] <= script.times:
            return script
        self._failed[script] = 0
        if self._queue and self._queue[0] is script:
            self._queue.popleft()
        return Script(pieces=script.pieces, finish="stop")
