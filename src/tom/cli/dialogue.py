"""The dialogue at a terminal: reads lines, carries out the few commands there are, and says the rest to Tom."""

import contextlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from tom.cli import asks
from tom.cli.answering import AtTheTerminal
from tom.cli.client import Door, Refusal
from tom.cli.follow import Ended, Happening, Settled, Waits
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
/approvals          answer what waits for you, in all conversations
/prompts            list the prompts of your services
/resources [WORDS]  list what your services offer to read
/SERVICE:PROMPT name=value …   put a service's prompt in front of what you say on the next lines
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
        self._later: set[str] = set()
        self._answered: set[str] = set()
        self._terminal = AtTheTerminal(door, self._type, show.notice)
        self._commands: dict[str, Callable[[], None]] = {
            "/new": self._new,
            "/history": self._history,
            "/stop": self._stop,
            "/retry": self._retry,
            "/approvals": self._approvals,
            "/prompts": self._prompts,
            "/resources": self._resources,
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
        elif word.startswith("/resources "):
            self._resources(word.removeprefix("/resources "))
        elif word:
            self._talk.deliver(self._talk.say(text))
        self._wait()

    def _wait(self) -> None:
        """Until nothing is going on in the conversation, or all of it waits for the person who wants it to."""
        while (follower := self._talk.follower).busy:
            self._settle()
            if follower.waits and not set(follower.open) - self._later:
                self._show.notice("This conversation waits for your answer: /approvals")
                return
            self._note(self._talk.follow(lambda happening: isinstance(happening, Ended | Waits | Settled)))

    def _settle(self) -> None:
        """Ask for what waits in this conversation, once each."""
        for name, ask in list(self._talk.follower.open.items()):
            if name not in self._later | self._answered:
                self._put(name, ask)

    def _put(self, name: str, ask: Mapping[str, Any]) -> None:
        with self._presses.thrown():
            answered = self._terminal.settle(ask)
        (self._answered if answered else self._later).add(name)

    def _type(self, prompt: str) -> str:
        return input(prompt)

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
        self._talk.deliver(self._talk.retry(self._failed))

    def _approvals(self) -> None:
        pending = [*self._door.get("/approvals")["approvals"], *self._door.get("/elicitations")["elicitations"]]
        if not pending:
            self._show.notice("Nothing waits for you.")
        for ask in sorted(pending, key=lambda ask: ask["asked_at"]):
            name = asks.id_of(ask)
            self._later.discard(name)
            self._put(name, ask)

    def _prompts(self) -> None:
        prompts = self._listed("/prompts", "prompts")
        for prompt in prompts:
            taken = " ".join(
                f"{argument['name']}=…" if argument["required"] else f"[{argument['name']}=…]"
                for argument in prompt["arguments"]
            )
            name = f"/{prompt['service']}:{prompt.get('prompt', prompt['name'])} {taken}".rstrip()
            self._show.notice(asks.visible(f"{name}  {prompt['title'] or prompt['description']}").replace("\n", " "))
        if not prompts:
            self._show.notice("Your services offer no prompts.")

    def _resources(self, words: str = "") -> None:
        resources = self._listed(f"/resources?{urlencode({'q': words[:200]})}", "resources")
        for resource in resources:
            line = f"{resource['service']}::{resource['uri']}  {resource['name']}  {resource['mime_type']}"
            self._show.notice(asks.visible(line).replace("\n", " "))
        if not resources:
            self._show.notice(
                "Your services offer nothing to read that has these words."
                if words
                else "Your services offer nothing to read."
            )

    def _listed(self, path: str, name: str) -> list[dict[str, Any]]:
        try:
            return self._door.get(path)[name]
        except Refusal as refusal:
            self._show.notice(f"❌ {refusal}")
            return []
