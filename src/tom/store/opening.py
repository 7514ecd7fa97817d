"""From settings to a store."""

from pathlib import Path
from typing import Protocol

from tom.clock import Clock, SystemClock
from tom.config.agent import PersistenceSettings
from tom.store.eventstore import EventStore, Ledger
from tom.telemetry import logs

log = logs.get("history")


class History(EventStore, Ledger, Protocol):
    """Both seams of this package: every store here has them."""


async def open_store(settings: PersistenceSettings, home: Path, *, clock: Clock | None = None) -> History:
    """Open the history that the settings ask for; ``home`` is where a relative ``path`` lies.

    ``enabled: false`` keeps conversations in memory only and does not read an earlier file; ``clear_on_startup``
    erases that file first, for good. Raises what `SqliteEventStore.open` says.
    """
    clock = clock or SystemClock()
    path = home / settings.path
    on_disk = settings.type == "sql"
    if on_disk and settings.clear_on_startup:
        await _clear(path, clock)
    if on_disk and settings.enabled:
        from tom.store.sqlite import SqliteEventStore  # noqa: PLC0415 - whoever reads the seam needs no SQLite

        return await SqliteEventStore.open(path, clock=clock)
    from tom.store.memory import MemoryEventStore  # noqa: PLC0415 - as above

    return MemoryEventStore(clock)


async def _clear(path: Path, clock: Clock) -> None:
    from tom.store.sqlite import SqliteEventStore  # noqa: PLC0415 - as above

    if not path.exists():  # noqa: ASYNC240 - once, before anything is served
        return
    store = await SqliteEventStore.open(path, clock=clock)
    conversations, events = await store.count()
    await store.close(erase=True)
    log.warning("🧹 Erased the earlier history", event="history_cleared", conversations=conversations, events=events)
