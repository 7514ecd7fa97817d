"""A person's answers as clients send them: the word on an approval, the answer to a service's question."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom.conversation.asks import ALLOW, DENY
from tom.conversation.elicitation import ElicitationAnswer

LONGEST_NOTE = 500
LONGEST_DIGEST = 128
LARGEST_CONTENT = 1_048_576
OUTCOMES = ("accept", "decline", "cancel")
DECISION_KEYS = frozenset({"decision", "arguments_digest", "arguments", "note", "remember"})
ANSWER_KEYS = frozenset({"outcome", "content"})


class Unfit(Exception):
    """A field is missing or wrong: ``field`` and ``problem``, for each door to say in its own words."""

    def __init__(self, field: str, problem: str, kind: str = "value_error") -> None:
        """``kind`` is a stable word: ``missing``, ``type_error``, ``value_error`` or ``extra_forbidden``."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Decision:
    """The word on one approval; ``arguments`` are the edited ones."""

    decision: str
    digest: str
    arguments: Mapping[str, Any] | None = None
    note: str = ""
    remember: str = "once"


def check_keys(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what is not known. Raises `Unfit`."""
    for key in given:
        if key not in known:
            raise Unfit(key, f"unknown key. Known: {', '.join(sorted(known))}", "extra_forbidden")


def read_decision(given: Mapping[str, Any]) -> Decision:
    """Read the word on an approval. Raises `Unfit`."""
    decision = _one_of(given, "decision", (ALLOW, DENY))
    digest = given.get("arguments_digest")
    if "arguments_digest" not in given:
        raise Unfit("arguments_digest", "field required", "missing")
    if not isinstance(digest, str) or not 0 < len(digest) <= LONGEST_DIGEST:
        raise Unfit("arguments_digest", "the digest that was shown is required", "type_error")
    arguments = _object(given, "arguments")
    if arguments is not None and decision != ALLOW:
        raise Unfit("arguments", "only what is allowed can be edited")
    remember = _one_of(given, "remember", ("once", "conversation")) if "remember" in given else "once"
    return Decision(decision, digest, arguments, _note(given), remember)


def read_answer(given: Mapping[str, Any]) -> ElicitationAnswer:
    """Read the answer to a service's question. Raises `Unfit`."""
    outcome = _one_of(given, "outcome", OUTCOMES)
    content = _object(given, "content")
    if content and outcome != "accept":
        raise Unfit("content", "only an accepted question has a content")
    return ElicitationAnswer(outcome, content or {})


def _one_of(given: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    if key not in given:
        raise Unfit(key, "field required", "missing")
    value = given[key]
    if not isinstance(value, str) or value not in allowed:
        raise Unfit(key, f"one of {', '.join(allowed)} is required")
    return value


def _object(given: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Unfit(key, "an object is required", "type_error")
    try:
        size = len(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise Unfit(key, "lone surrogates are not text") from None
    if size > LARGEST_CONTENT:
        raise Unfit(key, f"larger than {LARGEST_CONTENT} bytes")
    return cast("dict[str, Any]", value)


def _note(given: Mapping[str, Any]) -> str:
    note = given.get("note", "")
    if not isinstance(note, str):
        raise Unfit("note", "a text is required", "type_error")
    if len(note) > LONGEST_NOTE:
        raise Unfit("note", f"longer than {LONGEST_NOTE} characters")
    if "\0" in note or any("\ud800" <= letter <= "\udfff" for letter in note):
        raise Unfit("note", "NUL and lone surrogates are not text")
    return note.strip()
