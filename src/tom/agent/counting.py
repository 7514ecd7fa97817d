"""Counting what is stored: every event carries its tokens, counted once, when it is written.

`CountingStore` stands in front of the agent's store, so that there is one place where counts are put on events.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace

from tom.conversation.event import MESSAGE_OVERHEAD, Event, EventType
from tom.llm.counting import TokenCounter, load_table, table_of
from tom.store.eventstore import ConversationRow, DayUsage, Publish, RunFilter, RunRow
from tom.store.opening import History
from tom.telemetry import logs

log = logs.get("agent")

_SAID = frozenset({
    EventType.MESSAGE_RECEIVED,
    EventType.MODEL_REPLIED,
    EventType.TOOL_RETURNED,
    EventType.TOOL_UNRESOLVED,
    EventType.PROMPT_SET,
    EventType.HISTORY_COMPACTED,
})  # fmt: skip
"""Events whose text may stand in a prompt."""

_LEAST, _MOST = 0.5, 2.0
_WEIGHT = 0.2
_MODELS = 64
_ENOUGH = 200
"""Tokens from which on a prompt says something about the model's way of counting."""


class Factors:
    """How many tokens a model's provider counts for one of ours, learnt from its replies; 1.0 until then."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: OrderedDict[str, float] = OrderedDict()

    def of(self, model: str) -> float:
        """The factor for ``model``, from 0.5 to 2."""
        return self._known.get(model, 1.0)

    def learn(self, model: str, expected: int, counted: int) -> None:
        """The provider counted ``counted`` tokens where `of` led to ``expected``."""
        if expected < _ENOUGH:
            return
        before = self.of(model)
        right = before * counted / expected
        self._known[model] = min(_MOST, max(_LEAST, before + _WEIGHT * (right - before)))
        self._known.move_to_end(model)
        if len(self._known) > _MODELS:
            self._known.popitem(last=False)


def stamp(event: Event, counter: TokenCounter) -> Event:
    """The event with its count by ``counter``."""
    if counter.estimates or event.type not in _SAID:
        return event  # as it was made: the constructors of events estimate
    written = (event.content or "") + "".join(call.name + call.arguments for call in event.tool_calls)
    return replace(event, token_count=counter.count(written) + MESSAGE_OVERHEAD)


async def load_counter(counter: TokenCounter, model: str) -> None:
    """Let ``counter`` use the table of the family of ``model`` where it is installed; without it, it estimates on."""
    name = table_of(model)
    count = await asyncio.to_thread(load_table, name)
    if count is not None:
        counter.use(count)
        log.info("🔢 Tokens are counted with a table", event="token_table", table=name)


class CountingStore:
    """An `EventStore` and `Ledger` in front of another one, that counts what is appended."""

    def __init__(self, store: History, counter: TokenCounter) -> None:
        """Count with ``counter`` what goes to ``store``."""
        self._store = store
        self._counter = counter

    @property
    def epoch(self) -> str:
        """As the store's."""
        return self._store.epoch

    @property
    def lease(self) -> int:
        """As the store's."""
        return self._store.lease

    @property
    def lost(self) -> bool:
        """As the store's."""
        return self._store.lost

    async def append(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """Count, then store."""
        return await self._store.append([stamp(event, self._counter) for event in events])

    async def take_in(self, conversation: ConversationRow, events: Sequence[Event]) -> bool:
        """Count, then store."""
        counted = [stamp(event, self._counter) for event in events]
        tokens = sum(event.token_count for event in counted if event.seq >= conversation.first_seq)
        return await self._store.take_in(replace(conversation, tokens=tokens), counted)

    async def read(self, conversation_id: str, *, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """As the store's."""
        return await self._store.read(conversation_id, after=after, limit=limit)

    async def tail(self, conversation_id: str, *, tokens: int, limit: int = 2000) -> tuple[Event, ...]:
        """As the store's."""
        return await self._store.tail(conversation_id, tokens=tokens, limit=limit)

    async def conversations(
        self,
        *,
        ids: Collection[str] | None = None,
        surface: str | None = None,
        kind: str | None = None,
        matching: str = "",
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[ConversationRow, ...]:
        """As the store's."""
        return await self._store.conversations(
            ids=ids, surface=surface, kind=kind, matching=matching, limit=limit, before=before
        )

    async def runs(self, which: RunFilter, *, limit: int = 1000) -> tuple[RunRow, ...]:
        """As the store's."""
        return await self._store.runs(which, limit=limit)

    async def erase(self, conversation_id: str, *, before: int | None = None, publish: Publish | None = None) -> bool:
        """As the store's."""
        return await self._store.erase(conversation_id, before=before, publish=publish)

    async def spent(self, *, since: str, until: str | None = None) -> tuple[DayUsage, ...]:
        """As the store's."""
        return await self._store.spent(since=since, until=until)

    async def close(self) -> None:
        """As the store's."""
        await self._store.close()
