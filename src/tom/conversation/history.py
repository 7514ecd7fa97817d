"""The fold from events to what was said, run by run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tom.conversation import message as make
from tom.conversation.event import MESSAGE_OVERHEAD, Event, EventType
from tom.conversation.label import Label
from tom.conversation.message import Message
from tom.conversation.part import ToolCall, ToolResult, attached
from tom.conversation.run import TRANSITIONS, RunState
from tom.conversation.usage import estimate_tokens


@dataclass(frozen=True, slots=True)
class Unit:
    """One reply with the results of all its calls: in a prompt they are together, or not at all."""

    reply: Event
    results: tuple[Event, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every call has its result, but for those that the client makes."""
        return self._open() <= self.handed

    @property
    def handed(self) -> frozenset[str]:
        """The ids of the calls that the client makes itself."""
        return frozenset(self.reply.extra.get("handed", ()))

    @property
    def untold(self) -> frozenset[str]:
        """The ids of those calls of which the client has not said yet what came."""
        return self.handed & self._open()

    def _open(self) -> frozenset[str]:
        results = {result.tool_call_id for result in self.results}
        return frozenset(call.id for call in self.reply.tool_calls if call.id not in results)

    def messages(self) -> tuple[Message, ...]:
        """As messages. Of a reply that was cut off before its results came, only the text remains."""
        text = self.reply.content or ""
        if not self.complete:
            count = estimate_tokens(text) + MESSAGE_OVERHEAD
            return (make.assistant(text, (), count, self.reply.label),) if text else ()
        if not text and not self.reply.tool_calls:
            return ()
        said = make.assistant(text, self.reply.tool_calls, self.reply.token_count, self.reply.label)
        names = {call.id: call.name for call in self.reply.tool_calls}
        told = [_result_message(result, names) for result in self.results]
        missing = [call for call in self.reply.tool_calls if call.id in self._open()]
        return (said, *told, *(_not_told(call) for call in missing))


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What one run is about and what came of it so far.

    ``began`` is the seq of the event that made it; ``services`` are those chosen for it.
    """

    run_id: str
    request: Event | None = None
    state: RunState = RunState.QUEUED
    units: tuple[Unit, ...] = ()
    ended: Event | None = None
    retry_of: str = ""
    services: tuple[str, ...] = ()
    began: int = 0
    _said: list[tuple[Message, ...]] = field(
        default_factory=list[tuple[Message, ...]], init=False, repr=False, compare=False
    )

    def messages(self) -> tuple[Message, ...]:
        """The person's message and all complete units, in order."""
        if self._said:
            return self._said[0]
        said = (*self.asked(), *(piece for unit in self.units for piece in unit.messages()))
        if self.ended is not None:  # nothing follows: a window of a thousand runs is not rendered anew for each turn
            self._said.append(said)
        return said

    def asked(self) -> tuple[Message, ...]:
        """The message alone; nothing where it was an instruction, or only told what came of the client's tools."""
        request = self.request
        if request is None or request.type == EventType.PROMPT_SET:
            return ()
        if request.role == "assistant":
            return (make.assistant(request.content or "", (), request.token_count, request.label),)
        enclosed = attached(request.extra.get("attachments", ()))
        if not request.content and not enclosed:
            return ()
        said = make.user(request.content or "", request.token_count, request.label)
        return (replace(said, parts=said.parts + enclosed),)

    def done(self) -> tuple[Unit, ...]:
        """What a retry need not, and must not, do again: calls with their results, also those that may have happened."""
        return tuple(unit for unit in self.units if unit.complete and unit.reply.tool_calls)

    @property
    def answer(self) -> Event | None:
        """The last reply."""
        return self.units[-1].reply if self.units else None

    def apply(self, event: Event) -> "RunHistory":
        """The history after one more event of this run; an event that cannot follow changes nothing."""
        state = TRANSITIONS.get((self.state, EventType(event.type)))
        if state is None:
            return self
        after = replace(self, state=state, ended=event if state.ended else None)
        match event.type:
            case EventType.MODEL_REPLIED:
                return replace(after, units=(*self.units, Unit(event)))
            case EventType.TOOL_RETURNED | EventType.TOOL_UNRESOLVED if self.units:
                last = self.units[-1]
                return replace(after, units=(*self.units[:-1], replace(last, results=(*last.results, event))))
            case EventType.RUN_STARTED | EventType.TRIAGE_DECIDED:
                return replace(after, services=tuple(event.extra.get("services", ())))
            case _:
                return after


