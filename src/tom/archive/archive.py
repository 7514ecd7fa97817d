"""The seam between an agent and a mirror of its conversations.

Above: the pump that empties the outbox. Below: `mysql.py`, `mongodb.py`, `redis.py` and `memory.py`. It is never read to
answer a person, and it is not a backup: what it holds is derived from the store and can be written again.

Every verb is idempotent by (namespace, user, session, seq); each raises `ArchiveUnavailable` when the mirror cannot be
reached or does not take anything now, and `RecordRefused` when it will never take this record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tom.errors import OperatorError, RemoteError


class ArchiveUnavailable(RemoteError):
    """The archive is not reachable."""

    code = "archive_unavailable"
    http_status = 503


class RecordRefused(RemoteError):
    """The archive does not take this record."""

    code = "archive_refused"
    retryable = False


class ArchiveUnfit(ArchiveUnavailable):
    """The archive's tables are not as they must be, and cannot be made so."""

    code = "archive_unfit"
    retryable = False


class AccountRefused(ArchiveUnfit):
    """The archive does not know the account, or its password is another one."""


class ArchiveClientMissing(OperatorError):
    """The archive's client is not installed."""

    code = "archive_client_missing"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A conversation as it is mirrored; times are RFC 3339 UTC."""

    id: str
    memory_limit: int | None
    created_at: str
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as it is mirrored: ``seq`` is its event's; ``stored_at`` is filled in by the archive."""

    session_id: str
    seq: int
    role: str
    content: str
    created_at: str
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stored_at: str = ""


def taken(message: MessageRecord, metadata: Mapping[str, Any]) -> bool:
    """Whether the message that is there, with this metadata, is of another run: then its place is not this one's."""
    run_id = metadata.get("run_id")
    return bool(run_id) and run_id != message.metadata.get("run_id")


OCCUPIED: Final = "Another message has its place: another program writes to this session as well"


class Archive(Protocol):
    """One mirror of one person's conversations (the person and the namespace are the implementation's)."""

    async def prepare(self) -> None:
        """Make what is not there: tables, columns, indexes. Nothing is dropped. Raises `ArchiveUnfit` as well."""
        ...

    async def write(self, session: SessionRecord, messages: Sequence[MessageRecord]) -> None:
        """Write a session's state and messages, in order of seq; what is there already becomes as it is told, once.

        Raises `RecordRefused`, with nothing written, where another run's message has the place of one (`taken`).
        """
        ...

    async def erase(self, session_id: str, *, before: int | None = None) -> None:
        """Remove a session, or only its messages of a smaller seq."""
        ...

    async def sessions(
        self, *, limit: int, offset: int, since: str | None = None, until: str | None = None
    ) -> tuple[tuple[SessionRecord, ...], int]:
        """A page of sessions created within [since, until], newest first, and how many there are in all."""
        ...

    async def has_any(self, session_ids: Sequence[str]) -> bool:
        """Whether one of these sessions is there; cheap also where many people share the place."""
        ...

    async def messages(self, session_id: str, *, limit: int, offset: int) -> tuple[MessageRecord, ...]:
        """A page of a session's messages in order of seq."""
        ...

    async def close(self) -> None:
        """Let go of connections; the next verb opens them anew."""
        ...
