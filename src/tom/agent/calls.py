"""One call that a reply asks for, as far as it can be judged before it is made."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tom.agent.journal import Journal
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.label import Label
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.errors import InvalidAnswer
from tom.telemetry.redaction import MASK, telling

_DIGITS = 8
"""Of the hash of a hidden value."""


@dataclass(frozen=True, slots=True)
class Call:
    """A wish of the model. ``problem``: why it cannot be made at all.

    ``bad``: its arguments are not even JSON; ``held``: the tool is off because it changed since it was reviewed.
    ``errors``: how the arguments break the tool's schema, as data.
    """

    turn: int
    wanted: ToolCall
    tool: ToolDefinition | None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    problem: str = ""
    bad: bool = False
    held: bool = False
    errors: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Whose tool it is may depend on the arguments."""
        if self.tool is not None and self.tool.aim is not None:
            object.__setattr__(self, "tool", self.tool.aim(self.arguments))

    @property
    def id(self) -> str:
        """The id under which its result is told."""
        return self.wanted.id

    @property
    def name(self) -> str:
        """The full name where the tool is known, else what the model called."""
        return self.tool.full_name if self.tool else self.wanted.name

    @property
    def digest(self) -> str:
        """What an approval is bound to."""
        return digest_of(self.arguments)


def parse_arguments(text: str) -> dict[str, Any]:
    """Read the arguments that a model wrote; none at all means none. Raises ValueError saying what is wrong."""
    if not text.strip():
        return {}
    try:
        value: Any = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        message = "nested too deeply"
        raise ValueError(message) from error
    if not isinstance(value, dict):
        message = "not a JSON object"
        raise ValueError(message)  # noqa: TRY004 - the text is wrong, not a type of ours
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        message = "lone surrogates are not text"
        raise ValueError(message) from error
    return cast("dict[str, Any]", value)


def digest_of(arguments: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of the arguments."""
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def masked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a person is shown them: values under telling names are hidden, but not that they are there.

    The names are the service's: one that wants a payload overlooked calls it `sort_key`. So how long a hidden value is,
    and a short hash of it, are shown, and an ask lists what it hides.
    """
    return cast("dict[str, Any]", _masked(arguments, ""))


def hidden_in(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the values that `masked` hides, as ``a.0.b``."""
    return tuple(path for path, _ in _hidden(arguments, "", ""))


def unmasked(edited: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, Any]:
    """Edited arguments with every value that was shown hidden, and left where and as it was shown, as it really is.

    Raises `InvalidAnswer` where what was shown for a hidden value stands elsewhere: in a list that has become longer or
    shorter nobody could say which value is meant.
    """
    shown = frozenset(_mask(value) for _, value in _hidden(real, "", ""))
    return cast("dict[str, Any]", _unmasked(edited, real, "", shown))


def result_label(tool: ToolDefinition) -> Label:
    """The label of what a tool returns: private unless it is known to be public, whatever else the tool does."""
    untrusted = frozenset[str]() if tool.trusted else frozenset({tool.origin or tool.full_name})
    private = frozenset[str]() if tool.tool_class is ToolClass.READ_PUBLIC else frozenset({tool.reads_from})
    return Label(untrusted, private)


def refused(run: Journal, call: Call, reason: str, *, denied: str = "") -> Event:
    """The result of a call that was not made."""
    return happened.tool_returned(
        run.conversation_id,
        reason,
        run_id=run.run_id,
        turn=call.turn,
        call_id=call.id,
        is_error=True,
        duration_ms=0,
        bad_call=call.bad,
        denied=denied,
        data=call.errors,
    )


def _mask(value: str) -> str:
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    characters = "1 character" if len(value) == 1 else f"{len(value)} characters"
    return f"{MASK} ({characters}, sha256 {digest})"


def _masked(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(member, key) for key, member in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_masked(member, name) for member in cast("list[Any]", value)]
    return _mask(value) if _is_hidden(value, name) else value


def _is_hidden(value: Any, name: str) -> bool:
    return isinstance(value, str) and bool(value) and telling(name)


def _hidden(value: Any, name: str, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, member in cast("Mapping[str, Any]", value).items():
            yield from _hidden(member, key, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for place, member in enumerate(cast("list[Any]", value)):
            yield from _hidden(member, name, f"{path}.{place}")
    elif _is_hidden(value, name):
        yield path, value


def _unmasked(edited: Any, real: Any, name: str, shown: frozenset[str]) -> Any:
    if isinstance(edited, Mapping):
        members = cast("Mapping[str, Any]", edited)
        known = cast("Mapping[str, Any]", real if isinstance(real, Mapping) else {})
        return {key: _unmasked(member, known.get(key), key, shown) for key, member in members.items()}
    if isinstance(edited, list):
        entries = cast("list[Any]", edited)
        behind = cast("list[Any]", real if isinstance(real, list) else [])
        same = behind if len(behind) == len(entries) else [None] * len(entries)
        return [_unmasked(member, was, name, shown) for member, was in zip(entries, same, strict=True)]
    if _is_hidden(real, name) and edited == _mask(real):
        return real
    if isinstance(edited, str) and edited in shown and edited != real:
        message = (
            f"What is hidden can only be left where it was: '{edited}' stands elsewhere, or beside something removed."
        )
        raise InvalidAnswer(message)
    return edited


def _no_constant(name: str) -> float:
    message = f"{name} is not JSON"
    raise ValueError(message)
