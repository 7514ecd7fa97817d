"""The seam to a person's own instructions: for one service, or for all (`GLOBAL`); every change can be undone.

Above: the built-in service `behavior.py`. Below: services.db and `MemoryBehaviours`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import apsw

from tom.clock import Clock, timestamp
from tom.services.keptfile import ServicesFile

GLOBAL = "global"
MOST_REMEMBERED = 50
"""Changes of one module that can be undone."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Instructions for one module as they were written at some time; empty: there were none from then on."""

    module: str
    prompt: str
    written_at: str


class Behaviours(Protocol):
    """One person's instructions. A change with a key that was used before is not made again."""

    async def current(self) -> Mapping[str, str]:
        """Module → what holds; modules without instructions are not in it."""
        ...

    async def history(self, module: str) -> tuple[Behaviour, ...]:
        """What was written for a module and is not undone, the newest first."""
        ...

    async def write(self, module: str, prompt: str, *, key: str = "") -> None:
        """Make ``prompt`` hold."""
        ...

    async def undo(self, module: str, *, key: str = "") -> bool:
        """Take the newest change back; False when there is none."""
        ...


class MemoryBehaviours:
    """Remembers as long as the process lives."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is written yet."""
        self._clock = clock
        self._rows: dict[str, list[Behaviour]] = {}
        self._keys: set[str] = set()

    async def current(self) -> Mapping[str, str]:
        """What holds."""
        return {module: rows[-1].prompt for module, rows in sorted(self._rows.items()) if rows and rows[-1].prompt}

    async def history(self, module: str) -> tuple[Behaviour, ...]:
        """The newest first."""
        return tuple(reversed(self._rows.get(module, ())))

    async def write(self, module: str, prompt: str, *, key: str = "") -> None:
        """Make it hold."""
        if self._is_new(key):
            rows = self._rows.setdefault(module, [])
            rows.append(Behaviour(module, prompt, timestamp(self._clock.now())))
            del rows[:-MOST_REMEMBERED]

    async def undo(self, module: str, *, key: str = "") -> bool:
        """Take the newest change back."""
        if not self._is_new(f"undo {key}" if key else ""):
            return True
        rows = self._rows.get(module)
        return bool(rows and rows.pop())

    def _is_new(self, key: str) -> bool:
        if key and key in self._keys:
            return False
        self._keys.add(key)
        return True


_HOLDING = "SELECT module, prompt, written_at FROM behaviours WHERE undone_at = '' AND module = ? ORDER BY number DESC"
_CURRENT = """
SELECT module, prompt FROM behaviours
WHERE number IN (SELECT max(number) FROM behaviours WHERE undone_at = '' GROUP BY module) AND prompt <> ''
ORDER BY module
"""
_WRITE = "INSERT INTO behaviours (module, prompt, key, written_at) VALUES (?, ?, ?, ?)"
_FORGET = """
DELETE FROM behaviours WHERE module = ? AND number NOT IN (
    SELECT number FROM behaviours WHERE module = ? ORDER BY number DESC LIMIT ?)
"""
_UNDO = """
UPDATE behaviours SET undone_at = ?, undone_key = ?
WHERE number = (SELECT max(number) FROM behaviours WHERE module = ? AND undone_at = '')
RETURNING number
"""


class SqliteBehaviours:
    """`Behaviours` in services.db."""

    def __init__(self, file: ServicesFile, clock: Clock) -> None:
        """Kept in ``file``, which somebody else closes."""
        self._file = file
        self._clock = clock

    async def current(self) -> Mapping[str, str]:
        """What holds."""
        database = await self._file.database()
        rows = await database.read(lambda connection: connection.execute(_CURRENT).fetchall())
        return {str(module): str(prompt) for module, prompt in rows}

    async def history(self, module: str) -> tuple[Behaviour, ...]:
        """The newest first."""
        database = await self._file.database()
        rows = await database.read(lambda connection: connection.execute(_HOLDING, (module,)).fetchall())
        return tuple(Behaviour(str(name), str(prompt), str(written_at)) for name, prompt, written_at in rows)

    async def write(self, module: str, prompt: str, *, key: str = "") -> None:
        """Make it hold."""
        row = (module, prompt, key, timestamp(self._clock.now()))

        def work(connection: apsw.Connection) -> None:
            if not _is_known(connection, "key", key):
                connection.execute(_WRITE, row)
                connection.execute(_FORGET, (module, module, MOST_REMEMBERED))

        await (await self._file.database()).write(work, rows=2)

    async def undo(self, module: str, *, key: str = "") -> bool:
        """Take the newest change back."""
        now = timestamp(self._clock.now())

        def work(connection: apsw.Connection) -> bool:
            if _is_known(connection, "undone_key", key):
                return True
            return bool(connection.execute(_UNDO, (now, key, module)).fetchall())

        return await (await self._file.database()).write(work)


def _is_known(connection: apsw.Connection, column: str, key: str) -> bool:
    query = {
        "key": "SELECT 1 FROM behaviours WHERE key = ?",
        "undone_key": "SELECT 1 FROM behaviours WHERE undone_key = ?",
    }[column]
    return bool(key) and connection.execute(query, (key,)).fetchone() is not None
