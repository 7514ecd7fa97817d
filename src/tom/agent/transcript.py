"""What a run's model gets to read: the earlier runs, loaded once, and the run itself as far as it has come."""

from dataclasses import dataclass, field, replace
from typing import Protocol

from tom.agent.fencing import Loader
from tom.agent.prompt import Circumstances, Preparation, build_prompt
from tom.clock import Clock
from tom.config.agent import AgentSettings
from tom.conversation.event import MESSAGE_OVERHEAD, Event, EventType
from tom.conversation.history import RunHistory, Unit, fold, gone_on
from tom.conversation.message import Message, Role
from tom.conversation.run import RunState
from tom.conversation.tool import ToolDefinition
from tom.conversation.usage import estimate_tokens
from tom.errors import RunNotFound
from tom.store.eventstore import EventStore, RunFilter, RunRow

DOCUMENT_SHARE = 2
"""Characters of an attached text for each token of the context: one text never fills it all."""

GONE = "The message is not kept any more; send it again."

OLD_DOCUMENT = 2000
"""Characters kept of a text that came with an earlier message."""


class Helping(Protocol):
    """Says what helps with the next turn beside what the preparation holds; see `consigns.py`."""

    async def messages(self, current: RunHistory) -> tuple[Message, ...]:
        """The helper messages of this turn only. Never raises."""
        ...


class Transcript:
    """The conversation as seen from one run."""

    def __init__(
        self,
        settings: AgentSettings,
        request: Event,
        past: "Past",
        around: Circumstances,
        clock: Clock,
        *,
        preparation: Preparation | None = None,
        helping: Helping | None = None,
        loader: Loader | None = None,
    ) -> None:
        """See what was said before and the person's message ``request``.

        ``preparation`` and ``helping`` say what helps with it; ``loader`` fills in pictures and attached texts.
        """
        self._settings = settings
        self._request = request
        self._past = past
        self.earlier, self._going_on = gone_on(past.earlier, request)
        self._around = around
        self._clock = clock
        self._preparation = preparation or Preparation()
        self._helping = helping
        self._loader = loader

    @property
    def request(self) -> Event:
        """The person's message."""
        return self._request

    async def prompt(self, events: tuple[Event, ...], tools: tuple[ToolDefinition, ...]) -> tuple[Message, ...]:
        """The messages for the next turn, given the run's own events so far, each with its label.

        Raises `ContextTooSmall`.
        """
        current, past, prepared = self.current(events), self._past, self._preparation
        helping = await self._helping.messages(current) if self._helping is not None else ()
        loaded = [await self._loaded(message) for message in current.asked()]
        messages = build_prompt(
            self._settings,
            current,
            () if prepared.fresh_start else self.earlier,
            tools,
            self._around,
            self._clock.now(),
            helpers=(*prepared.helpers, *helping),
            instructions=past.instructions,
            summary=None if prepared.fresh_start else past.summary,
            standing=prepared.standing,
            spent=sum(map(_attached_tokens, loaded)),
            message_limit=self._message_limit(),
        )
        own = max((at for at, said in enumerate(messages) if said.role is Role.USER), default=-1)
        return tuple(
            [
                await self._loaded(said, old=at < own) if len(said.parts) > 1 or said.images else said
                for at, said in enumerate(messages)
            ]
        )

    def _message_limit(self) -> int | None:
        """How many messages the window may have: what the request wishes, else its conversation; never above the most."""
        wished: int | None = self._request.extra.get("options", {}).get("memory_limit", self._past.message_limit)
        return None if wished is None else min(wished, self._settings.doors.memory_max)

    def current(self, events: tuple[Event, ...]) -> RunHistory:
        """The run itself, given its own events so far; one that only told what came of calls goes on with theirs."""
        before = self._going_on or RunHistory(self._request.run_id, self._request)
        units = (*before.units, *self._past.done)
        current = RunHistory(self._request.run_id, before.request, RunState.QUEUED, units)
        for event in events:
            current = current.apply(event)
        return current

    async def _loaded(self, message: Message, *, old: bool = False) -> Message:
        if self._loader is None:
            return message
        longest = OLD_DOCUMENT if old else self._settings.chat.context_max_tokens * DOCUMENT_SHARE
        return await self._loader.load(message, self._request.conversation_id, longest=longest)


