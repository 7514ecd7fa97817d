"""The dialogue at a terminal: reads lines, carries out the few commands there are, and says the rest to Tom."""

import contextlib
import importlib
from collections.abc import Callable
from typing import Final

from tom.cli.client import Door
from tom.cli.follow import Ended, Happening
from tom.cli.output import Status
from tom.cli.talk import Interrupted, Presses, Talk
from tom.cli.terminal import Show

SHOWN_FIRST: Final = 60
PROMPT: Final = "› "
HELP: Final = """\
/new      begin a new conversation
/history  show this conversation from its beginning
/stop     stop the answer (Ctrl+C does it too)
/retry    ask for the last failed answer again
/quit     leave (Ctrl+D too); what is going on goes on
A line that ends with \\ is continued on the next. Everything else is said to Tom."""


class Dialogue:
    """One person at one terminal."""

    def __init__(self, door: Door, talk: Talk, show: Show, presses: Presses) -> None:
        """Talk through ``talk``; ``door`` knows the conversations."""
        self._presses = presses
        self._door = door
        self._talk = talk
        self._show = show
        self._failed = ""
        self._commands: dict[str, Callable[[], None]] = {
            "/new": self._new,
            "/history": self._history,
            "/stop": self._stop,
            "/retry": self._retry,
            "/help": lambda: show.notice(HELP),
        }

    def run(self, conversation: str | None, *, fresh: bool) -> int:
        """Go on with ``conversation``, else with the newest one, else begin one; until the person leaves."""
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # gives `input` editing and history
        try:
            self._begin(conversation, fresh=fresh)
            while (text := self._read()) is not None and text.strip() != "/quit":
                self._do(text)
        except Interrupted:
            self._show.notice(
                f"What is going on goes on: tom chat --conversation {self._talk.follower.conversation_id}"
            )
            return Status.INTERRUPTED
        return Status.DONE

    def _begin(self, conversation: str | None, *, fresh: bool) -> None:
        if conversation is None and not fresh:
            newest = self._door.sessions(1)
            conversation = newest[0]["id"] if newest else None
        last = self._door.last_seq(conversation) if conversation else None
        self._show.notice("Write, and press Enter. /help shows the commands.")
        self._talk.turn_to(conversation, None if last is None else max(0, last - SHOWN_FIRST))
        self._talk.catch_up()
        self._wait()

    def _read(self) -> str | None:
        self._talk.quiet()
        lines: list[str] = []
        try:
            with self._presses.thrown():
                while (line := input(PROMPT if not lines else "  ")).endswith("\\"):
                    lines.append(line[:-1])
                return "\n".join([*lines, line])
        except (EOFError, KeyboardInterrupt):
            print()
            return None

    def _do(self, text: str) -> None:
        word = text.strip()
        if word in self._commands:
            self._commands[word]()
        elif word:
            self._note(self._talk.answer(self._talk.say(text)))
        self._wait()

    def _wait(self) -> None:
        """Until nothing is going on in the conversation: one prompt at a time."""
        while self._talk.follower.busy:
            self._note(self._talk.follow(lambda happening: isinstance(happening, Ended)))

    def _note(self, happening: Happening) -> None:
        if isinstance(happening, Ended):
            self._failed = "" if happening.state == "completed" else happening.run_id

    # --- commands ----------------------------------------------------------------------------------------------

    def _new(self) -> None:
        self._talk.turn_to(None)
        self._show.notice("A new conversation.")

    def _history(self) -> None:
        current = self._talk.follower.conversation_id
        if self._talk.exists:
            self._talk.turn_to(current, 0)
            self._talk.catch_up()

    def _stop(self) -> None:
        if self._talk.follower.active:
            self._talk.stop()
        else:
            self._show.notice("Nothing is going on.")

    def _retry(self) -> None:
        if not self._failed:
            self._show.notice("Nothing has failed here.")
            return
        self._note(self._talk.answer(self._talk.retry(self._failed)))
