"""MCP services that misbehave, as programs (`programs.py`), and `sample`, one that does not.

They start in a few milliseconds because they import next to nothing: plain JSON-RPC of revision 2025-11-25.
"""

import sys
from pathlib import Path
from typing import Any

from tom.config.agent import ServiceEntry

PROGRAM = str(Path(__file__).with_name("programs.py"))


def hostile(mode: str, *arguments: str, name: str = "", **settings: Any) -> ServiceEntry:
    """An entry that starts the program in this mode; ``settings`` are further fields of the entry."""
    words = ("-S", "-E", PROGRAM, mode, *arguments)
    return ServiceEntry(name=name or mode, command=sys.executable, args=words, **settings)
