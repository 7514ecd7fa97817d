"""A conversation written out by `export.py`, read back: every event is looked at, the first wrong one is named.

Whose words these are nobody here can vouch for: what was said is marked as coming from an import, instructions hold only
where they are the house's own, and no standing yes comes along. Runs that had not ended end here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from tom import ids
from tom.agent.export import FORMAT, VERSION
from tom.agent.importcheck import BadEvent, Shapes, checked_event, is_timestamp
from tom.agent.importwishes import kept_wishes
from tom.agent.options import Choices
from tom.agent.submission import MAX_METADATA, checked_metadata
from tom.conversation import event as happened
from tom.conversation.event import MESSAGE_OVERHEAD, Event, EventType
from tom.conversation.label import Label
from tom.conversation.run import BEGINNINGS, TRANSITIONS, RunState
from tom.conversation.usage import NOTHING, Usage, estimate_tokens
from tom.errors import CallerError, InvalidMessage, MetadataTooLarge, RoleNotAllowed
from tom.policy.permissions import Caller, Scope
from tom.store.eventstore import ConversationRow
from tom.store.intake import runs_of
from tom.store.projection import conversation_changed

SOURCE = "import"
LEFT_OUT = "prompt.imported"
"""An instruction that came with an import and is not followed: of a type that no prompt knows."""

LEFT_SUMMARY = "summary.imported"
"""The same of a summary: it would stand in prompts as Tom's own word."""

MOST_EVENTS = 50_000
LONGEST_TITLE = 200
MOST_SERVICES = 100
UNFINISHED = "The conversation was taken along before this run had ended."

_SAID = frozenset({
    EventType.MESSAGE_RECEIVED,
    EventType.MODEL_REPLIED,
    EventType.TOOL_RETURNED,
    EventType.TOOL_UNRESOLVED,
    EventType.HISTORY_COMPACTED,
})  # fmt: skip


class WrongExport(CallerError):
    """This is not a conversation that was exported as JSON."""

    code = "validation_error"