def _attached_tokens(message: Message) -> int:
    """What the attached texts of a message cost beside its own count."""
    return max(0, estimate_tokens(message.text) + MESSAGE_OVERHEAD - message.tokens)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came about, as far as its acceptance knows; a run found after a restart knows nothing.

    ``request`` is the person's message; ``first``: nothing was said before it in its conversation but ``instructions``.
    """

    around: Circumstances = field(default_factory=Circumstances)
    request: Event | None = None
    first: bool = False
    instructions: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What was said before a run; ``done`` is what an earlier try at the same message has done already.

    ``summary`` stands for what came before ``earlier``; ``instructions`` are those of the conversation, and so is
    ``message_limit``, the most user and assistant messages of a prompt (None: as many as fit).
    """

    earlier: tuple[RunHistory, ...] = ()
    done: tuple[Unit, ...] = ()
    summary: Event | None = None
    instructions: tuple[Event, ...] = ()
    message_limit: int | None = None

    def knowing(self, request: Event) -> "Past":
        """With ``request`` among the instructions, where it is one."""
        if request.type != EventType.PROMPT_SET or any(event.id == request.id for event in self.instructions):
            return self
        return replace(self, instructions=(*self.instructions, request))

    @property
    def unresolved_tools(self) -> frozenset[str]:
        """The tools whose outcome that earlier try has left unknown."""
        results = (result for unit in self.done for result in unit.results)
        unknown = (result.extra for result in results if result.type == EventType.TOOL_UNRESOLVED)
        return frozenset(f"{extra['service']}.{extra['tool']}" for extra in unknown)


async def read_past(settings: AgentSettings, store: EventStore, row: RunRow) -> Past:
    """The newest part of what was said before ``row``: O(size of the window), however long the conversation is."""
    events = await store.tail(row.conversation_id, tokens=settings.chat.context_max_tokens)
    history = fold(_without_told(events, row.id))
    mine = history.runs.get(row.id)
    if mine is None:
        return Past()
    tried = history.runs.get(mine.retry_of)
    done = tried.done() if tried is not None else ()
    (conversation,) = await store.conversations(ids=[row.conversation_id])
    return Past(history.before(row.id), done, history.summary, history.instructions, conversation.memory_limit)


def _without_told(events: tuple[Event, ...], run_id: str) -> tuple[Event, ...]:
    """The events without what the message of this run tells of earlier ones: the transcript puts it in front itself."""
    tries = {event.run_id: event.extra["retry_of"] for event in events if event.type == EventType.RUN_RETRIED}
    own = {run_id}
    while (run_id := tries.get(run_id, "")) and run_id not in own:
        own.add(run_id)
    return tuple(
        replace(event, extra={name: value for name, value in event.extra.items() if name != "prior"})
        if event.run_id in own and "prior" in event.extra
        else event
        for event in events
    )


async def request_of(store: EventStore, row: RunRow) -> Event:
    """The message that a run answers, through any chain of retries. Raises `RunNotFound` when it is not kept any more."""
    while True:
        beginning = await store.read(row.conversation_id, after=row.first_seq - 1, limit=1)
        if not beginning or beginning[0].run_id != row.id:
            raise RunNotFound(GONE)
        if "retry_of" not in beginning[0].extra:
            return beginning[0]
        rows = await store.runs(RunFilter(run_id=beginning[0].extra["retry_of"], conversation_id=row.conversation_id))
        if not rows:
            raise RunNotFound(GONE)
        (row,) = rows
