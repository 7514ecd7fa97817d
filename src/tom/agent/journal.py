"""A run's journal: what has happened in it, recorded in the store and told to the feed, in that order."""

import asyncio
import hashlib
import hmac

from tom.agent.feed import Feed, Stored
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.run import RunProgress
from tom.store.eventstore import EventStore, RunRow


class Journal:
    """One run being worked on by this process.

    ``parked`` asks the loop to stop at the next safe point, leaving the run to be resumed later.
    """

    def __init__(self, row: RunRow, progress: RunProgress, store: EventStore, feed: Feed) -> None:
        """Work on the run ``row``, which stands at ``progress``."""
        self.row = row
        self.progress = progress
        self.parked = False
        self.level: int | None = None
        self._store = store
        self._feed = feed

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.row.id

    @property
    def conversation_id(self) -> str:
        """The conversation's id."""
        return self.row.conversation_id

    @property
    def request_id(self) -> str:
        """The id under which the run was asked for."""
        return self.row.request_id

    async def record(self, *events: Event) -> None:
        """Store the events in one commit, then tell the feed. Raises `Superseded` when the run is not ours any more.

        A cancellation waits for the commit, so that ``progress`` never lags behind what is on disk.
        """
        writing = asyncio.ensure_future(self._append(events))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    async def _append(self, events: tuple[Event, ...]) -> None:
        for stored in await self._store.append(events):
            self.progress = self.progress.apply(stored)
            self._feed.publish(Stored(stored, self.request_id))

    async def fail(self, code: str, reason: str) -> None:
        """End the run as failed."""
        await self.record(
            happened.run_failed(
                self.conversation_id, run_id=self.run_id, usage=self.progress.usage, code=code, reason=reason
            )
        )

    def key_for(self, turn: int, call_id: str) -> str:
        """The key that lets a service recognise a repetition of this very call.

        HMAC-SHA-256 over run, turn and call, keyed by the store's epoch: a restored copy never reuses a key.
        """
        text = f"{self.run_id}\0{turn}\0{call_id}"
        return hmac.new(self._store.epoch.encode(), text.encode(), hashlib.sha256).hexdigest()
