"""What a command changes while nothing runs is recorded as it would be otherwise."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tom.sqlite import Database


async def note(database: "Database", directory: Path, kind: str, subject: str) -> None:
    """Record in ``database``, which lies in ``directory``, what the operator did at the command line."""
    from tom.audit.chain import OPERATOR, Chain
    from tom.clock import SystemClock

    chain = await Chain.open(database, SystemClock(), directory)
    try:
        await chain.note(kind, who=OPERATOR, source="command line", subject=subject)
    finally:
        await chain.close()
