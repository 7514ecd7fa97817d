"""An MCP service that asks, tells of its progress, and has prompts and resources; in either revision (`program.py`).

It starts in a few milliseconds because it imports next to nothing. `asking_contract.py` says what is expected of it.
"""

import sys
from pathlib import Path
from typing import Any

from tom.config.agent import ServiceEntry

PROGRAM = str(Path(__file__).with_name("program.py"))


def asking(revision: str, *, name: str = "asking", **settings: Any) -> ServiceEntry:
    """An entry that starts the program speaking ``revision``; ``settings`` are further fields of the entry."""
    return ServiceEntry(name=name, command=sys.executable, args=("-S", "-E", PROGRAM, revision), **settings)
