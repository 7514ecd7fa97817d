"""What a run's model gets to read: the earlier runs, loaded once, and the run itself as far as it has come."""

from dataclasses import dataclass, field

from tom.agent.prompt import Circumstances, build_prompt
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation.event import Event
from tom.conversation.history import RunHistory, fold
from tom.conversation.message import Message
from tom.conversation.run import RunState
from tom.conversation.tool import ToolDefinition
from tom.store.eventstore import EventStore, RunFilter, RunRow


class Transcript:
    """The conversation as seen from one run."""

    def __init__(
        self,
        settings: AgentSettings,
        request: Event,
        earlier: tuple[RunHistory, ...],
        around: Circumstances,
        clock: Clock,
    ) -> None:
        """See ``earlier`` runs and the person's message ``request``."""
        self._settings = settings
        self._request = request
        self._earlier = earlier
        self._around = around
        self._clock = clock

    @property
    def request(self) -> Event:
        """The person's message."""
        return self._request

    def prompt(self, events: tuple[Event, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
        """The messages for the next turn, given the run's own events so far. Raises `ContextTooSmall`."""
        current = RunHistory(self._request.run_id, request=self._request, state=RunState.QUEUED)
        for event in events:
            current = current.apply(event)
        return build_prompt(self._settings, current, self._earlier, tools, self._around, self._clock.now())


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came about, as far as its acceptance knows; a run found after a restart knows nothing.

    ``request`` is the person's message; ``first``: nothing was said before it in its conversation.
    """

    around: Circumstances = field(default_factory=Circumstances)
    request: Event | None = None
    first: bool = False


async def read_earlier(settings: AgentSettings, store: EventStore, row: RunRow) -> tuple[RunHistory, ...]:
    """The runs before ``row``, newest part: O(size of the window), however long the conversation is."""
    events = await store.tail(row.conversation_id, tokens=settings.chat.context_max_tokens)
    history = fold(events)
    return history.before(row.id) if row.id in history.runs else ()


async def request_of(store: EventStore, row: RunRow) -> Event:
    """The message that a run answers, through any chain of retries."""
    while True:
        (beginning,) = await store.read(row.conversation_id, after=row.first_seq - 1, limit=1)
        if "retry_of" not in beginning.extra:
            return beginning
        (row,) = await store.runs(RunFilter(run_id=beginning.extra["retry_of"]))
