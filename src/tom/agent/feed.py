"""The feed: carries what happens in a person's conversations to whoever listens now.

Stored events, deltas and attempt marks go in; listeners get them in order. Delivery is a plain call that must not
wait: a listener that cannot keep up queues on its own side, so no reader slows a run or another reader.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tom.conversation.event import Event, EventType
from tom.conversation.label import CLEAN, Label
from tom.conversation.usage import NOTHING, Usage

ALL = "*"
"""Listens to every conversation."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An event was committed. ``request_id`` is that of its run, None for events of the conversation itself."""

    event: Event
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Delta:
    """A fragment of a reply. ``offset`` counts the code points of (run, turn, attempt, kind) before ``text``."""

    conversation_id: str
    run_id: str
    request_id: str | None
    turn: int
    attempt: int
    offset: int
    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Restarted:
    """The text of this turn is withdrawn and begins again as ``attempt``."""

    conversation_id: str
    run_id: str
    request_id: str | None
    turn: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ToolsAnnounced:
    """A reply asked for these tools and they are about to be called."""

    conversation_id: str
    run_id: str
    request_id: str | None
    turn: int
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progressed:
    """A tool says how far its call is: ``done`` of ``total`` (None: unknown), in the service's own unit and words."""

    conversation_id: str
    run_id: str
    request_id: str | None
    turn: int
    call_id: str
    service: str
    tool: str
    done: float
    total: float | None = None
    message: str = ""

    @property
    def finished(self) -> bool:
        """Whether it says that it is at its end."""
        return self.total is not None and self.done >= self.total


type Item = Stored | Delta | Restarted | ToolsAnnounced | Progressed
type Listener = Callable[[Item], None]


@dataclass(slots=True)
class LiveTurn:
    """The reply that is being streamed: what a reader who comes now has missed.

    ``label`` is that of its prompt; ``spent`` is what the call has used, once it is over without having been recorded.
    """

    conversation_id: str
    run_id: str
    request_id: str | None
    turn: int
    attempt: int
    label: Label = CLEAN
    spent: Usage = NOTHING
    pieces: list[str] = field(default_factory=list[str])
    thinking: list[str] = field(default_factory=list[str])
    length: int = 0
    thought: int = 0

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    @property
    def written(self) -> str:
        """All that the model has written so far, thinking included."""
        return "".join((*self.thinking, *self.pieces))

    def as_delta(self) -> Delta:
        """The text so far as one fragment from the beginning."""
        return Delta(self.conversation_id, self.run_id, self.request_id, self.turn, self.attempt, 0, self.text)


class Feed:
    """Who listens, and what is being said right now."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listeners: defaultdict[str, dict[int, Listener]] = defaultdict(dict)
        self._live: dict[str, LiveTurn] = {}
        self._cut: dict[str, LiveTurn] = {}
        self._at_close: dict[object, Callable[[], object]] = {}
        self._at_erasure: defaultdict[str, dict[object, Callable[[], object]]] = defaultdict(dict)
        self.closed = False

    def close(self) -> None:
        """The agent stops: whoever follows a run is told that nothing more comes."""
        self.closed = True
        for tell in tuple(self._at_close.values()):
            tell()

    def on_close(self, tell: Callable[[], object]) -> Callable[[], None]:
        """Have ``tell`` called by `close`. Returns the call that ends it; ending twice is fine."""
        key = object()
        self._at_close[key] = tell

        def leave() -> None:
            self._at_close.pop(key, None)

        return leave

    def erased(self, conversation_id: str) -> None:
        """A conversation is gone: nothing more comes of it."""
        for tell in tuple(self._at_erasure.pop(conversation_id, {}).values()):
            tell()

    def on_erasure(self, conversation_id: str, tell: Callable[[], object]) -> Callable[[], None]:
        """Have ``tell`` called by `erased`. Returns the call that ends it; ending twice is fine."""
        key = object()
        self._at_erasure[conversation_id][key] = tell

        def leave() -> None:
            waiting = self._at_erasure.get(conversation_id, {})
            waiting.pop(key, None)
            if not waiting:
                self._at_erasure.pop(conversation_id, None)

        return leave

    def listen(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Hear a conversation id, a run id, or `ALL`. Returns the call that ends it; ending twice is fine."""
        key = id(listener)
        self._listeners[topic][key] = listener

        def leave() -> None:
            listeners = self._listeners.get(topic)
            if listeners is not None:
                listeners.pop(key, None)
                if not listeners:
                    del self._listeners[topic]

        return leave

    def publish(self, item: Item) -> None:
        """Deliver to everyone who listens to the run, its conversation, or to all; to each listener once."""
        if isinstance(item, Stored):
            conversation_id, run_id = item.event.conversation_id, item.event.run_id
            if item.event.type == EventType.MODEL_REPLIED:
                self.end(run_id)
        else:
            conversation_id, run_id = item.conversation_id, item.run_id
        heard: dict[int, Listener] = {}
        for topic in (run_id, conversation_id, ALL):
            heard |= self._listeners.get(topic, {})
        for listener in heard.values():
            listener(item)

    def begin(self, live: LiveTurn) -> None:
        """A reply begins to be streamed."""
        self._live[live.run_id] = live

    def say(self, live: LiveTurn, text: str) -> None:
        """More text of a reply."""
        offset, live.length = live.length, live.length + len(text)
        live.pieces.append(text)
        self.publish(Delta(live.conversation_id, live.run_id, live.request_id, live.turn, live.attempt, offset, text))

    def think(self, live: LiveTurn, text: str) -> None:
        """More of what the model says to itself."""
        offset, live.thought = live.thought, live.thought + len(text)
        live.thinking.append(text)
        self.publish(
            Delta(live.conversation_id, live.run_id, live.request_id, live.turn, live.attempt, offset, text, "thinking")
        )

    def live(self, run_id: str) -> LiveTurn | None:
        """The reply being streamed in a run, if any."""
        return self._live.get(run_id)

    def end(self, run_id: str) -> None:
        """Nothing is being said in this run any more."""
        self._live.pop(run_id, None)
        self._cut.pop(run_id, None)

    def cut(self, run_id: str) -> None:
        """The attempt was cut off: its text is kept in case no other one shows any."""
        live = self._live.pop(run_id, None)
        if live is not None and live.text:
            self._cut[run_id] = live

    def was_cut(self, run_id: str) -> LiveTurn | None:
        """The last attempt at the present turn that was cut off after text had been shown, if any."""
        return self._cut.get(run_id)
