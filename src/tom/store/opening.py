"""From settings to a store."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tom.clock import Clock, SystemClock
from tom.config.agent import ArchiveSettings, PersistenceSettings
from tom.store.copies import Copies
from tom.store.eventstore import EventStore, Ledger
from tom.store.intake import Intake
from tom.store.outbox import MirrorRules, Outbox
from tom.telemetry import logs

log = logs.get("history")

MIB = 1_048_576


class History(EventStore, Ledger, Intake, Protocol):
    """What conversations are and what they cost, and the way in for one from elsewhere."""

    @property
    def lost(self) -> bool:
        """Whether nothing can be written at the moment: the disk does not take it."""
        ...


class Store(History, Outbox, Copies, Protocol):
    """All seams of this package: every store here has them."""


async def open_store(
    settings: PersistenceSettings,
    home: Path,
    *,
    clock: Clock | None = None,
    archive: ArchiveSettings | None = None,
    shared: bool = False,
) -> Store:
    """Open the history that the settings ask for; ``home`` is where a relative ``path`` lies; ``archive``: what it is told.

    ``shared``: sessions have copies in a memory that outlives this process.

    ``enabled: false`` keeps conversations in memory only and does not read an earlier file; ``clear_on_startup``
    erases that file first, for good. Raises what `SqliteEventStore.open` says.
    """
    clock = clock or SystemClock()
    mirror = rules_of(archive)
    path = home / settings.path
    on_disk = settings.type == "sql"
    owed = _Owed()
    if on_disk and settings.clear_on_startup:
        owed = await _clear(path, clock, mirror, shared=shared)
    if on_disk and settings.enabled:
        from tom.store.sqlite import SqliteEventStore  # noqa: PLC0415 - whoever reads the seam needs no SQLite

        store = await SqliteEventStore.open(path, clock=clock, mirror=mirror, shared=shared)
        await owed.hand_over(store)
        return store
    from tom.store.memory import MemoryEventStore  # noqa: PLC0415 - as above

    remembered = MemoryEventStore(clock, mirror=mirror, shared=shared)
    await owed.hand_over(remembered)
    return remembered


def rules_of(archive: ArchiveSettings | None) -> MirrorRules | None:
    """What the archive of these settings is told; None: there is none."""
    if archive is None or archive.backend == "none":
        return None
    uri = archive.uri.reveal().rpartition("@")[2]  # who asks makes it no other archive
    told = (archive.backend, archive.host, archive.port, archive.database, archive.namespace, uri)
    place = hashlib.sha256(repr((*told, archive.sessions, archive.messages)).encode()).hexdigest()[:16]
    return MirrorRules(archive.full, archive.retention == "keep", archive.outbox_max_mb * MIB, place)


@dataclass(frozen=True, slots=True)
class _Owed:
    """Conversations that were erased before the file was, of which others may not know yet."""

    archive: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()

    async def hand_over(self, store: Store) -> None:
        """They are still to be told of."""
        if self.archive or self.memory:
            await store.owe(self.archive, memory=self.memory)


async def _clear(path: Path, clock: Clock, mirror: MirrorRules | None, *, shared: bool) -> _Owed:
    """Erase the file; what an archive or a shared memory has not been told is still to be told."""
    from tom.store.sqlite import SqliteEventStore  # noqa: PLC0415 - as above

    if not path.exists():  # noqa: ASYNC240 - once, before anything is served
        return _Owed()
    store = await SqliteEventStore.open(path, clock=clock, mirror=mirror, shared=shared)
    archive, memory = await store.owed()
    conversations, events = await store.count()
    await store.close(erase=True)
    log.warning("🧹 Erased the earlier history", event="history_cleared", conversations=conversations, events=events)
    return _Owed(archive, memory)