@dataclass(frozen=True, slots=True)
class Importer:
    """Who brings it, what can be chosen here, and the house's own instruction (`INITIAL_SYSTEM_PROMPT`). ``now``: RFC 3339.

    ``new_id`` names the conversation.
    """

    caller: Caller
    choices: Choices
    initial_prompt: str
    now: str
    new_id: Callable[[], str] = ids.ulid

    @property
    def roles(self) -> bool:
        """Whether they may set instructions."""
        return self.caller.may(Scope.ROLES)

    def read(self, value: Mapping[str, Any]) -> tuple[ConversationRow, tuple[Event, ...]]:
        """The row and the events of a new conversation. Raises `WrongExport`, `RoleNotAllowed`."""
        if value.get("format") != FORMAT:
            raise _wrong("format", f"'{FORMAT}' is required")
        if value.get("version") != VERSION:
            raise _wrong("version", f"only version {VERSION} can be read")
        told, listed = value.get("conversation"), value.get("events")
        if not isinstance(told, dict):
            raise _wrong("conversation", "an object is required")
        if not isinstance(listed, list) or not listed:
            raise _wrong("events", "a list of at least one event is required")
        if len(cast("list[Any]", listed)) > MOST_EVENTS:
            raise _wrong("events", f"at most {MOST_EVENTS} events are taken in")
        conversation = cast("dict[str, Any]", told)
        events = self._events(cast("list[Any]", listed), _text(conversation, "id", 128), self.new_id())
        events = (*events, *self._endings(events))
        events = self._with_instruction(events)
        return self._row(conversation, events), events

    # --- events --------------------------------------------------------------------------------------------------

    def _events(self, listed: Sequence[Any], old_id: str, new_id: str) -> tuple[Event, ...]:
        shapes = Shapes(old_id)
        read: list[Event] = []
        new_runs: dict[str, str] = {}
        states: dict[str, RunState] = {}
        for index, given in enumerate(listed):
            try:
                event = checked_event(given, shapes)
                _follow(event, states)
            except BadEvent as bad:
                raise _wrong_event(index, given, bad) from None
            read.append(self._taken(event, new_id, new_runs, index))
        return tuple(read)

    def _taken(self, event: Event, new_id: str, new_runs: dict[str, str], index: int) -> Event:
        """The event as one of the new conversation."""
        extra = dict(event.extra)
        for name in ("run_id", "retry_of"):
            if extra.get(name):
                extra[name] = new_runs.setdefault(extra[name], ids.ulid())
        kind = event.type if self.roles else self._without_roles(event, index)
        content = None if kind == LEFT_OUT else event.content
        if kind == EventType.PROMPT_SET and not content:  # the house's own, of the house that it comes from
            kind = LEFT_OUT
        if kind in BEGINNINGS:
            extra = dict(kept_wishes(extra, self.caller, self.choices))
        if kind in _SAID:
            label = event.label | Label(untrusted=frozenset({SOURCE}))
            extra |= {"taint": True, "label": label.as_json()}
        counted = event.token_count
        if event.role is not None:
            written = (content or "") + "".join(call.name + call.arguments for call in event.tool_calls)
            counted = estimate_tokens(written) + MESSAGE_OVERHEAD
        place = {"conversation_id": new_id, "type": str(kind)}
        return replace(event, **place, content=content, extra=extra, token_count=counted)

    def _without_roles(self, event: Event, index: int) -> str:
        """The type under which whoever may set no instructions brings an event. Raises `RoleNotAllowed`."""
        match event.type, event.role:
            case EventType.PROMPT_SET, _:
                if event.run_id:
                    raise _not_allowed(index, event, "system")
                return LEFT_OUT
            case EventType.HISTORY_COMPACTED, _:
                return LEFT_SUMMARY
            case EventType.MESSAGE_RECEIVED, "assistant":
                raise _not_allowed(index, event, "assistant")
            case kind, _:
                return kind

    def _with_instruction(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """The house's own instruction holds here, too: where that of the other house stood, before what the session set."""
        if not self.initial_prompt:
            return events
        told = happened.prompt_set(events[0].conversation_id, self.initial_prompt)
        for at, event in enumerate(events):
            if event.type == LEFT_OUT and not event.run_id:
                here = told.stored(event_id="", seq=event.seq, timestamp=event.timestamp)
                return (*events[:at], here, *events[at + 1 :])
        first, last = events[0], events[-1]
        if first.seq > 1:  # the store keeps instructions of before what retention erased
            return (told.stored(event_id="", seq=first.seq - 1, timestamp=first.timestamp), *events)
        return (*events, told.stored(event_id="", seq=last.seq + 1, timestamp=self.now))

    def _endings(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """An end for every run that had none."""
        seq = events[-1].seq
        open_runs = [run for run in runs_of(events) if not run.state.ended]
        return tuple(
            happened.run_cancelled(events[0].conversation_id, run_id=run.id, usage=run.usage, reason=UNFINISHED).stored(
                event_id="", seq=seq + number, timestamp=self.now
            )
            for number, run in enumerate(open_runs, 1)
        )

    # --- the row -------------------------------------------------------------------------------------------------

    def _row(self, told: Mapping[str, Any], events: Sequence[Event]) -> ConversationRow:
        change = conversation_changed([event for event in events if event.type != EventType.APPROVAL_ANSWERED])
        title = " ".join(_text(told, "title", 10_000, optional=True).split())[:LONGEST_TITLE]
        opened = told.get("created_at")
        return ConversationRow(
            id=events[0].conversation_id,
            title=title or change.title or "",
            kind="chat",
            surface="rest",
            state="idle",
            memory_limit=_limit(told.get("memory_limit")),
            metadata=_metadata(told),
            first_seq=events[0].seq,
            last_seq=events[-1].seq,
            usage=_usage(told.get("usage"), change.usage),
            created_at=str(opened) if is_timestamp(opened) else events[0].timestamp,
            updated_at=self.now,
            title_by="person" if told.get("title_by") == "person" else "message",
            services=_services(told.get("services")),
            tokens=change.tokens,
            system_prompt=change.system_prompt or "",
        )


def _follow(event: Event, states: dict[str, RunState]) -> None:
    """Whether an event can follow in its run. Raises `BadEvent`."""
    run_id = event.run_id
    if not run_id or event.type not in set(EventType):
        return
    if event.type in BEGINNINGS:
        if run_id in states:
            raise BadEvent("extra.run_id", "a run begins twice")
        states[run_id] = RunState.QUEUED
        return
    if run_id not in states:
        raise BadEvent("extra.run_id", "a run that has not begun")
    after = TRANSITIONS.get((states[run_id], EventType(event.type)))
    if after is None:
        raise BadEvent("type", f"{event.type} cannot follow while a run is {states[run_id]}")
    states[run_id] = after


def _text(told: Mapping[str, Any], name: str, longest: int, *, optional: bool = False) -> str:
    value = told.get(name, "" if optional else None)
    if not isinstance(value, str) or len(value) > longest or (not value and not optional):
        raise _wrong(f"conversation.{name}", "a text is required")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _wrong(f"conversation.{name}", "NUL and lone surrogates are not text")
    return value


def _limit(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise _wrong("conversation.memory_limit", "a whole number of at least 1 is required")
    return value


def _metadata(told: Mapping[str, Any]) -> Mapping[str, Any]:
    given: object = told.get("metadata", {})
    problem = f"an object of at most {MAX_METADATA} bytes is required"
    if not isinstance(given, dict):
        raise _wrong("conversation.metadata", problem)
    metadata = {**cast("dict[str, Any]", given), "imported_from": told["id"]}
    try:
        return checked_metadata(metadata)
    except (InvalidMessage, MetadataTooLarge):
        raise _wrong("conversation.metadata", problem) from None


def _services(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = cast("list[Any]", value) if isinstance(value, list) else [None]
    if len(names) > MOST_SERVICES or not all(isinstance(name, str) and len(name) <= 128 for name in names):
        raise _wrong("conversation.services", "a list of names is required")
    return tuple(str(name) for name in names)


def _usage(value: object, counted: Usage) -> Usage:
    """What the conversation had cost, also what was erased of it since; at least what its events say."""
    try:
        told = Usage.from_json(cast("Mapping[str, Any]", value)) if isinstance(value, dict) else NOTHING
        enough = told.prompt_tokens >= counted.prompt_tokens and told.completion_tokens >= counted.completion_tokens
        return told if enough and max(told.prompt_tokens, told.completion_tokens, told.cost) < 2**53 else counted
    except (KeyError, TypeError, ValueError):
        return counted


def _wrong(field: str, problem: str) -> WrongExport:
    error = {"loc": ["body", *field.split(".")], "msg": problem, "type": "value_error"}
    return WrongExport(f"Request validation failed: {field}: {problem}", errors=[error])


def _wrong_event(index: int, given: object, bad: BadEvent) -> WrongExport:
    error = {"loc": ["body", "events", index, *bad.field.split(".")], "msg": bad.problem, "type": "value_error"}
    seq: object = cast("dict[str, Any]", given).get("seq") if isinstance(given, dict) else None
    where = {"index": index, "seq": seq if isinstance(seq, int) else None}
    return WrongExport(
        f"Request validation failed: events[{index}].{bad.field}: {bad.problem}", errors=[error], event=where
    )


def _not_allowed(index: int, event: Event, role: str) -> RoleNotAllowed:
    message = f"The role '{role}' may not be used: events[{index}]"
    return RoleNotAllowed(message, role=role, event={"index": index, "seq": event.seq})
