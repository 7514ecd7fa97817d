"""How a conversation looks in a terminal, in a pipe, and to a script.

Three ways to show the same happenings: `Terminal` for people, `AnswerOnly` for a pipe, `JsonLines` for programs.
Text of models and services never reaches a terminal with its control characters in it.
"""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Protocol

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from tom.cli import asks
from tom.cli.follow import (
    Asked,
    Called,
    CaughtUp,
    Ended,
    Happening,
    Progress,
    Refused,
    Replied,
    Returned,
    Said,
    Settled,
    Waits,
    Withdrawn,
)

SCRIPTED: Final = "No model is set up. These answers are scripted."
_LONGEST: Final = 200
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_CONTROLS: Final = {code: 0x2400 + code for code in range(32) if code not in {9, 10}} | {
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
_REORDERING: Final = {
    code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def clean(text: str) -> str:
    """``text`` with its control characters as pictures: a reply must not move the cursor or set the title."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def clean_line(text: str) -> str:
    """The same in one line, shortened, and with reordering characters spelled out: for names and arguments."""
    line = " ".join(clean(text).translate(_REORDERING).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


class Show(Protocol):
    """Where the happenings of a conversation go."""

    def frame(self, text: str) -> None:
        """A frame arrived, as it was sent."""
        ...

    def happened(self, happening: Happening) -> None:
        """Something new."""
        ...

    def notice(self, text: str) -> None:
        """Something to know that is no part of the conversation."""
        ...

    def close(self) -> None:
        """Leave everything as it was."""
        ...


class JsonLines:
    """Every frame as one line of JSON on stdout."""

    def frame(self, text: str) -> None:
        """Print the frame; JSON text has no line breaks of its own."""
        print(json.dumps(json.loads(text), ensure_ascii=False), flush=True)

    def happened(self, happening: Happening) -> None:
        """The frame said it."""

    def notice(self, text: str) -> None:
        """Beside the frames."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing."""


class AnswerOnly:
    """Only the answer to what was asked here on stdout, as the model wrote it; all else on stderr."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._own: set[str] = set()

    def frame(self, text: str) -> None:
        """Nothing."""

    def happened(self, happening: Happening) -> None:
        """Print the answer when its run has ended."""
        match happening:
            case Asked(run_id=run_id, own=True):
                self._own.add(run_id)
            case Ended(run_id=run_id) if run_id in self._own:
                self._ended(happening)
            case Refused(message=message):
                self.notice(f"❌ {message}")
            case Replied(run_id=run_id, model="scripted") if run_id in self._own:
                self.notice(f"⚠️ {SCRIPTED}")
            case Waits(run_id=run_id, ask=ask) if run_id in self._own:
                self.notice(f"⏸ Waits for you: {asks.title(ask)}")
            case _:
                pass

    def _ended(self, ended: Ended) -> None:
        if ended.state == "completed":
            print(ended.answer, flush=True)
        else:
            self.notice(f"❌ {ended.reason or ended.state} ({ended.code or ended.state})")

    def notice(self, text: str) -> None:
        """On stderr."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing."""


class Terminal:
    """For people: words as they come, formed block by block; tool calls and states in between."""

    def __init__(self, console: Console) -> None:
        """Print to ``console``."""
        self._console = console
        self._live: Live | None = None
        self._turn: tuple[str, int] | None = None
        self._shown = ""
        self._scripted_said = False

    def frame(self, text: str) -> None:
        """Nothing."""

    def happened(self, happening: Happening) -> None:
        """Print it."""
        match happening:
            case Asked(text=text, own=False):
                self._asked(text)
            case Said():
                self._said(happening)
            case Withdrawn(attempt=attempt):
                self._drop()
                self._line(f"↻ Started again (attempt {attempt})", "yellow")
            case Replied():
                self._replied(happening)
            case _:
                self._state(happening)

    def _state(self, happening: Happening) -> None:
        match happening:
            case Called(name=name, arguments=arguments):
                self._line(f"⚙ {clean_line(name)}  {clean_line(_compact(arguments))}", "dim", short=True)
            case Returned():
                self._returned(happening)
            case Waits(ask=ask):
                self._drop()
                self._line(f"⏸ Waits for you: {clean_line(asks.title(ask))}", "bold yellow")
            case Settled():
                self._settled(happening)
            case Progress(name=name, text=text, part=part):
                self._progress(f"{clean_line(name)}  {_percent(part)}{clean_line(text)}")
            case Ended():
                self._ended(happening)
            case Refused(code=code, message=message):
                self.notice(f"❌ {clean_line(message)} ({code})")
            case CaughtUp(reload=True):
                self._line("The history is numbered anew; here it is from its beginning.", "yellow")
            case _:
                pass

    def notice(self, text: str) -> None:
        """A line that is no part of the conversation."""
        self._line(text, "yellow")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._drop()

    # --- what was said -----------------------------------------------------------------------------------------

    def _asked(self, text: str) -> None:
        self._drop()
        self._console.print()
        self._console.print(Text("› ", style="bold green") + Text(clean(text), style="bold"))

    def _said(self, said: Said) -> None:
        if self._turn != (said.run_id, said.turn):
            self._drop()
            self._turn, self._shown = (said.run_id, said.turn), ""
        settled = settled_part(said.whole)
        if len(settled) > len(self._shown):
            self._form(settled[len(self._shown) :])
            self._shown = settled
        self._tail(said.whole[len(self._shown) :])

    def _replied(self, replied: Replied) -> None:
        begun = self._turn == (replied.run_id, replied.turn) and replied.text.startswith(self._shown)
        rest = replied.text[len(self._shown) :] if begun else replied.text
        self._drop()
        if replied.model == "scripted" and not self._scripted_said:
            self._scripted_said = True
            self._line(SCRIPTED, "yellow")
        self._form(rest)

    def _form(self, text: str) -> None:
        """Print finished Markdown for good."""
        self._stop_live()
        if text.strip():
            self._console.print(Markdown(clean(text), hyperlinks=False))
            self._console.print()

    def _tail(self, text: str) -> None:
        """Show the unfinished block as it is; it is replaced when it is finished."""
        if not self._console.is_terminal:
            return
        room = max(1, self._console.width * max(1, self._console.height - 4))
        lines = clean(text)[-room:].splitlines()[-max(1, self._console.height - 4) :]
        self._alive().update(Text("\n".join(lines)), refresh=True)

    def _alive(self) -> Live:
        if self._live is None:
            self._live = Live(console=self._console, transient=True, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        return self._live

    def _drop(self) -> None:
        self._stop_live()
        self._turn, self._shown = None, ""

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    # --- lines -------------------------------------------------------------------------------------------------

    def _returned(self, returned: Returned) -> None:
        took = "" if returned.milliseconds is None else f" · {returned.milliseconds} ms"
        mark, word, style = {
            "done": ("✓", "done", "dim"),
            "failed": ("✕", "failed", "red"),
            "unresolved": ("?", "may have happened", "bold yellow"),
        }[returned.state]
        text = f"{mark} {clean_line(returned.name)} {word}{took}  {clean_line(returned.text)}"
        self._line(text, style, short=returned.state == "done")

    def _settled(self, settled: Settled) -> None:
        word, style = {
            "allow": ("✓ Allowed", "green"),
            "accept": ("✓ Answered", "green"),
            "deny": ("✕ Denied", "yellow"),
            "decline": ("✕ Declined", "yellow"),
        }.get(settled.outcome, ("✕ Cancelled", "yellow"))
        if settled.by == "expiry":
            word = "✕ Nobody answered in time"
        where = f" on {clean_line(settled.device)}" if settled.device else ""
        self._line(f"{word}{where}: {clean_line(asks.title(settled.ask))}", style)

    def _progress(self, text: str) -> None:
        """One line that the next one replaces; nothing where lines cannot be replaced."""
        if self._console.is_terminal and self._turn is None:
            self._alive().update(Text(f"… {text}", style="dim"), refresh=True)

    def _ended(self, ended: Ended) -> None:
        self._drop()
        if ended.state == "failed":
            self._line(f"❌ {clean_line(ended.reason)} ({ended.code})", "red")
        elif ended.state == "cancelled":
            self._line("■ Stopped.", "yellow")

    def _line(self, text: str, style: str, *, short: bool = False) -> None:
        self._stop_live()
        self._console.print(Text(text, style=style), no_wrap=short, overflow="ellipsis" if short else None)


def settled_part(text: str) -> str:
    """The part of a growing Markdown text that will not change its form: all up to the last blank line outside code."""
    end = position = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        position += len(line)
        found = _FENCE.match(line)
        if found:
            fence = found[1] if not fence else ("" if found[1] == fence else fence)
        if not fence and not line.strip() and line.endswith("\n"):
            end = position
    return text[:end]


def _compact(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False) if arguments else ""


def _percent(part: float | None) -> str:
    return "" if part is None else f"{round(100 * min(1.0, max(0.0, part)))} %  "
