"""The chain: what was done by whom, one row behind the other, in the database of the program that is the door.

Above: the doors, which say what happened, and the command line, which asks whether it holds. Below: the table ``audit``
of ``gateway.db`` (an agent alone: ``door.db``), whose triggers refuse changes, and the files of `head.py` beside it. It
keeps no contents and no secrets: who, from where, what, before and after.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from tom.audit.checking import Verdict, check
from tom.audit.head import HeadFile, make_key, read_key
from tom.audit.rows import GENESIS, Fact, Row, chained, make_fact
from tom.audit.sealing import border, due, store_segment, write_segment
from tom.clock import Clock, timestamp
from tom.errors import StorageFull, StorageUnavailable
from tom.sqlite import Database
from tom.telemetry import logs

log = logs.get("audit")

OPERATOR: Final = "operator"
"""How the record names whoever may open the control socket, or the files."""

RETENTION_DAYS: Final = 365.0
MOST_ROWS: Final = 1000
_DAY: Final = 86_400.0
_INSERT: Final = (
    "INSERT INTO audit (number, at, kind, who, source, subject, before, after, hash, mac)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_BEHIND: Final = (
    "SELECT number, at, kind, who, source, subject, before, after, hash, mac"
    " FROM audit WHERE number > ? ORDER BY number LIMIT ?"
)
_NEWEST: Final = (
    "SELECT number, at, kind, who, source, subject, before, after, hash, mac FROM audit ORDER BY number DESC LIMIT ?"
)


class Chain:
    """The record of one program. Made by `open`; used by one event loop."""

    def __init__(self, database: Database, clock: Clock, directory: Path, key: bytes) -> None:
        """Use `open`."""
        self._database = database
        self._clock = clock
        self._directory = directory
        self._key = key
        self._head = HeadFile(directory, key)
        self._newest = 0

    @classmethod
    async def open(cls, database: Database, clock: Clock, directory: Path) -> "Chain":
        """The chain in ``database``, whose file lies in ``directory``. Makes the audit key when there is none.

        Raises `StorageUnavailable`; OSError when the key cannot be written.
        """
        key = read_key(directory)
        if key is None:
            key = make_key(directory)
            if await database.read(_length):
                log.error("❌ The audit key was gone: rows so far cannot be checked any more", event="audit_key_lost")
        return cls(database, clock, directory, key)

    async def append(
        self, kind: str, *, who: str, source: str, subject: str = "", before: Any = None, after: Any = None
    ) -> int:
        """Record one fact and return its number, after the commit with fsync.

        ``kind`` as ``token.created``; ``who``: the person, ``admin_token`` or empty for nobody known; ``source``: an
        address, or the door; ``before`` and ``after``: small JSON values. Raises `StorageFull`, `StorageUnavailable`.
        """
        fact = make_fact(kind, who, source, subject, before, after)
        row = await self._database.write(self.adding(fact), full=True)
        self.appended(row)
        return row.number

    async def note(self, kind: str, *, who: str, source: str, subject: str = "", after: Any = None) -> None:
        """As `append`, for what has happened already: where it cannot be recorded, the log says so."""
        try:
            await self.append(kind, who=who, source=source, subject=subject, after=after)
        except (StorageFull, StorageUnavailable) as error:
            log.error("❌ The audit could not be written", event="audit_failed", kind=kind, error=error)

    def adding(self, fact: Fact) -> Callable[[Any], Row]:
        """What writes the row in a transaction of the writer, for a fact that stands or falls with other rows."""
        return partial(_add, fact=fact, clock=self._clock, key=self._key)

    def appended(self, row: Row) -> None:
        """Take note that a row is committed: the head moves on."""
        if row.number <= self._newest:
            return
        self._newest = row.number
        try:
            self._head.write(row.number, row.hash)
        except OSError as error:
            log.error("❌ The audit's head could not be written", event="audit_head_failed", error=error)

    async def rows(self, after: int = 0, limit: int = 100) -> tuple[Row, ...]:
        """The rows behind number ``after`` that are not sealed, oldest first, at most 1000."""
        return await self._database.read(partial(rows_behind, after=after, limit=limit))

    async def newest(self, limit: int = 100) -> tuple[Row, ...]:
        """The newest rows, oldest first, at most 1000."""
        return await self._database.read(partial(newest, limit=limit))

    async def verify(self) -> Verdict:
        """Check every row from the first one on, sealed segments and head included."""
        await asyncio.to_thread(self._head.sync)
        return await self._database.read(partial(check, directory=self._directory))

    async def seal(self, days: float = RETENTION_DAYS) -> int:
        """Seal the rows of whole months that are older than ``days``; returns how many."""
        rows = await self._database.read(partial(due, before=border(self._clock.now(), days)))
        if not rows:
            return 0
        await asyncio.to_thread(write_segment, self._directory, rows)
        await self._database.write(
            partial(store_segment, rows=rows, key=self._key, now=self._clock.now()), full=True, rows=len(rows)
        )
        log.info(
            "📦 Old rows of the audit were sealed", event="audit_sealed", first=rows[0].number, last=rows[-1].number
        )
        return len(rows)

    async def keep(self, days: float = RETENTION_DAYS) -> None:
        """Once a day put the head on disk and seal what is old; until cancelled."""
        while True:
            try:
                await self.seal(days)
                await asyncio.to_thread(self._head.sync)
            except Exception as error:  # noqa: BLE001 - a full disk must not end the program
                log.error("❌ The audit could not be sealed", event="audit_not_sealed", error=error)
            await self._clock.sleep(_DAY)

    async def close(self) -> None:
        """Put the head on disk. The database is closed by whoever opened it. Idempotent."""
        with contextlib.suppress(StorageUnavailable):  # a row whose writer was cancelled is in the chain all the same
            for row in await self._database.write(partial(newest, limit=1), full=False):
                self.appended(row)
        await asyncio.to_thread(self._head.close)


def _add(connection: Any, *, fact: Fact, clock: Clock, key: bytes) -> Row:
    last = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    if last is None:
        sealed = connection.execute("SELECT last, hash FROM audit_segments ORDER BY last DESC LIMIT 1").fetchone()
        last = sealed or (0, GENESIS)
    row = chained(fact, number=last[0] + 1, at=timestamp(clock.now()), previous=last[1], key=key)
    connection.execute(
        _INSERT,
        (row.number, row.at, row.kind, row.who, row.source, row.subject, row.before, row.after, row.hash, row.mac),
    )
    return row


def _length(connection: Any) -> int:
    return connection.execute("SELECT count(*) FROM audit").get


def rows_behind(connection: Any, after: int, limit: int) -> tuple[Row, ...]:
    """The rows behind number ``after``, oldest first."""
    bound = (after, min(limit, MOST_ROWS))
    found = connection.execute(_BEHIND, bound)
    return tuple(Row(*row) for row in found)


def newest(connection: Any, limit: int) -> tuple[Row, ...]:
    """The newest rows, oldest first."""
    bound = (min(limit, MOST_ROWS),)
    found = connection.execute(_NEWEST, bound)
    return tuple(Row(*row) for row in found)[::-1]
