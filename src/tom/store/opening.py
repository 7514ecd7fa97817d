"""From settings to a store."""

from pathlib import Path
from typing import Protocol

from tom.clock import Clock, SystemClock
from tom.config.agent import ArchiveSettings, PersistenceSettings
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


class Store(History, Outbox, Protocol):
    """All seams of this package: every store here has them."""


async def open_store(
    settings: PersistenceSettings, home: Path, *, clock: Clock | None = None, archive: ArchiveSettings | None = None
) -> Store:
    """Open the history that the settings ask for; ``home`` is where a relative ``path`` lies; ``archive``: what it is told.

    ``enabled: false`` keeps conversations in memory only and does not read an earlier file; ``clear_on_startup``
    erases that file first, for good. Raises what `SqliteEventStore.open` says.
    """
    clock = clock or SystemClock()
    mirror = rules_of(archive)
    path = home / settings.path
    on_disk = settings.type == "sql"
    erased: tuple[str, ...] = ()
    if on_disk and settings.clear_on_startup:
        erased = await _clear(path, clock, mirror)
    if on_disk and settings.enabled:
        from tom.store.sqlite import SqliteEventStore  # noqa: PLC0415 - whoever reads the seam needs no SQLite

        store = await SqliteEventStore.open(path, clock=clock, mirror=mirror)
        await store.owe(erased)
        return store
    from tom.store.memory import MemoryEventStore  # noqa: PLC0415 - as above

    remembered = MemoryEventStore(clock, mirror=mirror)
    await remembered.owe(erased)
    return remembered


def rules_of(archive: ArchiveSettings | None) -> MirrorRules | None:
    """What the archive of these settings is told; None: there is none."""
    if archive is None or archive.backend == "none":
        return None
    return MirrorRules(archive.full, archive.retention == "keep", archive.outbox_max_mb * MIB)


async def _clear(path: Path, clock: Clock, mirror: MirrorRules | None) -> tuple[str, ...]:
    """Erase the file; the conversations of whose erasure an archive has not been told are still to be told of."""
    from tom.store.sqlite import SqliteEventStore  # noqa: PLC0415 - as above

    if not path.exists():  # noqa: ASYNC240 - once, before anything is served
        return ()
    store = await SqliteEventStore.open(path, clock=clock, mirror=mirror)
    owed = () if mirror is None else await store.owed()
    conversations, events = await store.count()
    await store.close(erase=True)
    log.warning("🧹 Erased the earlier history", event="history_cleared", conversations=conversations, events=events)
    return owed
