"""Calls of `/v1` that stood for themselves are erased once nobody has gone on with them for a while."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tom.agent.steadiness import Steadiness
from tom.clock import timestamp
from tom.errors import ConversationNotFound
from tom.store.eventstore import ConversationRow, EventStore
from tom.telemetry import logs

log = logs.get("history")

KIND = "api"
"""Of the conversations in which such calls live."""

PAGE = 200

type Erase = Callable[[str, Callable[[ConversationRow], bool]], Awaitable[bool]]
"""(conversation id, only if that still holds) -> whether it was erased."""


class Expiring:
    """Erases what has grown too old."""

    def __init__(self, store: EventStore, steadiness: Steadiness, erase: Erase, *, hours: float) -> None:
        """``steadiness`` says when the clock may be believed; ``hours`` are counted from the last use."""
        self._store = store
        self._steadiness = steadiness
        self._erase = erase
        self._hours = hours

    async def apply_all(self) -> None:
        """Erase the calls that are due; one that is still at work, or waits for its person, is left for later."""
        now = self._steadiness.now()
        if now is None:
            return
        moment = timestamp(now - timedelta(hours=self._hours))
        erased, before = 0, f"{moment}/"
        while rows := await self._store.conversations(kind=KIND, limit=PAGE, before=before):
            before = f"{rows[-1].updated_at}/{rows[-1].id}"
            for row in rows:
                erased += await self._gone(row.id, moment)
        if erased:
            log.info("🧹 Erased old calls of the OpenAI door", event="calls_expired", conversations=erased)

    async def _gone(self, conversation_id: str, moment: str) -> bool:
        def due(row: ConversationRow) -> bool:
            return row.state == "idle" and row.updated_at < moment

        try:
            return await self._erase(conversation_id, due)
        except ConversationNotFound:  # erased meanwhile by somebody else
            return False
