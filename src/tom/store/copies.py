"""The seam to what is known of copies that a shared memory has of conversations, and must not keep.

Above: whoever writes that memory (`tom.agent.sharedmemory`). Below: the same file as the events', for what was erased
is noted in the transaction that erases it, and stays noted until the copy is known to be gone. Nothing is noted in a
store that never shared a memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MEMORY = "memory"
SHARED_SURFACE = "rest"
"""The door whose conversations have copies."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A conversation whose copy is behind: ``erased`` here, or else its oldest part was."""

    number: int
    conversation_id: str
    erased: bool


class Copies(Protocol):
    """What is to be put right elsewhere. Every verb may raise `StorageUnavailable`, those that write `StorageFull`."""

    async def stale(self, *, after: int = 0, limit: int = 100) -> tuple[Stale, ...]:
        """Copies that are behind, those noted first first; ``after``: the number of one from an earlier page."""
        ...

    async def settle(self, stale: Sequence[Stale]) -> None:
        """These copies are right now; what was noted of the same conversations meanwhile stays."""
        ...

    async def erased(self, conversation_id: str) -> bool:
        """Whether the conversation was erased here and its copy may still be there."""
        ...

    async def ids(self, *, after: str = "", limit: int = 500) -> tuple[str, ...]:
        """Conversations by id, in the order of their ids: no use of them moves them in it."""
        ...
