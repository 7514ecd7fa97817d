"""Who works on a run: what visitors read is made without anything that is the person's own."""

from tom import ids
from tom.agent.journal import Journal
from tom.agent.transcript import Origin
from tom.agent.visiting import is_open_to_visitors
from tom.agent.worker import Worker
from tom.store.eventstore import EventStore


class Reception:
    """Gives each run to the worker of its conversation."""

    def __init__(self, store: EventStore, own: Worker, visited: Worker) -> None:
        """``own`` works for the person; ``visited`` on conversations that are open to visitors, whoever writes in them."""
        self._store = store
        self._own = own
        self._visited = visited

    async def work(self, run: Journal, origin: Origin) -> None:
        """See `Worker.work`."""
        worker = self._visited if await self._is_visited(run.conversation_id) else self._own
        await worker.work(run, origin)

    def forget(self, conversation_id: str) -> None:
        """See `Worker.forget`."""
        self._own.forget(conversation_id)
        self._visited.forget(conversation_id)

    async def _is_visited(self, conversation_id: str) -> bool:
        if not ids.is_capability(conversation_id):  # most are not: nothing is looked up for them
            return False
        return any(map(is_open_to_visitors, await self._store.conversations(ids=[conversation_id])))
