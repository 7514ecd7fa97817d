"""The seam between one agent's conversations and other processes that may have the same ones."""

from collections.abc import Sequence
from typing import Protocol

from tom.conversation.event import Event


class Elsewhere(Protocol):
    """Knows of conversations in other processes; `sharedmemory.SharedMemory` does by a Redis.

    Above: `Conversations`, which stores what it is handed. It stores nothing itself, and nobody waits for it long.
    """

    async def adopt(self, conversation_id: str) -> Sequence[Event]:
        """The beginning of a conversation that is unknown here: nothing when it is unknown there too. Never raises."""
        ...

    async def claim(self, conversation_id: str) -> Sequence[Event]:
        """Make this the one process that runs a conversation; returns what was said elsewhere since.

        Raises `SessionElsewhere` while another one runs it.
        """
        ...

    def forget(self, conversation_id: str) -> None:
        """A conversation was erased here: nobody shall adopt it."""
        ...
