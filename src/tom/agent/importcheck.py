"""Whether one event of an export is one that Tom could have written: types of its fields, what its type must carry.

What is not looked at here is looked at by nobody: events of an import are folded, shown and exported like others.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from tom.agent.importwishes import are_tools, misfit
from tom.conversation.codec import COLUMNS, CodecError, from_json
from tom.conversation.event import Event, EventType
from tom.conversation.usage import Usage

LONGEST_WORD = 256
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TYPE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_.]{0,62}")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_FILE = re.compile(r"[0-9a-f]{64}")
_ROLES = frozenset({"user", "assistant", "system", "tool"})

type Fits = Callable[[Any], bool]


class BadEvent(Exception):
    """This event is wrong: ``field`` and ``problem``."""

    def __init__(self, field: str, problem: str) -> None:
        """Name the field, in dots."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(slots=True)
class Shapes:
    """What an event must agree with: the conversation, the numbers so far, the requests that were made."""

    conversation_id: str
    last_seq: int | None = None
    requests: set[str] = field(default_factory=set[str])


def checked_event(value: object, shapes: Shapes) -> Event:
    """The event of a JSON object. Raises `BadEvent`."""
    if not isinstance(value, dict):
        raise BadEvent("", "an object is required")
    given = cast("dict[str, Any]", value)
    for name in given:
        if name not in COLUMNS:
            raise BadEvent(name[:64] if name.isprintable() else "", "unknown field")
    for name, (fits, problem) in _FIELDS.items():
        if not fits(given.get(name)):
            raise BadEvent(name, problem)
    _check_place(given, shapes)
    _check_words(given)
    _check_extra(given["type"], given.get("extra") or {}, given["seq"])
    if given["type"] == EventType.MESSAGE_RECEIVED and given.get("role") not in {"user", "assistant"}:
        raise BadEvent("role", "user or assistant is required")
    complete = {name: given.get(name) for name in COLUMNS} | {"id": ""}
    try:
        return from_json(complete)
    except CodecError:
        raise BadEvent("", "it cannot be read") from None