@dataclass(frozen=True, slots=True)
class History:
    """A conversation, or its newest part: runs in the order in which their messages were accepted."""

    runs: dict[str, RunHistory] = field(default_factory=dict[str, RunHistory])
    instructions: tuple[Event, ...] = ()
    summary: Event | None = None

    def before(self, run_id: str | None) -> tuple[RunHistory, ...]:
        """The runs that began before ``run_id`` (None: all), oldest first, without those retried and those summed up."""
        earlier: list[RunHistory] = []
        for run in self.runs.values():
            if run.run_id == run_id:
                break
            earlier.append(run)
        retried = self._retried()
        through: int = self.summary.extra["through_seq"] if self.summary is not None else 0
        return tuple(
            run for run in earlier if run.request is not None and run.began > through and run.run_id not in retried
        )

    def _retried(self) -> set[str]:
        return {run.retry_of for run in self.runs.values() if run.retry_of}


def fold(events: Iterable[Event]) -> History:
    """Fold stored events, in order of seq, into a history.

    Unknown event types (of a newer version) are passed over. A part of a conversation that begins inside a run
    yields that run without its request; the window leaves it out.
    """
    runs: dict[str, RunHistory] = {}
    instructions: list[Event] = []
    summary: Event | None = None
    for event in events:
        if event.type == EventType.PROMPT_SET:
            instructions.append(event)
            if event.run_id:
                runs[event.run_id] = RunHistory(event.run_id, request=event, began=event.seq)
        elif event.type == EventType.HISTORY_COMPACTED:
            summary = event
        elif event.type == EventType.MESSAGE_RECEIVED:
            if "prior" in event.extra:
                runs = {run.run_id: run for run in continued(tuple(runs.values()), event)}
            runs[event.run_id] = RunHistory(event.run_id, request=event, began=event.seq)
        elif event.type == EventType.RUN_RETRIED:
            retry_of = event.extra["retry_of"]
            old = runs.get(retry_of, RunHistory(retry_of))
            again = RunHistory(event.run_id, old.request, units=old.done(), retry_of=retry_of, began=event.seq)
            runs[event.run_id] = again
        elif event.run_id and event.type in set(EventType):
            runs[event.run_id] = runs.get(event.run_id, RunHistory(event.run_id, state=RunState.RUNNING)).apply(event)
    return History(runs, tuple(instructions), summary)


CLIENT = "client"
"""Where comes from what a client tells of earlier replies and of its own tools; nobody here can vouch for it."""

NOT_TOLD = "The client did not say what came of this call."


def continued(earlier: tuple[RunHistory, ...], request: Event) -> tuple[RunHistory, ...]:
    """What was said before ``request``, with what the client tells of it (``prior``).

    Each entry is ``{"role", "content", "tool_calls"?, "tool_call_id"?}``; a call is ``{"id", "name", "arguments"}``. A
    result joins the newest reply that handed that call out and has none for it yet, also one of ``earlier``; results that
    nobody asked for, or that were told already, are left out.
    """
    runs = list(earlier)
    for number, entry in enumerate(request.extra.get("prior", ())):
        if entry["role"] == "user":
            runs.append(_told_run(request, number, entry["content"] or ""))
        elif entry["role"] == "assistant":
            if not runs:
                runs.append(_told_run(request, number, ""))
            runs[-1] = replace(runs[-1], units=(*runs[-1].units, Unit(_told_reply(request, entry))))
        else:
            _join(runs, _told_event(request, EventType.TOOL_RETURNED, entry, {"service": CLIENT}))
    return tuple(runs)


