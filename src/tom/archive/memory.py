"""A mirror in this process's memory: the twin of the real ones, for tests. Several people may share one `Shelves`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tom.archive.archive import OCCUPIED, MessageRecord, RecordRefused, SessionRecord, taken
from tom.clock import Clock, timestamp

type _Key = tuple[str, str, str]


@dataclass(slots=True)
class Shelves:
    """What all memory archives over it hold, by (namespace, user, session)."""

    sessions: dict[_Key, SessionRecord] = field(default_factory=dict[_Key, SessionRecord])
    messages: dict[_Key, dict[int, MessageRecord]] = field(default_factory=dict[_Key, dict[int, MessageRecord]])


class MemoryArchive:
    """An `Archive` that is gone when the process is."""

    def __init__(
        self, clock: Clock, *, namespace: str = "chat_history", user: str = "local", on: Shelves | None = None
    ) -> None:
        """The mirror of ``user`` on these shelves."""
        self._clock = clock
        self._whose = (namespace, user)
        self.shelves = on or Shelves()

    async def prepare(self) -> None:
        """Nothing is to be made."""

    async def write(self, session: SessionRecord, messages: Sequence[MessageRecord]) -> None:
        """Write a session's state and messages; see the seam."""
        key = (*self._whose, session.id)
        rows = self.shelves.messages.get(key, {})
        if any(message.seq in rows and taken(message, rows[message.seq].metadata) for message in messages):
            raise RecordRefused(OCCUPIED)
        self.shelves.sessions[key] = replace(session, metadata=dict(session.metadata))
        now = timestamp(self._clock.now())
        for message in messages:
            stored_at = rows[message.seq].stored_at if message.seq in rows else now
            rows[message.seq] = replace(message, stored_at=stored_at)
        self.shelves.messages[key] = rows

    async def erase(self, session_id: str, *, before: int | None = None) -> None:
        """Remove a session, or its messages of a smaller seq."""
        key = (*self._whose, session_id)
        if before is None:
            self.shelves.sessions.pop(key, None)
            self.shelves.messages.pop(key, None)
            return
        rows = self.shelves.messages.get(key, {})
        for seq in [seq for seq in rows if seq < before]:
            del rows[seq]

    async def sessions(
        self, *, limit: int, offset: int, since: str | None = None, until: str | None = None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        """A page of sessions, newest first, and how many there are."""
        found = [
            row
            for key, row in self.shelves.sessions.items()
            if key[:2] == self._whose and (since or "") <= row.created_at <= (until or "~")
        ]
        found.sort(key=lambda row: (row.created_at, row.id), reverse=True)
        return tuple(found[offset : offset + limit]), len(found)

    async def has_any(self, session_ids: Sequence[str]) -> bool:
        """Whether one of these sessions is there."""
        return any((*self._whose, session_id) in self.shelves.sessions for session_id in session_ids)

    async def messages(self, session_id: str, *, limit: int, offset: int) -> tuple[MessageRecord, ...]:
        """A page of a session's messages in order of seq."""
        rows = self.shelves.messages.get((*self._whose, session_id), {})
        return tuple(rows[seq] for seq in sorted(rows))[offset : offset + limit]

    async def close(self) -> None:
        """Nothing is open."""
