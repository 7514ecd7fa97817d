"""What happens in a run or a conversation, as the frames of a stream: their names, their JSON, their ids.

The JSON is that of the WebSocket's frames. Only what stands for a stored event has an id: there a stream goes on again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tom.agent import frames
from tom.agent.asks import ask_object
from tom.agent.feed import Delta, Item, Progressed, Restarted, Stored, ToolsAnnounced
from tom.agent.following import ENDS
from tom.agent.sse import sse_event
from tom.agent.waiting import ASKED, Pace
from tom.clock import Clock
from tom.config.agent import ChatSettings
from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall

_BEGINS = frozenset({EventType.RUN_STARTED, EventType.RUN_RESUMED})


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``seq`` is that of the stored event it stands for."""

    value: Mapping[str, Any]
    seq: int | None = None

    def render(self) -> bytes:
        """As a server-sent event, named by its status."""
        return sse_event(self.value["status"], self.value, seq=self.seq)


class Telling:
    """Tells one reader; ``request_id`` is what its frames carry, None: the id of each run."""

    def __init__(self, chat: ChatSettings, clock: Clock, *, request_id: str | None = None) -> None:
        """Tell what ``chat`` lets be told."""
        self._chat = chat
        self._clock = clock
        self._request_id = request_id
        self._pace = Pace()
        self._calls: dict[str, tuple[ToolCall, ...]] = {}
        self._failures: dict[str, Event] = {}

    def run(self, item: Item, *, cached: bool = False) -> Iterator[Frame]:
        """The frames for a reader who waits for the answer of one run; ``cached``: it had ended before."""
        if not isinstance(item, Stored):
            yield from self._spoken(item)
            return
        event, request_id = item.event, self._request_id or item.request_id
        failure = self._failures.get(event.run_id)
        self._note(event)
        if event.type in ENDS:
            yield Frame(frames.ended(request_id, event, failure=failure, cached=cached), event.seq)
        elif event.type in _BEGINS and not cached:
            yield Frame(frames.processing(request_id, event.conversation_id, event.run_id))

    def asked(self, event: Event, request_id: str | None) -> Frame:
        """The frame for something that the person is asked."""
        return Frame(frames.waiting(self._request_id or request_id, ask_object(event)))

    def events(self, item: Item, *, visitor: bool) -> Iterator[Frame]:
        """The frames for a reader of everything that happens in a conversation now."""
        if not isinstance(item, Stored):
            yield from self._spoken(item)
            return
        self._note(item.event)
        yield self.stored(item.event, item.request_id, visitor=visitor)
        if item.event.type in ASKED:
            yield self.asked(item.event, item.request_id)

    def stored(self, event: Event, request_id: str | None, *, visitor: bool) -> Frame:
        """The frame for an event by itself."""
        return Frame(frames.event(event, request_id, visitor=visitor), event.seq)

    def _note(self, event: Event) -> None:
        """What is needed of a run later on, until it has ended."""
        if event.type in ENDS:
            self._pace.forget(event.run_id)
            self._calls.pop(event.run_id, None)
            self._failures.pop(event.run_id, None)
        elif event.type == EventType.MODEL_FAILED:
            self._failures[event.run_id] = event
        elif event.type == EventType.MODEL_REPLIED and self._chat.tool_notifications.show_args:
            self._calls[event.run_id] = event.tool_calls

    def _spoken(self, item: Delta | Restarted | ToolsAnnounced | Progressed) -> Iterator[Frame]:
        item = replace(item, request_id=self._request_id or item.request_id)
        notices = self._chat.tool_notifications
        match item:
            case Delta():
                if item.kind == "text" or self._chat.show_thinking:
                    yield Frame(frames.chunk(item))
            case Restarted():
                yield Frame(frames.restarted(item))
            case ToolsAnnounced():
                if notices.enabled:
                    yield Frame(frames.tools_announced(item, notices, self._calls.get(item.run_id, ())))
            case Progressed():
                if notices.enabled and self._pace.is_due(item, self._clock.monotonic()):
                    yield Frame(frames.progressed(item))