def is_timestamp(value: object) -> bool:
    """Whether this is a time as events have it."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _check_place(given: Mapping[str, Any], shapes: Shapes) -> None:
    if given["conversation_id"] != shapes.conversation_id:
        raise BadEvent("conversation_id", "another conversation's")
    if shapes.last_seq is not None and given["seq"] != shapes.last_seq + 1:
        raise BadEvent("seq", f"{shapes.last_seq + 1} is required")
    shapes.last_seq = given["seq"]
    extra: Mapping[str, Any] = given.get("extra") or {}
    makes_run = given["type"] in {EventType.MESSAGE_RECEIVED, EventType.RUN_RETRIED, EventType.PROMPT_SET}
    if makes_run and extra.get("run_id"):
        request = given.get("request_id") or extra["run_id"]
        if request in shapes.requests:
            raise BadEvent("request_id", "it made a run before")
        shapes.requests.add(request)


def _check_words(given: Mapping[str, Any]) -> None:
    """Nothing that a file of ours could not hold."""
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadEvent("", "lone surrogates are not text") from None
    if "\0" in (given.get("content") or ""):
        raise BadEvent("content", "NUL is not text")


# --- fields ----------------------------------------------------------------------------------------------------------


def _is(kind: type) -> Fits:
    return lambda value: isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_WORD


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _maybe(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _usage(value: Any) -> bool:
    try:
        used = Usage.from_json(value)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return False
    counts = (used.prompt_tokens, used.completion_tokens, used.cost)
    return all(map(_count, counts)) and isinstance(value["estimated"], bool)


def _calls(value: Any) -> bool:
    return isinstance(value, list) and all(map(_call, cast("list[Any]", value)))


def _call(value: Any) -> bool:
    try:
        made = value["function"]
        return all(isinstance(one, str) for one in (value["id"], made["name"], made["arguments"]))
    except (KeyError, TypeError):
        return False


_FIELDS: Mapping[str, tuple[Fits, str]] = {
    "conversation_id": (_is(str), "a text is required"),
    "seq": (lambda value: _count(value) and value > 0, "a number from 1 is required"),
    "timestamp": (is_timestamp, "a time such as 2026-01-31T12:00:00.000Z is required"),
    "type": (lambda value: isinstance(value, str) and bool(_TYPE.fullmatch(value)), "the type of an event is required"),
    "role": (_maybe(lambda value: isinstance(value, str) and value in _ROLES), "unknown role"),
    "content": (_maybe(_is(str)), "a text is required"),
    "tool_calls": (_maybe(_calls), "a list of calls is required"),
    "tool_call_id": (_maybe(_is(str)), "a text is required"),
    "model": (_maybe(lambda value: isinstance(value, str) and len(value) <= LONGEST_WORD), "a name is required"),
    "usage": (_maybe(_usage), "the counts of a usage are required"),
    "extra": (_maybe(_is(dict)), "an object is required"),
    "token_count": (_maybe(_count), "a count is required"),
    "request_id": (_maybe(lambda value: isinstance(value, str) and bool(_ID.fullmatch(value))), "an id is required"),
}

# --- what a type carries ---------------------------------------------------------------------------------------------

_RUN: Mapping[str, Fits] = {"run_id": _word}
_TURN: Mapping[str, Fits] = {**_RUN, "turn": _count}
_TOOL: Mapping[str, Fits] = {"service": _word, "tool": _word}
_WAITS: Mapping[str, Fits] = {"expires_at": _maybe(_is(str))}

_NEEDS: Mapping[str, Mapping[str, Fits]] = {
    EventType.MESSAGE_RECEIVED: _RUN,
    EventType.RUN_RETRIED: {**_RUN, "retry_of": _word},
    EventType.RUN_STARTED: {**_RUN, "services": _words},
    EventType.RUN_RESUMED: _RUN,
    EventType.RUN_WAITING: _RUN,
    EventType.MODEL_REPLIED: {**_TURN, "attempt": _count, "finish_reason": _word},
    EventType.MODEL_FAILED: {**_TURN, "attempt": _count, "code": _word, "retryable": _is(bool)},
    EventType.TOOL_CALLED: {**_TURN, **_TOOL, "arguments": _is(dict), "class": _word},
    EventType.TOOL_RETURNED: _TURN,
    EventType.TOOL_UNRESOLVED: {**_TURN, **_TOOL},
    EventType.APPROVAL_REQUESTED: {
        **_RUN, **_TOOL, **_WAITS, "approval_id": _word, "class": _word, "arguments": _is(dict), "arguments_digest": _word,
        "reason": _is(str), "tainted": _is(bool), "sources": _is(list), "may_remember": _is(bool),
    },
    EventType.APPROVAL_ANSWERED: {**_RUN, **_TOOL, "approval_id": _word, "decision": _word},
    EventType.ELICITATION_REQUESTED: {
        **_RUN, **_WAITS, "elicitation_id": _word, "service": _word, "mode": _word, "message": _is(str),
    },
    EventType.ELICITATION_ANSWERED: {**_RUN, "elicitation_id": _word},
    EventType.TRIAGE_DECIDED: {**_RUN, "services": _words},
    EventType.LLM_FELL_BACK: _RUN,
    EventType.HISTORY_COMPACTED: {"first_seq": _count, "through_seq": _count},
    EventType.HISTORY_RETIRED: {"first_seq": _count, "events": _count},
    EventType.RUN_COMPLETED: {**_RUN, "finish_reason": _word, "hops": _count},
    EventType.RUN_FAILED: {**_RUN, "code": _word, "reason": _is(str)},
    EventType.RUN_CANCELLED: _RUN,
}  # fmt: skip
"""Event type -> what its ``extra`` must have. Readers of events rely on these."""


def _labels(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_words, cast("dict[str, Any]", value).values()))


def _attachments(value: Any) -> bool:
    return isinstance(value, list) and all(map(_attachment, cast("list[Any]", value)))


def _attachment(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    told = cast("dict[str, Any]", value)
    named = "media_type" if told.get("type") == "image" else "name"
    file = told.get("file")
    return (
        _word(told.get("type")) and isinstance(file, str) and bool(_FILE.fullmatch(file)) and _is(str)(told.get(named))
    )


def _prior(value: Any) -> bool:
    return isinstance(value, list) and all(map(_told, cast("list[Any]", value)))


def _told(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    entry = cast("dict[str, Any]", value)
    calls: Any = entry.get("tool_calls", [])
    named = isinstance(calls, list) and all(
        isinstance(call, dict) and all(isinstance(call.get(name), str) for name in ("id", "name", "arguments"))  # pyright: ignore[reportUnknownMemberType]
        for call in cast("list[Any]", calls)
    )
    linked = entry.get("role") != "tool" or isinstance(entry.get("tool_call_id"), str)
    return (
        entry.get("role") in {"user", "assistant", "tool"}
        and _maybe(_is(str))(entry.get("content"))
        and named
        and linked
    )


_OPTIONAL: Mapping[str, Fits] = {
    "run_id": _is(str),
    "turn": _count,
    "attempt": _count,
    "label": _labels,
    "attachments": _attachments,
    "prior": _prior,
    "handed": _words,
    "speech_usage": _usage,
    "options": _is(dict),
    "client_tools": are_tools,
    "metadata": _is(dict),
    "surface": _is(str),
    "payload_digest": _is(str),
    "service": _is(str),
    "tool": _is(str),
    "class": _is(str),
    "reason": _is(str),
    "retry_of": _word,
}
"""What may stand in any ``extra``, and what it is then."""


def _check_extra(kind: str, extra: Mapping[str, Any], seq: int) -> None:
    needed = _NEEDS.get(kind, {})
    for name, fits in needed.items():
        if name not in extra:
            raise BadEvent(f"extra.{name}", "field required")
        if not fits(extra[name]):
            raise BadEvent(f"extra.{name}", "it does not fit")
    for name, fits in _OPTIONAL.items():
        if name in extra and name not in needed and not fits(extra[name]):
            raise BadEvent(f"extra.{name}", "it does not fit")
    if wrong := misfit(extra.get("options") or {}):
        raise BadEvent(f"extra.options.{wrong[:64] if wrong.isprintable() else ''}", "no message has such an option")
    if kind == EventType.HISTORY_COMPACTED and not extra["first_seq"] <= extra["through_seq"] < seq:
        raise BadEvent("extra.through_seq", "a summary is of what came before it")
    if kind != EventType.RUN_RETRIED and "retry_of" in extra:
        raise BadEvent("extra.retry_of", "only a retry has one")
