"""Which row changes follow from events. Pure; every `EventStore` applies what it says, in the events' transaction.

A run is made by `message.received` and `run.retried`. `run.started` and `run.resumed` give it to the present opening
(its lease); everything else that happens in a run is written only by the opening that has it, and never after its
end. Exceptions are the end of a run that is queued or waiting, for nobody works on it, and the person's answers to what
it asks (`asked.py`): they come through any opening.

The changes are named tuples because they are made for every event: a frozen dataclass takes three times as long.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tom.conversation.asks import ALLOW
from tom.conversation.event import Event, EventType
from tom.conversation.run import BEGINNINGS, RunState
from tom.conversation.usage import NOTHING, Usage

TITLE_LENGTH = 80

EDITABLE = ("title", "title_by", "pinned", "metadata", "memory_limit", "services", "allowed")
"""What `conversation.changed` may say of a conversation."""

UNFINISHED = frozenset({RunState.QUEUED, RunState.RUNNING, RunState.WAITING})

_STATE_AFTER = {
    EventType.RUN_STARTED: RunState.RUNNING,
    EventType.RUN_RESUMED: RunState.RUNNING,
    EventType.RUN_WAITING: RunState.WAITING,
    EventType.RUN_COMPLETED: RunState.COMPLETED,
    EventType.RUN_FAILED: RunState.FAILED,
    EventType.RUN_CANCELLED: RunState.CANCELLED,
}
_TAKES_LEASE = frozenset({EventType.RUN_STARTED, EventType.RUN_RESUMED})
_ENDS_RESTING = frozenset({EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_USED = frozenset({EventType.CONVERSATION_OPENED, EventType.MESSAGE_RECEIVED, EventType.RUN_RETRIED})
_ABOUT_CALLS = frozenset({EventType.TOOL_CALLED, EventType.TOOL_RETURNED, EventType.TOOL_UNRESOLVED})
_COSTS = frozenset({
    EventType.MODEL_REPLIED,
    EventType.MODEL_FAILED,
    EventType.TRIAGE_DECIDED,
    EventType.HISTORY_COMPACTED,
    EventType.CONVERSATION_CHANGED,
})  # fmt: skip
UPKEEP = frozenset({EventType.CONVERSATION_CHANGED, EventType.HISTORY_COMPACTED, EventType.HISTORY_RETIRED})
"""Events about a conversation that is there: they never make one, or one that was erased would come back."""

_EDITS = frozenset({EventType.CONVERSATION_CHANGED, EventType.APPROVAL_ANSWERED})


class RunMade(NamedTuple):
    """A row for a new run, queued and without a lease. A retry has the payload of the run it repeats."""

    run_id: str
    conversation_id: str
    request_id: str
    payload_digest: str
    retry_of: str
    first_seq: int
    created_at: str


class RunChanged(NamedTuple):
    """A change of an unfinished run's row; None: the state stays. ``usage`` is added.

    Allowed to the opening that has the run's lease; with ``takes_lease`` to any that is not earlier, which has it from
    then on; with ``ends_resting`` to any while the run is queued or waiting.
    """

    run_id: str
    state: RunState | None
    takes_lease: bool
    ends_resting: bool
    recovered: bool
    usage: Usage

    def allowed(self, state: RunState, leased_to: int, lease: int) -> bool:
        """Whether the opening ``lease`` may change a run that stands at ``state`` and belongs to ``leased_to``."""
        if state.ended:
            return False
        if self.takes_lease:
            return leased_to <= lease
        return leased_to == lease or (self.ends_resting and state is not RunState.RUNNING)


class EffectIntended(NamedTuple):
    """A row for a tool call that is about to be made; the same call made again replaces its row."""

    run_id: str
    turn: int
    call_id: str
    service: str
    tool: str
    digest: str
    key: str | None
    tool_class: str


class EffectEnded(NamedTuple):
    """What became of an intended call: ``done``, ``failed`` or ``unknown``; ``result`` is the seq that tells it."""

    run_id: str
    turn: int
    call_id: str
    state: str
    result: int


class ConversationChanged(NamedTuple):
    """What one append at the time ``at`` does to a conversation's row; None: stays as it is.

    ``tokens`` and ``usage`` are added; ``used_at`` is set where its person used it.

    ``recount``: runs were taken up or ended, so the state is what `conversation_state` says of its unfinished runs.
    ``runs`` were made. ``edits`` are what its row is changed to besides, in order.
    """

    conversation_id: str
    first_seq: int
    last_seq: int
    at: str
    tokens: int
    usage: Usage
    used_at: str | None
    title: str | None
    opened: Event | None
    system_prompt: str | None
    state: str | None
    recount: bool
    runs: int
    edits: tuple[Mapping[str, Any], ...]


def run_made(event: Event) -> RunMade | None:
    """The run that an event makes, if it makes one."""
    extra = event.extra
    run_id: str = extra.get("run_id", "")
    if event.type not in BEGINNINGS or not run_id:
        return None
    digest, origin = extra.get("payload_digest", ""), extra.get("retry_of", "")
    return RunMade(
        run_id, event.conversation_id, event.request_id or run_id, digest, origin, event.seq, event.timestamp
    )


def run_changed(event: Event) -> RunChanged | None:
    """How an event changes its run, if it belongs to one that is there already."""
    if event.type in BEGINNINGS or not event.run_id:
        return None
    return RunChanged(
        event.run_id,
        _STATE_AFTER.get(event.type),  # pyright: ignore[reportArgumentType] - a StrEnum's member and its text are one key
        takes_lease=event.type in _TAKES_LEASE,
        ends_resting=event.type in _ENDS_RESTING,
        recovered=event.type == EventType.RUN_RESUMED,
        usage=_spent(event),
    )


def effect_changed(event: Event) -> EffectIntended | EffectEnded | None:
    """What an event says about a tool call."""
    if event.type not in _ABOUT_CALLS:
        return None
    call = (event.run_id, event.turn, event.tool_call_id or "")
    extra = event.extra
    if event.type == EventType.TOOL_CALLED:
        service, tool, digest = extra.get("service", ""), extra.get("tool", ""), extra.get("digest", "")
        return EffectIntended(*call, service, tool, digest, extra.get("key"), extra.get("class", ""))
    if event.type == EventType.TOOL_UNRESOLVED:
        return EffectEnded(*call, "unknown", event.seq)
    return EffectEnded(*call, "failed" if extra.get("is_error") else "done", event.seq)


def conversation_changed(events: Sequence[Event]) -> ConversationChanged:
    """What the stored events of one conversation, in order, do to its row."""
    tokens, usage, runs = 0, NOTHING, 0
    used_at = title = opened = system_prompt = state = None
    recount = False
    edits: tuple[Mapping[str, Any], ...] = ()
    for event in events:
        kind = event.type
        tokens += event.token_count
        if kind == EventType.PROMPT_SET:
            system_prompt = event.content
        if kind in _USED or (kind in BEGINNINGS and event.run_id):
            used_at = event.timestamp
        if kind in BEGINNINGS:
            if event.run_id:
                state = "running"
                runs += 1
            title = title or (title_of(event.content or "") if event.role == "user" else None)
        elif kind in _STATE_AFTER:
            recount = recount or bool(event.run_id)
        elif kind == EventType.CONVERSATION_OPENED:
            opened = event
        elif kind in _EDITS:
            edits = (*edits, _edit(event))
        if event.usage is not None:
            usage += _spent(event)
    first, last = events[0], events[-1]
    place = (first.conversation_id, first.seq, last.seq, last.timestamp)
    return ConversationChanged(
        *place, tokens, usage, used_at, title, opened, system_prompt, state, recount, runs, edits
    )


def opened_with(change: ConversationChanged) -> tuple[str, str, int | None, Any]:
    """Kind, surface, memory limit and metadata of a conversation that begins with ``change``."""
    extra: Mapping[str, Any] = change.opened.extra if change.opened else {}
    return (
        extra.get("kind", "chat"),
        extra.get("surface", ""),
        extra.get("memory_limit"),
        extra.get("metadata") or {},
    )


def _edit(event: Event) -> Mapping[str, Any]:
    """What a `conversation.changed`, or a yes that is to stand, does to the row; often nothing."""
    extra = event.extra
    if event.type == EventType.CONVERSATION_CHANGED:
        return {name: extra[name] for name in EDITABLE if name in extra}
    if extra.get("remember") == "conversation" and extra.get("decision") == ALLOW:
        return {"allowed": {f"{extra['service']}.{extra['tool']}": extra["pin"]}}
    return {}


def title_of(text: str) -> str:
    """The first line of a message, cut to 80 characters."""
    lines = text.strip().splitlines()
    return lines[0].rstrip()[:TITLE_LENGTH] if lines else ""


def conversation_state(runs: Iterable[RunState]) -> str:
    """``running`` while one of the runs is queued or running, else ``waiting`` while one waits, else ``idle``."""
    states = set(runs)
    if states & {RunState.QUEUED, RunState.RUNNING}:
        return "running"
    return "waiting" if RunState.WAITING in states else "idle"


def _spent(event: Event) -> Usage:
    """What an event adds to what was used. The end of a run has the sum of its turns, which were counted already."""
    if event.type == EventType.RUN_COMPLETED:
        speech = event.extra.get("speech_usage")
        return Usage.from_json(speech) if speech else NOTHING
    return event.usage if event.usage is not None and event.type in _COSTS else NOTHING
