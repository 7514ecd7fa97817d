"""Which of a client's messages are new to a conversation that it goes on with. Pure.

Clients tell all they know each time. Of what was stored, the newest message that is among those told decides: what
stands after its last place is new, and so is the newest message, always. A person's message and a reply are the same
when their words are (blanks around them do not count), a reply with calls for the client when their ids are, and the
result of such a call when it is of the same call. Pictures and instructions are not compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tom.agent.openai_messages import Said
from tom.agent.openai_words import joined_texts, waiting_text
from tom.agent.waiting import still_open
from tom.conversation.event import Event, EventType

type Mark = tuple[str, str]
"""A role and its words, or the id of a call."""

_CALL = "call"
_RESTS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED, EventType.RUN_WAITING})
_IN_VAIN = frozenset({EventType.RUN_FAILED, EventType.RUN_CANCELLED})


@dataclass(frozen=True, slots=True)
class Known:
    """What a conversation has: its messages, oldest first, each with the marks it is known by; and its instructions.

    ``calls`` are the ids of the calls that were handed to the client, ``untold`` those of which it has not said what came;
    what it said to a run that failed, or that was stopped, it may say again.
    """

    messages: tuple[frozenset[Mark], ...] = ()
    instructions: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()

    def new_from(self, said: Sequence[Said]) -> int:
        """The index of the first message that is new."""
        places = {mark: place for place, one in enumerate(said[:-1]) for mark in _marks_of(one)}
        for stored in reversed(self.messages):
            found = [places[mark] for mark in stored if mark in places]
            if found:
                return max(found) + 1
        return 0


@dataclass(slots=True)
class _Reading:
    """A run as far as it was read."""

    replies: list[Event] = field(default_factory=list[Event])
    events: list[Event] = field(default_factory=list[Event])
    told: set[str] = field(default_factory=set[str])


def known_of(events: Iterable[Event]) -> Known:
    """What the stored ``events`` of a conversation, or their newest part, tell."""
    messages: list[frozenset[Mark]] = []
    instructions: set[str] = set()
    calls: set[str] = set()
    untold: set[str] = set()
    runs: dict[str, _Reading] = {}
    for event in events:
        run = runs.setdefault(event.run_id, _Reading())
        run.events.append(event)
        match event.type:
            case EventType.PROMPT_SET:
                instructions.add(event.content or "")
            case EventType.MESSAGE_RECEIVED:
                prior = event.extra.get("prior", ())
                messages += [_marks_told(entry) for entry in prior]
                run.told = {entry["tool_call_id"] for entry in prior if entry["role"] == "tool"} & untold
                untold -= run.told
                messages.append(frozenset({_words(event.role or "user", event.content or "")}))
            case EventType.MODEL_REPLIED:
                run.replies.append(event)
                calls.update(event.extra.get("handed", ()))
                untold.update(event.extra.get("handed", ()))
            case _ if event.type in _RESTS:
                untold |= run.told if event.type in _IN_VAIN else set()
                messages.append(_marks_answered(run))
            case _:
                pass
    return Known(
        tuple(marks for marks in messages if marks), frozenset(instructions), frozenset(calls), frozenset(untold)
    )


def _marks_of(said: Said) -> list[Mark]:
    marks = [(_CALL, call["id"]) for call in said.calls]
    if said.role == "tool":
        return [("tool", said.call_id)]
    return marks or [_words(said.role, said.text)]


def _marks_told(entry: Mapping[str, Any]) -> frozenset[Mark]:
    if entry["role"] == "tool":
        return frozenset({("tool", entry["tool_call_id"])})
    calls = [(_CALL, str(call["id"])) for call in entry.get("tool_calls", ())]
    return frozenset(calls or [_words(entry["role"], entry["content"] or "")])


def _marks_answered(run: _Reading) -> frozenset[Mark]:
    """What a client may tell of the answer that it got when this run ended, or began to wait."""
    if not run.replies:
        texts: list[str] = []
    else:
        texts = [joined_texts(run.replies), run.replies[-1].content or ""]
    asked = still_open(run.events)
    if asked:
        texts.append(waiting_text(joined_texts(run.replies), asked))
    handed = [(_CALL, str(call_id)) for reply in run.replies[-1:] for call_id in reply.extra.get("handed", ())]
    return frozenset([*handed, *(_words("assistant", text) for text in texts if text.strip())])


def _words(role: str, text: str) -> Mark:
    return role, text.strip()