def gone_on(earlier: tuple[RunHistory, ...], request: Event) -> tuple[tuple[RunHistory, ...], RunHistory | None]:
    """What was said before ``request``, and apart from it the run that it goes on with.

    That is the one whose reply handed out the calls that it only tells of, with all that was only told since, and with
    that reply last, since it is answered now. None where ``request`` says something itself.
    """
    told = continued(earlier, request)
    if not told or not _only_tells(request):
        return told, None
    calls = {entry["tool_call_id"] for entry in request.extra.get("prior", ()) if entry["role"] == "tool"}
    asking = [place for place, run in enumerate(told) if any(calls & unit.handed for unit in run.units)]
    first = asking[-1] if asking else len(told) - 1
    after = first + 1
    while after < len(told) and _only_tells(told[after].request):
        after += 1
    units = [unit for run in told[first:after] for unit in run.units]
    units.sort(key=lambda unit: bool(calls & unit.handed))  # the others stay in their order
    return (*told[:first], *told[after:]), replace(told[first], units=tuple(units))


def _only_tells(request: Event | None) -> bool:
    """Whether a message says nothing itself, but what came of a client's tools."""
    if request is None or request.type != EventType.MESSAGE_RECEIVED:
        return False
    return not request.content and not request.extra.get("attachments")


def _join(runs: list[RunHistory], result: Event) -> None:
    for place in reversed(range(len(runs))):
        units = list(runs[place].units)
        for number in reversed(range(len(units))):
            if result.tool_call_id in units[number].untold:
                units[number] = replace(units[number], results=(*units[number].results, result))
                runs[place] = replace(runs[place], units=tuple(units))
                return


def _told_run(request: Event, number: int, text: str) -> RunHistory:
    asked = Event(
        conversation_id=request.conversation_id,
        type=EventType.MESSAGE_RECEIVED,
        role="user",
        content=text,
        token_count=estimate_tokens(text) + MESSAGE_OVERHEAD,
    )
    return RunHistory(f"{request.run_id}~{number}", asked, RunState.COMPLETED, began=request.seq)


def _told_reply(request: Event, entry: Mapping[str, Any]) -> Event:
    calls = tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in entry.get("tool_calls", ()))
    return replace(
        _told_event(request, EventType.MODEL_REPLIED, entry, {"handed": [c.id for c in calls]}), tool_calls=calls
    )


def _told_event(request: Event, kind: EventType, entry: Mapping[str, Any], extra: Mapping[str, Any]) -> Event:
    text: str = entry["content"] or ""
    told = entry["role"] == "tool"  # what a client's tool found may be anything of its person's
    label = Label(frozenset({CLIENT}), frozenset({CLIENT}) if told else frozenset[str]())
    return Event(
        conversation_id=request.conversation_id,
        type=kind,
        role=entry["role"],
        content=text,
        tool_call_id=entry.get("tool_call_id"),
        extra={**extra, "taint": True, "label": label.as_json()},
        token_count=estimate_tokens(text) + MESSAGE_OVERHEAD,
    )


def _not_told(call: ToolCall) -> Message:
    result = ToolResult(call.id, NOT_TOLD, is_error=True, name=call.name, service=CLIENT)
    return make.tool(result, estimate_tokens(NOT_TOLD) + MESSAGE_OVERHEAD)


def _result_message(event: Event, names: Mapping[str, str]) -> Message:
    call_id = event.tool_call_id or ""
    result = ToolResult(
        call_id,
        event.content or "",
        is_error=bool(event.extra.get("is_error")) or event.type == EventType.TOOL_UNRESOLVED,
        name=names.get(call_id, ""),
        service=event.extra.get("service", ""),
    )
    told = make.tool(result, event.token_count, event.label)
    return replace(told, parts=told.parts + attached(event.extra.get("attachments", ())))
