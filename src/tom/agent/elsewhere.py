"""The seam between one agent's conversations and other processes that may have the same ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tom.conversation.event import Event
from tom.store.eventstore import ConversationRow
from tom.store.mirrored import ABOVE


class ErasedElsewhere(Exception):
    """Another process has erased a conversation that is still here."""


class Here(Protocol):
    """What whoever knows of other processes may ask of this one's conversations; `Conversations` does it."""

    async def reconcile(self, conversation_id: str) -> None:
        """Take over what was said of a conversation elsewhere, or that it was erased. Raises `SessionElsewhere`."""
        ...

    async def give_up(self, conversation_id: str) -> None:
        """Stop the runs of a conversation that another process runs now."""
        ...


class Elsewhere(Protocol):
    """Knows of conversations in other processes; `sharedmemory.SharedMemory` does by a Redis.

    Above: `Conversations`, which stores what it is handed. It stores nothing itself, and nobody waits for it long.
    """

    async def adopt(self, conversation_id: str) -> Sequence[Event]:
        """The beginning of a conversation that is unknown here: nothing when it is unknown there too. Never raises."""
        ...

    async def claim(self, conversation_id: str, *, briefly: bool = False) -> Sequence[Event]:
        """Make this the one process that runs a conversation; returns what was said elsewhere since.

        ``briefly``: no message is about to be stored.

        Raises `SessionElsewhere` while another one runs it, `ErasedElsewhere` when one has erased it.
        """
        ...

    async def gone(self, row: ConversationRow) -> bool:
        """Whether another process has erased a conversation that is still here. Never raises."""
        ...

    def above(self, conversation_id: str) -> int:
        """How far above their numbers here the messages of the next run stand in an archive that others write to as well.

        What another process has told it already is counted; 0 while none did. Asked right after `claim`.
        """
        ...

    def forget(self, conversation_id: str) -> None:
        """A conversation was erased here: nobody shall adopt it."""
        ...


def placed(beginning: Event, elsewhere: Elsewhere | None) -> Event:
    """The beginning of a run with its place in an archive that other processes write to as well."""
    above = elsewhere.above(beginning.conversation_id) if elsewhere is not None else 0
    return replace(beginning, extra={**beginning.extra, ABOVE: above}) if above else beginning
