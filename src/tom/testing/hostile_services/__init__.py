"""MCP services that misbehave: as programs (`programs.py`), or as a file tells them to (`played.py`).

They start in a few milliseconds because they import next to nothing: plain JSON-RPC of revision 2025-11-25. `sample` is
one that behaves.
"""

import sys
from pathlib import Path
from typing import Any

from tom.config.agent import ServiceEntry

PROGRAM = str(Path(__file__).with_name("programs.py"))
PLAYED = str(Path(__file__).with_name("played.py"))


def hostile(mode: str, *arguments: str, name: str = "", **settings: Any) -> ServiceEntry:
    """An entry that starts the program in this mode; ``settings`` are further fields of the entry."""
    words = ("-S", "-E", PROGRAM, mode, *arguments)
    return ServiceEntry(name=name or mode, command=sys.executable, args=words, **settings)


def played(script: Path, *, name: str = "played", calls: Path | None = None, **settings: Any) -> ServiceEntry:
    """An entry that plays the file ``script``; each call is noted in the file ``calls``."""
    words = ("-S", "-E", PLAYED, str(script), *([str(calls)] if calls is not None else []))
    return ServiceEntry(name=name, command=sys.executable, args=words, **settings)
