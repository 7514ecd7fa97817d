"""Text that a service says about itself, made harmless before a model or a person reads it.

Characters that cannot be seen can carry orders that only the model reads, or make a line read backwards.
"""

import re
import unicodedata
from typing import Any, cast

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Control, format (bidi, zero-width, tags), surrogate, private use, unassigned."""

_INVISIBLE_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Fillers and joiners that count as letters or marks and show nothing."""

_HALVES = re.compile("[\ud800-\udfff]")
_KEPT = frozenset("\n\t")


def clean(text: str) -> str:
    """Strip control, bidi, zero-width and tag characters; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if not _hidden(character))


def whole(text: str) -> str:
    """``text`` with U+FFFD where half a character stands: such text can be neither stored nor sent."""
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def whole_value(value: Any) -> Any:
    """A JSON value whose every text is `whole`."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole(key): whole_value(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [whole_value(one) for one in cast("list[Any]", value)]
    return value


def clean_within(text: str, size: int) -> str:
    """Clean, trim, and cut to ``size`` bytes of UTF-8, ending with ``…`` where something was cut."""
    cleaned = clean(text).strip()
    encoded = cleaned.encode()
    if len(encoded) <= size:
        return cleaned
    return encoded[: max(0, size - len("…".encode()))].decode(errors="ignore") + "…"


def clean_short(text: str, longest: int) -> str:
    """Clean, trim, and cut to ``longest`` characters, ending with ``…`` where something was cut."""
    cleaned = clean(text).strip()
    return cleaned if len(cleaned) <= longest else cleaned[: longest - 1] + "…"


def _hidden(character: str) -> bool:
    if character in _KEPT:
        return False
    return (
        unicodedata.category(character) in _INVISIBLE_CATEGORIES
        or character in _INVISIBLE_LETTERS
        or 0xE0100 <= ord(character) <= 0xE01EF  # variation selectors beyond those of emoji: a channel for bytes
    )
