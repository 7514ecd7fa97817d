"""What was said lately, kept in memory, so that a conversation that goes on need not be read again for each message.

It is only ever what the store says: an entry is taken out when a run begins, put back when that run has ended well,
and used only when the next run begins at the very next number. Anything else reads the store.
"""

from collections import OrderedDict

from tom.agent.transcript import Past
from tom.conversation.event import Event
from tom.conversation.history import RunHistory

KEPT = 64
"""Conversations remembered."""


class Recall:
    """The newest runs of the conversations used last, each within the context's budget."""

    def __init__(self, tokens: int) -> None:
        """Keep at most ``tokens`` of each conversation."""
        self._tokens = tokens
        self._entries: OrderedDict[str, tuple[int, Past]] = OrderedDict()

    def take(self, conversation_id: str, first_seq: int) -> Past | None:
        """What came before the run that begins at ``first_seq``, when that is known; it is forgotten by asking."""
        entry = self._entries.pop(conversation_id, None)
        return entry[1] if entry is not None and entry[0] + 1 == first_seq else None

    def keep(
        self,
        conversation_id: str,
        last_seq: int,
        runs: tuple[RunHistory, ...],
        *,
        summary: Event | None = None,
        instructions: tuple[Event, ...] = (),
        message_limit: int | None = None,
    ) -> None:
        """Remember ``runs``, oldest first, which end at ``last_seq``, and what stands in front of them."""
        room, kept = self._tokens, 0
        for run in reversed(runs):
            room -= sum(message.tokens for message in run.messages())
            if room < 0:
                break
            kept += 1
        recent = runs[len(runs) - kept :]
        self._entries[conversation_id] = (last_seq, Past(recent, (), summary, instructions, message_limit))
        if len(self._entries) > KEPT:
            self._entries.popitem(last=False)

    def forget(self, conversation_id: str) -> None:
        """The conversation is erased."""
        self._entries.pop(conversation_id, None)
