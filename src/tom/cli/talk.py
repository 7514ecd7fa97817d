"""A conversation over a `Line`: says things once, follows what happens, and misses nothing across reconnections."""

import json
import signal
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

from tom.cli.client import Line
from tom.cli.follow import CaughtUp, Ended, Follower, Happening, Missing, Refused, Taken, Waits
from tom.cli.terminal import Show

_TICK: Final = 0.25
_LAST_FRAME: Final = 2.0
_MOMENT: Final = 2.0


class Interrupted(Exception):
    """The person wants to leave while something is going on."""


class Presses:
    """Ctrl+C, counted instead of thrown into whatever is going on, for as long as the ``with`` block lasts."""

    def __init__(self) -> None:
        """None yet."""
        self.count = 0

    def __enter__(self) -> Self:
        signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is at its end: one press too many must not spoil it

    @contextmanager
    def thrown(self) -> Generator[None]:
        """In this block a press is a `KeyboardInterrupt`, as a prompt expects it; afterwards none has been counted."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, self._press)
            self.count = 0

    def _press(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1


class Talk:
    """One conversation at a time."""

    def __init__(self, line: Line, show: Show, presses: Presses) -> None:
        """Speak over ``line``, which is open; tell ``show`` what happens. ``exists``: the conversation is stored."""
        self._line = line
        self._show = show
        self._presses = presses
        self._opened = line.opened
        self._unstored: dict[str, str] = {}
        self._resuming = ""
        self._following = False
        self.exists = False
        self._closed: set[str] = set()
        self.follower = Follower(str(uuid.uuid4()))

    def turn_to(self, conversation_id: str | None, after: int | None = None) -> None:
        """Follow a conversation from seq ``after`` on; with None it is yet to be begun by its first message."""
        exists = after is not None
        if self._following:
            self._line.send("unsubscribe", {"conversation_id": self.follower.conversation_id})
        self._resuming, self._following, self.exists = "", False, exists
        self.follower = Follower(conversation_id or str(uuid.uuid4()), after or 0)
        if exists:
            self._resume()

    def say(self, text: str) -> str:
        """Send a message; returns its request id, under which it is sent again until it is stored."""
        request_id = str(uuid.uuid4())
        self.follower.own.add(request_id)
        self._unstored[request_id] = text
        self._post(request_id)
        return request_id

    def stop(self) -> None:
        """Ask for the end of the active run."""
        if self.follower.active:
            payload = {"conversation_id": self.follower.conversation_id, "run_id": self.follower.active}
            self._line.send("stop", payload)

    def retry(self, run_id: str) -> str:
        """Ask for a failed run again; returns the request id."""
        payload = {"conversation_id": self.follower.conversation_id, "run_id": run_id}
        request_id = self._line.send("retry", payload)
        self.follower.own.add(request_id)
        return request_id

    # --- hearing -----------------------------------------------------------------------------------------------

    def hear(self, seconds: float = _TICK) -> list[Happening] | None:
        """Wait at most ``seconds`` for a frame; returns, and has shown, what happened. None: no frame came."""
        text = self._line.receive(seconds)
        if self._line.opened != self._opened:
            self._opened = self._line.opened
            self._reconnected()
        if text is None:
            return None
        self._show.frame(text)
        frame = json.loads(text)
        if frame.get("status") in {"complete", "error"}:
            self._closed.add(frame["request_id"])
        if frame.get("status") == "accepted":
            self._unstored.pop(frame["request_id"], None)
            self.exists = True
            if not self._following:
                self._resume()
        happenings = [happening for happening in self.follower.hear(frame) if self._mine(happening)]
        for happening in happenings:
            self._show.happened(happening)
        return happenings

    def follow(self, ended: Callable[[Happening], bool]) -> Happening:
        """Hear until something ends the wait. Ctrl+C stops the run; the second one raises `Interrupted`."""
        announced = stopped = False
        while True:
            for happening in self.hear() or ():
                if ended(happening):
                    return happening
            if self._presses.count > 1:
                raise Interrupted
            if self._presses.count and not announced:
                announced = True
                self._show.notice("Stopping. Ctrl+C again leaves.")
            if announced and not stopped and self.follower.active:
                stopped = True
                self.stop()

    def deliver(self, request_id: str) -> Taken | Refused:
        """Follow until a request is stored, or refused. Raises `Interrupted`."""

        def known(happening: Happening) -> bool:
            return isinstance(happening, Taken | Refused) and happening.request_id == request_id

        end = self.follow(known)
        self._unstored.pop(request_id, None)
        return end if isinstance(end, Taken | Refused) else Refused(request_id, "internal_error", "")

    def answer(self, request_id: str) -> Ended | Waits | Refused:
        """Follow until the run of a message has ended or waits for the person, or the message is refused.

        Raises `Interrupted`.
        """

        def over(happening: Happening) -> bool:
            if isinstance(happening, Refused):
                return happening.request_id == request_id
            mine = self.follower.run_of.get(request_id)
            return isinstance(happening, Ended | Waits) and happening.run_id == mine

        end = self.follow(over)
        self._unstored.pop(request_id, None)
        return end if isinstance(end, Ended | Waits | Refused) else Refused(request_id, "internal_error", "")

    def close(self, request_id: str) -> None:
        """Hear the last frame of a request, which follows the event that ends its run; a reconnection may cost it."""
        until = time.monotonic() + _LAST_FRAME
        while request_id not in self._closed and time.monotonic() < until:
            self.hear()

    def catch_up(self) -> None:
        """Follow until everything stored has been shown. Raises `Interrupted`."""
        if self._resuming:
            self.follow(lambda happening: not self._resuming and isinstance(happening, CaughtUp | Refused))

    def quiet(self) -> None:
        """Show what has arrived in the meantime; a connection that was lost gets a moment to come back."""
        until = time.monotonic() + _MOMENT
        while time.monotonic() < until:
            settled = self._line.live and not self._resuming
            if self.hear(0.0 if settled else 0.05) is None and settled and self._line.live:
                return

    # --- mending -----------------------------------------------------------------------------------------------

    def _mine(self, happening: Happening) -> bool:
        """Act on what concerns the connection; False for what nobody needs to see."""
        match happening:
            case Missing():
                self._resume()
                return False
            case CaughtUp(reload=reload):
                self._resuming, self._following = "", True
                if reload:
                    self._resume()
            case Refused(request_id=request_id, code=code) if request_id == self._resuming:
                self._resuming = ""
                return self._resume_refused(code)
            case _:
                pass
        return True

    def _resume_refused(self, code: str) -> bool:
        if code == "after_out_of_range":
            self.follower = Follower(self.follower.conversation_id)
            self._resume()
            return False
        # A conversation that does not exist yet: its first message is still on its way.
        return not (code == "conversation_not_found" and self._unstored)

    def _resume(self) -> None:
        if self._resuming:
            return
        payload = {"conversation_id": self.follower.conversation_id, "after": self.follower.last, "live": True}
        if self.follower.epoch is not None:
            payload["epoch"] = self.follower.epoch
        self._resuming = self._line.send("resume", payload)

    def _reconnected(self) -> None:
        self._show.notice("Connected again.")
        self._resuming = ""
        for request_id in self._unstored:
            self._post(request_id)
        if self.exists:
            self._resume()

    def _post(self, request_id: str) -> None:
        payload = {
            "text": self._unstored[request_id],
            "conversation_id": self.follower.conversation_id,
            "streaming": True,
        }
        self._line.send("chat", payload, request_id)
