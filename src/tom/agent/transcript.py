"""What a run's model gets to read: the earlier runs, loaded once, and the run itself as far as it has come."""

from dataclasses import dataclass, field

from tom.agent.prompt import Circumstances, build_prompt
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation.event import Event, EventType
from tom.conversation.history import RunHistory, Unit, fold
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
        past: "Past",
        around: Circumstances,
        clock: Clock,
    ) -> None:
        """See what was said before and the person's message ``request``."""
        self._settings = settings
        self._request = request
        self._past = past
        self._around = around
        self._clock = clock

    @property
    def request(self) -> Event:
        """The person's message."""
        return self._request

    def prompt(self, events: tuple[Event, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
        """The messages for the next turn, given the run's own events so far. Raises `ContextTooSmall`."""
        current, earlier = self.current(events), self._past.earlier
        return build_prompt(self._settings, current, earlier, tools, self._around, self._clock.now())

    def current(self, events: tuple[Event, ...]) -> RunHistory:
        """The run itself, given its own events so far."""
        current = RunHistory(self._request.run_id, self._request, RunState.QUEUED, self._past.done)
        for event in events:
            current = current.apply(event)
        return current


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came about, as far as its acceptance knows; a run found after a restart knows nothing.

    ``request`` is the person's message; ``first``: nothing was said before it in its conversation.
    """

    around: Circumstances = field(default_factory=Circumstances)
    request: Event | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """What was said before a run; ``done`` is what an earlier try at the same message has done already."""

    earlier: tuple[RunHistory, ...] = ()
    done: tuple[Unit, ...] = ()

    @property
    def unresolved_tools(self) -> frozenset[str]:
        """The tools whose outcome that earlier try has left unknown."""
        results = (result for unit in self.done for result in unit.results)
        unknown = (result.extra for result in results if result.type == EventType.TOOL_UNRESOLVED)
        return frozenset(f"{extra['service']}.{extra['tool']}" for extra in unknown)


async def read_past(settings: AgentSettings, store: EventStore, row: RunRow) -> Past:
    """The newest part of what was said before ``row``: O(size of the window), however long the conversation is."""
    history = fold(await store.tail(row.conversation_id, tokens=settings.chat.context_max_tokens))
    mine = history.runs.get(row.id)
    if mine is None:
        return Past()
    tried = history.runs.get(mine.retry_of)
    return Past(history.before(row.id), tried.done() if tried is not None else ())


async def request_of(store: EventStore, row: RunRow) -> Event:
    """The message that a run answers, through any chain of retries."""
    while True:
        (beginning,) = await store.read(row.conversation_id, after=row.first_seq - 1, limit=1)
        if "retry_of" not in beginning.extra:
            return beginning
        (row,) = await store.runs(RunFilter(run_id=beginning.extra["retry_of"]))
