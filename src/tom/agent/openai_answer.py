"""A run as OpenAI's clients read it: one completion, or the chunks of a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tom.agent.openai_words import joined_texts, waiting_text
from tom.agent.recorded import recorded_failure
from tom.agent.waiting import still_open
from tom.clock import parse_timestamp
from tom.conversation.event import Event, EventType
from tom.conversation.part import ToolCall
from tom.conversation.usage import NOTHING, Usage
from tom.errors import TomError
from tom.openapi.wording import openai_body
from tom.store.eventstore import RunRow

DONE = b"data: [DONE]\n\n"
FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})
"""What these clients know; any other end of a run is a ``stop`` to them, and told under ``tom``."""

_COSTING = frozenset({EventType.MODEL_REPLIED, EventType.MODEL_FAILED, EventType.TRIAGE_DECIDED})
_TOLD = ("dropped_options", "warnings", "new_conversation_id")
_STATUS = {EventType.RUN_COMPLETED: "completed", EventType.RUN_CANCELLED: "cancelled"}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. ``calls`` are those that the client is to make; ``more`` is told under ``tom``."""

    text: str
    finish_reason: str
    status: str
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])


def outcome_of(events: Sequence[Event]) -> Outcome:
    """Of the events of a run that has ended or waits. Raises what it failed of, as recorded."""
    end = events[-1]
    if end.type == EventType.RUN_FAILED:
        raise recorded_failure(end)
    replies = [event for event in events if event.type == EventType.MODEL_REPLIED]
    said = joined_texts(replies)
    if end.type not in _STATUS:
        return waiting(said, still_open(events), _spent(events))
    finish = end.extra.get("finish_reason", "cancelled")
    handed = replies[-1].extra.get("handed", ()) if replies and finish == "tool_calls" else ()
    more = {name: end.extra[name] for name in _TOLD if name in end.extra}
    if finish not in FINISHES:
        more["finish_reason"] = finish
    return Outcome(
        said,
        finish if finish in FINISHES else "stop",
        _STATUS[EventType(end.type)],
        end.usage or NOTHING,
        tuple(call for call in replies[-1].tool_calls if call.id in handed) if handed else (),
        more,
    )


def waiting(said: str, asked: Sequence[Event], usage: Usage = NOTHING) -> Outcome:
    """A run that waits for its person; ``asked`` are the open asks."""
    more: dict[str, Any] = {}
    for event in reversed(asked):
        name = "approval_id" if event.type == EventType.APPROVAL_REQUESTED else "elicitation_id"
        more[name] = event.extra[name]
    return Outcome(waiting_text(said, asked), "stop", "waiting", usage, more=more)


def _spent(events: Sequence[Event]) -> Usage:
    return sum((event.usage for event in events if event.type in _COSTING and event.usage is not None), NOTHING)


class Rendering:
    """Writes the answer of one run."""

    def __init__(self, run: RunRow, model: str, *, include_usage: bool = False) -> None:
        """``model`` is what the client called it; ``include_usage``: a stream tells what was used."""
        self._run = run
        self._model = model
        self._include_usage = include_usage
        self._created = int(parse_timestamp(run.created_at).timestamp())

    def completion(self, outcome: Outcome) -> dict[str, Any]:
        """The whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": outcome.text, "refusal": None}
        if outcome.calls:
            message["content"] = outcome.text or None
            message["tool_calls"] = [_call(call) for call in outcome.calls]
        choice = {"index": 0, "message": message, "finish_reason": outcome.finish_reason, "logprobs": None}
        body = self._envelope("chat.completion")
        return {**body, "choices": [choice], "usage": _usage(outcome.usage), "tom": self._tom(outcome)}

    def begin(self) -> bytes:
        """The first chunk: who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        """More text."""
        return self._chunk({"content": text})

    def end(self, outcome: Outcome) -> bytes:
        """The calls for the client, why it ended, what was used where that is wished, and the mark of the end."""
        pieces: list[bytes] = []
        if outcome.calls:
            calls = [{"index": number, **_call(call)} for number, call in enumerate(outcome.calls)]
            pieces.append(self._chunk({"tool_calls": calls}))
        pieces.append(self._chunk({}, outcome.finish_reason, {"tom": self._tom(outcome)}))
        if self._include_usage:
            used: dict[str, Any] = {"choices": [], "usage": _usage(outcome.usage)}
            pieces.append(_piece({**self._envelope("chat.completion.chunk"), **used}))
        return b"".join((*pieces, DONE))

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self._run.id}", "object": kind, "created": self._created, "model": self._model}

    def _tom(self, outcome: Outcome) -> dict[str, Any]:
        told = {"conversation_id": self._run.conversation_id, "run_id": self._run.id, "status": outcome.status}
        return {**told, **outcome.more}

    def _chunk(
        self, delta: Mapping[str, Any], finish: str | None = None, more: Mapping[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        usage = {"usage": None} if self._include_usage else {}
        return _piece({**self._envelope("chat.completion.chunk"), "choices": [choice], **usage, **(more or {})})


def failure_pieces(error: TomError, request_id: str) -> bytes:
    """How a stream that has begun tells that it failed."""
    return _piece(openai_body(error, request_id)) + DONE


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _piece(value: Mapping[str, Any]) -> bytes:
    return b"data: " + _encode(value) + b"\n\n"
