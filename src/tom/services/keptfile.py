"""``services.db``: what one person's services are remembered by, on disk."""

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw

from tom.clock import Clock
from tom.conversation.tool import ToolClass
from tom.services.kept import KeptList, Remembered
from tom.services.pins import Pin
from tom.sqlite.database import Database

NAME = "services.db"

_PINS = """
SELECT service, tool, hash, identity, class, proposed, outward, honours_key, first_seen, reviewed_by, reviewed_at
FROM pins
"""
_PIN = """
INSERT INTO pins (service, tool, hash, identity, definition, class, proposed, outward, honours_key, first_seen,
                  reviewed_by, reviewed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (service, tool) DO UPDATE SET
    hash = excluded.hash, identity = excluded.identity, definition = excluded.definition, class = excluded.class,
    proposed = excluded.proposed, outward = excluded.outward, honours_key = excluded.honours_key,
    reviewed_by = excluded.reviewed_by, reviewed_at = excluded.reviewed_at
"""
_LISTS = "SELECT service, place, server, revision, tools, instructions, ttl, listed_at FROM lists"
_READINGS = "SELECT service, what, value FROM readings"
_NOTE = "INSERT OR REPLACE INTO readings (service, what, value) VALUES (?, ?, ?)"
_FORGET = "DELETE FROM readings WHERE service = ?"
_KEEP = """
INSERT OR REPLACE INTO lists (service, place, server, revision, tools, instructions, ttl, listed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class ServicesFile:
    """The file, opened when it is first needed. Above: `SqliteKept` and the behaviours."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._clock = clock
        self._database: Database | None = None
        self._opening = asyncio.Lock()

    async def database(self) -> Database:
        """The open file. Raises what `Database.open` raises."""
        if self._database is None:
            async with self._opening:
                if self._database is None:
                    migrations = files("tom.services").joinpath("migrations")
                    self._database = await Database.open(self._path, migrations=migrations, clock=self._clock)
        return self._database

    async def close(self) -> None:
        """Close it, if it was opened."""
        async with self._opening:
            if self._database is not None:
                await self._database.close()


class SqliteKept:
    """`Kept` in services.db."""

    def __init__(self, file: ServicesFile) -> None:
        """Keep in ``file``, which is closed with this."""
        self._file = file

    async def load(self) -> Remembered:
        """All of it, the definitions behind the pins apart."""
        return await (await self._file.database()).read(_load)

    async def pin(self, pins: Sequence[tuple[Pin, str]]) -> None:
        """Add or replace pins, with fsync: a pin that was lost would be made anew of whatever is there then."""
        rows = [_row(pin, written) for pin, written in pins]
        database = await self._file.database()
        await database.write(lambda connection: connection.executemany(_PIN, rows) and None, rows=len(rows))

    async def keep(self, kept: KeptList) -> None:
        """Replace the service's list."""
        tools = "\n".join(kept.tools)  # canonical JSON has no line ends
        place = (kept.service, kept.place, kept.server, kept.revision)
        row = (*place, tools, _stored(kept.instructions), kept.ttl, kept.listed_at)
        database = await self._file.database()
        await database.write(lambda connection: connection.execute(_KEEP, row) and None, full=False)

    async def note(self, service: str, what: str, value: str) -> None:
        """Keep what a service said."""
        row = (service, what, _stored(value))
        database = await self._file.database()
        await database.write(lambda connection: connection.execute(_NOTE, row) and None, full=False)

    async def forget(self, service: str) -> None:
        """Forget its readings."""
        database = await self._file.database()
        await database.write(lambda connection: connection.execute(_FORGET, (service,)) and None, full=False)

    async def definition(self, service: str, tool: str) -> str | None:
        """What the pin stands for."""

        def find(connection: apsw.Connection) -> Any:
            query = "SELECT definition FROM pins WHERE service = ? AND tool = ?"
            return connection.execute(query, (service, tool)).get

        return await (await self._file.database()).read(find)

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()


def _load(connection: apsw.Connection) -> Remembered:
    pins: dict[str, dict[str, Pin]] = {}
    for row in connection.execute(_PINS):
        pin = _pin(row)
        pins.setdefault(pin.service, {})[pin.tool] = pin
    lists = {row[0]: _list(row) for row in connection.execute(_LISTS)}
    readings: dict[str, dict[str, str]] = {}
    for service, what, value in connection.execute(_READINGS):
        readings.setdefault(str(service), {})[str(what)] = str(value)
    return Remembered(pins, lists, readings)


def _pin(row: Sequence[Any]) -> Pin:
    service, tool, hash_, identity, tool_class, proposed, outward, honours_key, *rest = row
    flags = (bool(proposed), bool(outward), bool(honours_key))
    return Pin(service, tool, hash_, identity, ToolClass(tool_class), *flags, *rest)


def _row(pin: Pin, written: str) -> tuple[Any, ...]:
    what = (pin.service, pin.tool, pin.hash, pin.identity, written, str(pin.tool_class))
    flags = (int(pin.proposed), int(pin.outward), int(pin.honours_key))
    return (*what, *flags, pin.first_seen, pin.reviewed_by, pin.reviewed_at)


def _list(row: Sequence[Any]) -> KeptList:
    service, place, server, revision, tools, instructions, ttl, listed_at = row
    return KeptList(service, place, server, revision, tuple(tools.splitlines()), instructions, ttl, listed_at)


def _stored(text: str) -> str:
    """SQLite takes no lone surrogates."""
    return text.encode(errors="replace").decode()
