"""Following one run for one reader: what was stored of it, then what happens, until it ends or waits for its person.

A reader that is slow has its fragments joined, and above a limit dropped (`backlog.py`); the rest of a reply then comes
with its end. So every reader gets every reply whole, and what waits for it is bounded. Nobody else notices.
"""

from collections.abc import AsyncGenerator

from tom.agent.backlog import INTERVAL, LIMIT, Backlog
from tom.agent.conversations import Accepted, Conversations
from tom.agent.feed import Delta, Item, Restarted, Stored
from tom.agent.waiting import ASKED, ask_id, still_open
from tom.conversation.event import Event, EventType
from tom.errors import RunNotFound

ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_RESTS = ENDS | {EventType.RUN_WAITING, EventType.RUN_RESUMED}


class Following:
    """One reader of one run. Attached from the moment it is made, without awaiting: nothing of a new run is missed.

    ``cached`` is known once `items` has begun: the run had ended before it was asked for (again).
    """

    def __init__(
        self,
        conversations: Conversations,
        accepted: Accepted,
        *,
        through_waiting: bool = False,
        interval: float = INTERVAL,
        limit: int = LIMIT,
    ) -> None:
        """Follow the run of ``accepted``; with ``through_waiting`` also on while it waits for its person."""
        self.accepted = accepted
        self.cached = False
        self._conversations = conversations
        self._through_waiting = through_waiting
        self._shown: dict[tuple[int, int], int] = {}
        self._answered: frozenset[str] = frozenset()
        self._backlog = Backlog(conversations.feed, accepted.run.id, interval=interval, limit=limit)

    def close(self) -> None:
        """Stop listening; the run goes on. Closing twice is fine."""
        self._backlog.close()

    async def items(self) -> AsyncGenerator[Item]:
        """What happens in the run, in order, up to and with its end (or `run.waiting`).

        A repeated run begins with what is stored of it. The text of a reply always comes as `Delta`, and whole before its
        `model.replied`; of a run that had ended only that of the last reply. Raises `RunNotFound` when the conversation
        was erased before, `ShuttingDown` when the agent stops while the run goes on.
        """
        if self.accepted.repeated:
            earlier, rests = await self._earlier()
            for item in earlier:
                yield item
            if rests:
                return
        while True:
            item = await self._backlog.next()
            if isinstance(item, Delta) and item.kind == "text":
                self._shown[item.turn, item.attempt] = item.offset + len(item.text)
            if isinstance(item, Stored) and (rest := self._rest_of(item.event)) is not None:
                yield rest
            yield item
            if isinstance(item, Stored) and self._is_last(item.event):
                return

    def _is_last(self, event: Event) -> bool:
        return event.type in ENDS or (event.type == EventType.RUN_WAITING and not self._through_waiting)

    def is_open(self, asked: Event) -> bool:
        """Whether an ask that was told is still asked: of a repeated run some are answered long since."""
        return ask_id(asked.extra) not in self._answered

    # --- what was before -----------------------------------------------------------------------------------------

    async def _earlier(self) -> tuple[list[Item], bool]:
        """What is stored, with the text of the replies and of the one being spoken; and whether that is all."""
        events = await self._conversations.events_of(self.accepted.run)
        if not events:
            raise RunNotFound
        # From here on nothing is awaited: what came meanwhile is known by its seq, fragments are in the text so far.
        held, last = self._backlog.take_all(), events[-1].seq
        missed = [item for item in held if isinstance(item, Stored) and item.event.seq > last]
        others = [item for item in held if not isinstance(item, Stored | Delta | Restarted)]
        told = (*events, *(item.event for item in missed))
        self.cached = events[-1].type in ENDS
        waiting = {ask_id(event.extra) for event in still_open(told)} if not self.cached else set[str]()
        self._answered = frozenset(ask_id(event.extra) for event in told if event.type in ASKED) - waiting
        items = self._told(told)
        live = self._conversations.feed.live(self.accepted.run.id)
        if live is not None and live.text:
            self._shown[live.turn, live.attempt] = len(live.text)
            items.append(live.as_delta())
        return [*items, *others], self._rests(told)

    def _told(self, events: tuple[Event, ...]) -> list[Item]:
        request_id = self.accepted.run.request_id
        replies = [event for event in events if event.type == EventType.MODEL_REPLIED and event.content]
        spoken = {event.seq for event in (replies[-1:] if self.cached else replies)}
        items: list[Item] = []
        for event in events:
            if event.seq in spoken and (text := self._rest_of(event)) is not None:
                items.append(text)
            items.append(Stored(event, request_id))
        return items

    def _rests(self, events: tuple[Event, ...]) -> bool:
        """Whether the run has ended, or waits for an answer; one that was answered is about to go on."""
        last = next((event.type for event in reversed(events) if event.type in _RESTS), None)
        if last == EventType.RUN_WAITING:
            return not self._through_waiting and bool(still_open(events))
        return last in ENDS

    def _rest_of(self, event: Event) -> Delta | None:
        """What the reader has not seen yet of a reply that is stored now."""
        if event.type != EventType.MODEL_REPLIED:
            return None
        turn, attempt, text = event.turn, event.extra.get("attempt", 1), event.content or ""
        seen = self._shown.pop((turn, attempt), 0)
        if seen >= len(text):
            return None
        request_id = self.accepted.run.request_id
        return Delta(event.conversation_id, event.run_id, request_id, turn, attempt, seen, text[seen:])
