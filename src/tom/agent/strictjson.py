"""JSON as it comes from outside: one reading only, bounded depth, size and numbers.

Duplicate keys, NaN and Infinity, numbers beyond 64 bits, more than 64 levels or 10,000 keys are refused: two parsers
must not be able to disagree about what was said.
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_KEYS = 10_000
_LARGEST = 2**63
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


def parse_json(text: str | bytes, *, most_keys: int = MAX_KEYS) -> Any:
    """Read one JSON value in linear time. Raises ValueError with what is wrong."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    _check_depth(text)
    seen = 0

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal seen
        seen += len(items)
        value = dict(items)
        if len(value) != len(items):
            message = "the same key stands twice"
            raise ValueError(message)
        if seen > most_keys:
            message = f"more than {most_keys} keys"
            raise ValueError(message)
        return value

    return json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_int=_parse_int)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before anything recursive looks at it; brackets inside strings do not count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels"
            raise ValueError(message)


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _parse_int(digits: str) -> int:
    value = int(digits) if len(digits) <= 20 else _LARGEST
    if not -_LARGEST <= value < _LARGEST:
        message = "a number does not fit into 64 bits"
        raise ValueError(message)
    return value
