"""Whether the record is as it was written, from its first row on: the first bad row is named, and how it differs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tom.audit.head import Head, read_head, read_key
from tom.audit.rows import GENESIS, Row, hash_of, mac_of, same
from tom.audit.sealing import ALL_ROWS, Segment, read_segment, segments


@dataclass(frozen=True, slots=True)
class Verdict:
    """``count`` rows hold, the last of them with the hash ``head``; ``first_bad`` is the number of the first that does not.

    ``sealed``: how many of them lie in files of segments. ``reason`` is empty when all is well.
    """

    ok: bool
    count: int
    head: str
    first_bad: int | None = None
    reason: str = ""
    sealed: int = 0


class _Broken(Exception):
    """The row ``number`` is not as it was written."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason
        super().__init__(reason)


class _Walk:
    """Goes along the chain and keeps how far it holds."""

    def __init__(self, key: bytes, head: Head) -> None:
        self._key = key
        self._head = head
        self.count = 0
        self.last: str = GENESIS
        self.sealed = 0

    def follow(self, rows: Iterable[Row]) -> None:
        """Check each row behind the one before it. Raises `_Broken`."""
        for row in rows:
            wanted = self.count + 1
            if row.number != wanted:
                raise _Broken(wanted, f"row {wanted} is missing: row {row.number} stands in its place")
            if row.hash != hash_of(row, self.last):
                raise _Broken(wanted, f"row {wanted} was changed, or the rows before it were: its hash does not hold")
            if not same(row.mac, mac_of(self._key, row.hash)):
                raise _Broken(wanted, f"row {wanted} was not written with this audit key")
            if wanted == self._head.count and row.hash != self._head.hash:
                raise _Broken(wanted, f"row {wanted} is another one than the head file names")
            self.count, self.last = wanted, row.hash

    def follow_segment(self, directory: Path, segment: Segment) -> None:
        """Check the file of a sealed segment. Raises `_Broken`."""
        begin = self.count + 1
        if segment.first != begin:
            raise _Broken(begin, f"row {begin} is missing: the next sealed segment begins with {segment.first}")
        if not same(segment.mac, mac_of(self._key, "segment", segment.first, segment.last, segment.hash)):
            raise _Broken(begin, f"the sealed segment {segment.name} was not sealed with this audit key")
        try:
            self.follow(read_segment(directory, segment))
        except FileNotFoundError:
            raise _Broken(begin, f"the file audit/{segment.name} is missing") from None
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise _Broken(self.count + 1, f"the file audit/{segment.name} is damaged: {error}") from None
        if (self.count, self.last) != (segment.last, segment.hash):
            raise _Broken(self.count + 1, f"the file audit/{segment.name} does not end with row {segment.last}")
        self.sealed = self.count

    def finish(self) -> None:
        """Nothing was cut off at the end. Raises `_Broken`."""
        if self.count < self._head.count:
            gone = self.count + 1
            raise _Broken(gone, f"row {gone} is missing: the head file counts {self._head.count} rows")


def check(connection: Any, directory: Path) -> Verdict:
    """Check the whole record of a database that lies in ``directory``; reads every row. Blocks."""
    key = read_key(directory)
    last = connection.execute("SELECT count(*) FROM audit").get + len(segments(connection))
    if key is None:
        reason = "" if not last else "audit.key is missing or unreadable: no row can be checked"
        return Verdict(not last, 0, GENESIS, 1 if last else None, reason)
    try:
        head = read_head(directory)
    except ValueError as error:
        return Verdict(ok=False, count=0, head=GENESIS, reason=str(error))
    if head is None and last:
        return Verdict(ok=False, count=0, head=GENESIS, reason="audit.head is missing: rows may have been cut off")
    if head is not None and not head.is_signed(key):
        return Verdict(ok=False, count=0, head=GENESIS, reason="audit.head was not written with this audit key")
    return _walk(connection, directory, _Walk(key, head or Head(0)))


def _walk(connection: Any, directory: Path, walk: _Walk) -> Verdict:
    try:
        for segment in segments(connection):
            walk.follow_segment(directory, segment)
        walk.follow(Row(*row) for row in connection.execute(ALL_ROWS))
        walk.finish()
    except _Broken as broken:
        return Verdict(False, walk.count, walk.last, broken.number, broken.reason, walk.sealed)
    return Verdict(True, walk.count, walk.last, sealed=walk.sealed)
