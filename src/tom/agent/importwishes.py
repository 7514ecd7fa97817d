"""What an imported message wishes for beside its text.

Refused where nobody could have wished it, else kept as far as whoever brings it may wish for it here: a retry of the
message follows what is kept.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from tom.agent.options import OPEN, OPTIONS, Choices, checked_options
from tom.agent.permitted import wishes_of
from tom.errors import CallerError
from tom.policy.permissions import Caller, Scope

MOST_TOOLS = 128
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FULL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_.-]{1,128}")
"""A tool as a stored message names it. It comes to stand in a prompt, where a sentence would be one of Tom's own."""


def _stops(value: Any) -> bool:
    listed = cast("list[Any]", value) if isinstance(value, list) else []
    return 0 < len(listed) <= 4 and all(isinstance(one, str) and one for one in listed)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value < high


def _format(value: Any) -> bool:
    match value:
        case {"type": "json_object"} | {"type": "json_schema", "json_schema": {"name": str(), "schema": dict()}}:
            return True
        case _:
            return False


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


_BESIDE: Final[Mapping[str, Callable[[Any], bool]]] = {
    "memory_limit": _whole(1, 2**31),
    "sound": _flag,
    "temporary": _flag,
    "upkeep": lambda value: isinstance(value, str),
    "tool_choice": lambda value: isinstance(value, str) and bool(_TOOL_NAME.fullmatch(value)),
    "stop": _stops,
    "seed": _whole(-(2**63), 2**63),
    "parallel_tool_calls": _flag,
    "response_format": _format,
}
"""What is stored beside `options.OPTIONS`, and what fits."""


def misfit(options: Mapping[str, Any]) -> str:
    """The first option that no message has; empty when there is none."""
    fits = {**{name: fitting for name, (fitting, _) in OPTIONS.items()}, **_BESIDE}
    return next((name for name, value in options.items() if name not in fits or not fits[name](value)), "")


def are_tools(value: Any) -> bool:
    """Whether these are tools as a client of `/v1` brings them."""
    listed = cast("list[Any]", value) if isinstance(value, list) else [None]
    names = [_name_of(one) for one in listed]
    return len(names) <= MOST_TOOLS and all(names) and len(set(names)) == len(names)


def _name_of(tool: Any) -> str:
    match tool:
        case {"name": str(name), "description": str(), "parameters": dict()} if _TOOL_NAME.fullmatch(name):
            return name if len(cast("dict[str, Any]", tool)) == 3 else ""
        case _:
            return ""


def kept_wishes(extra: Mapping[str, Any], caller: Caller, choices: Choices) -> Mapping[str, Any]:
    """``extra`` of a message with those wishes only that ``caller`` may have, and that can be had here."""
    kept = dict(extra)
    if not caller.may(Scope.OPENAI):
        kept.pop("client_tools", None)
    if "options" in kept:
        kept["options"] = _allowed(kept["options"], caller, choices)
    return kept


def _allowed(options: Mapping[str, Any], caller: Caller, choices: Choices) -> Mapping[str, Any]:
    closed = frozenset[str]() if caller.may(Scope.OPTIONS) else wishes_of(caller, options).keys() - OPEN
    kept: dict[str, Any] = {}
    for name, value in options.items():
        if name in closed or name == "upkeep" or (name == "tool_name" and not _is_tool(value, choices)):
            continue
        if name in OPTIONS:
            try:
                checked_options({one: kept[one] for one in kept if one in OPTIONS} | {name: value}, choices)
            except CallerError:
                continue
        kept[name] = value
    return kept


def _is_tool(name: str, choices: Choices) -> bool:
    return bool(_FULL_NAME.fullmatch(name)) and name.partition(".")[0] in choices.services
