"""One call that a reply asks for, as far as it can be judged before it is made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tom.agent.journal import Journal
from tom.conversation import event as happened
from tom.conversation.event import Event
from tom.conversation.label import Label
from tom.conversation.part import ToolCall
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.telemetry.redaction import MASK, telling


@dataclass(frozen=True, slots=True)
class Call:
    """A wish of the model. ``problem``: why it cannot be made at all.

    ``bad``: its arguments are not even JSON; ``held``: the tool is off because it changed since it was reviewed.
    """

    turn: int
    wanted: ToolCall
    tool: ToolDefinition | None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    problem: str = ""
    bad: bool = False
    held: bool = False

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
    """The arguments as a person is shown them: values under telling names are hidden."""
    return cast("dict[str, Any]", _masked(arguments))


def unmasked(edited: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, Any]:
    """Edited arguments with every value that was shown hidden, and left so, as it really is."""
    return cast("dict[str, Any]", _unmasked(edited, real))


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
    )


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        return {key: _masked(member, key) for key, member in members.items()}
    if isinstance(value, list):
        return [_masked(member, name) for member in cast("list[Any]", value)]
    return MASK if isinstance(value, str) and value and telling(name) else value


def _unmasked(edited: Any, real: Any) -> Any:
    if isinstance(edited, Mapping):
        members = cast("Mapping[str, Any]", edited)
        known = cast("Mapping[str, Any]", real if isinstance(real, Mapping) else {})
        return {key: _unmasked(member, known.get(key)) for key, member in members.items()}
    if isinstance(edited, list):
        shown = cast("list[Any]", edited)
        behind = cast("list[Any]", real if isinstance(real, list) else [])
        return [_unmasked(member, behind[i] if i < len(behind) else None) for i, member in enumerate(shown)]
    return real if edited == MASK and isinstance(real, str) else edited


def _no_constant(name: str) -> float:
    message = f"{name} is not JSON"
    raise ValueError(message)
