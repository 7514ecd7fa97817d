"""The databases: whole, and their events numbered without holes. Read-only, also while Tom runs."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from tom.cli.checks.finding import Finding, House, fail, ok

CURE = "stop Tom, keep a copy of the file, and restore the last backup"
_HOLES = """
SELECT count(*) FROM (
  SELECT conversation_id FROM chat_events GROUP BY conversation_id HAVING count(*) <> max(seq) - min(seq) + 1
)"""


async def check_history(house: House) -> AsyncGenerator[Finding]:
    """Each person's history and the gateway's own database."""
    files = [house.directory / "gateway" / "gateway.db", *sorted(house.directory.glob("users/*/history.db"))]
    for path in files:
        if path.exists():
            yield await asyncio.to_thread(_look, path, path.relative_to(house.directory))


def _look(path: Path, name: Path) -> Finding:
    import apsw

    from tom.sqlite.connection import connect_reader

    try:
        connection = connect_reader(path)
        try:
            faults = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            if faults != ["ok"]:
                return fail("database", f"{name}: {'; '.join(faults)}", CURE)
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if "chat_events" not in tables:
                return ok("database", f"{name} is whole ({path.stat().st_size / 1_048_576:.1f} MiB)")
            events, conversations = connection.execute(
                "SELECT count(*), count(DISTINCT conversation_id) FROM chat_events"
            ).get  # fmt: skip
            holes = connection.execute(_HOLES).get
        finally:
            connection.close()
    except apsw.Error as error:
        return fail("database", f"{name}: {error}", CURE)
    if holes:
        return fail("database", f"{name}: {holes} conversations have holes in their numbering", CURE)
    return ok("database", f"{name} is whole: {events} events in {conversations} conversations, numbered without holes")
