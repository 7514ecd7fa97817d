"""What a shared memory must not keep, in memory: the twin of the table ``stale``."""

from collections.abc import Sequence

from tom.store.copies import SHARED_SURFACE, Stale
from tom.store.eventstore import ConversationRow


class MemoryCopies:
    """Copies that are behind, by conversation; gone with the process."""

    def __init__(self, *, shared: bool) -> None:
        """``shared``: there are copies at all."""
        self._shared = shared
        self._stale: dict[str, Stale] = {}
        self._number = 0

    def note(self, row: ConversationRow, *, erased: bool) -> None:
        """The conversation was erased or cut."""
        if self._shared and row.surface == SHARED_SURFACE and (erased or row.id not in self._stale):
            self._put(row.id, erased=erased)

    def owe(self, conversation_id: str) -> None:
        """The conversation was erased elsewhere."""
        self._put(conversation_id, erased=True)

    def restored(self, conversation_id: str) -> None:
        """The conversation is there again."""
        self._stale.pop(conversation_id, None)

    def stale(self, after: int, limit: int) -> tuple[Stale, ...]:
        """See the seam."""
        return tuple(one for one in self._stale.values() if one.number > after)[:limit]

    def settle(self, stale: Sequence[Stale]) -> None:
        """See the seam."""
        for one in stale:
            if self._stale.get(one.conversation_id) == one:
                del self._stale[one.conversation_id]

    def erased(self, conversation_id: str) -> bool:
        """See the seam."""
        found = self._stale.get(conversation_id)
        return found is not None and found.erased

    def _put(self, conversation_id: str, *, erased: bool) -> None:
        self._number += 1
        self._stale.pop(conversation_id, None)
        self._stale[conversation_id] = Stale(self._number, conversation_id, erased)
