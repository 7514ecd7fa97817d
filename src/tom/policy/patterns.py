"""What the patterns of rules match. A pattern is read so that a doubt costs a question and never an act.

A pattern that *tightens* (ask, deny) is read widely: ``*`` is anything, capitals do not matter, and one matching value
among many is enough. One that *loosens* (allow) is read narrowly: ``*`` is one word, without white space and without
``,;:/@`` and the like, ``**`` is anything, every value must match, and none may climb (``../``) or be endless. So
``*@family.example`` allows no list of addresses in one text. A leading ``!`` turns a pattern round, and what it then
leaves is read the other way.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

LONGEST_ALLOWED = 4096
"""Characters of a value that a loosening pattern looks at; a longer one matches none."""

_CLIMBS = re.compile(r"(?:^|[/\\])(?:\.|%2e){2}(?:$|[/\\?#])", re.IGNORECASE)
_WILD = re.compile(r"(\*\*|\*|\?)")
_ANYTHING, _ONE_WORD, _ONE_LETTER = "**", "*w", "?w"
_MEANING = {"**": _ANYTHING, "*": _ONE_WORD, "?": _ONE_LETTER}
_WORD = re.compile(r"[\w.+'~=-]")


def matches_tool(pattern: str, full_name: str, *, loosens: bool) -> bool:
    """Whether ``service.tool`` is meant by a rule's pattern. ``*`` is anything here; an empty pattern means all."""
    return not pattern or _wide(pattern, not loosens).fullmatch(full_name) is not None


def names_one_tool(pattern: str) -> bool:
    """Whether a pattern is the full name of one tool and nothing else."""
    service, dot, tool = pattern.partition(".")
    return bool(dot and service and tool) and not _WILD.search(pattern)


def matches_arguments(patterns: Mapping[str, str], arguments: Mapping[str, Any], *, loosens: bool) -> bool:
    """Whether every named argument is there and matches: all of its values when the rule loosens, else any of them."""
    return all(_matches(pattern, arguments.get(name), loosens=loosens) for name, pattern in patterns.items())


def _matches(pattern: str, argument: Any, *, loosens: bool) -> bool:
    turned = pattern.startswith("!")
    text = pattern.removeprefix("!")
    if loosens != turned:
        found = [_narrowly(text, value) != turned for value in _values(argument)]
    else:
        wide = _wide(text, True)
        found = [(wide.fullmatch(value) is not None) != turned for value in _values(argument)]
    return bool(found) and (all(found) if loosens else any(found))


def _values(argument: Any) -> Iterator[str]:
    """The texts of an argument: of a list or mapping all those inside it, keys too. null is no value."""
    left: list[Any] = [argument]
    while left:
        item = left.pop()
        match item:
            case None:
                pass
            case str():
                yield item
            case Mapping():
                pairs = cast("Mapping[str, Any]", item)
                yield from pairs
                left.extend(pairs.values())
            case Sequence():
                left.extend(cast("Sequence[Any]", item))
            case float() if item.is_integer():
                yield str(int(item))
            case _:
                yield json.dumps(item, default=str)


@lru_cache(maxsize=1024)
def _wide(pattern: str, any_case: bool) -> re.Pattern[str]:
    """Stars are anything. What stands between two of them is looked for once, so that time stays linear."""
    first, *others = [_literal(part) for part in re.split(r"\*+", pattern)]
    between = "".join(f"(?>.*?{part})" for part in others[:-1])
    end = f".*{others[-1]}" if others else ""
    return re.compile(first + between + end, re.DOTALL | (re.IGNORECASE if any_case else 0))


def _literal(text: str) -> str:
    return ".".join(re.escape(part) for part in text.split("?"))


def _narrowly(pattern: str, value: str) -> bool:
    """Whether all of ``value`` is what the pattern means when it loosens; places in the pattern are kept as a set."""
    if len(value) > LONGEST_ALLOWED or _CLIMBS.search(value):
        return False
    pieces = _pieces(pattern)
    places = _onwards(pieces, {0})
    for at, letter in enumerate(value):
        word = _WORD.match(letter) is not None and not value.startswith("..", at)
        reached: set[int] = set()
        for place in places:
            piece = pieces[place] if place < len(pieces) else ""
            if piece == _ANYTHING or (piece == _ONE_WORD and word):
                reached.add(place)
            elif piece == letter or (piece == _ONE_LETTER and word):
                reached.add(place + 1)
        places = _onwards(pieces, reached)
        if not places:
            return False
    return len(pieces) in places


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[str, ...]:
    """Letters as they are; what stands for others in two characters, so that no letter is taken for it."""
    pieces: list[str] = []
    for part in _WILD.split(pattern):
        pieces.extend([_MEANING[part]] if part in _MEANING else part)
    return tuple(pieces)


def _onwards(pieces: Sequence[str], places: set[int]) -> frozenset[int]:
    """The places, and those behind the stars that stand there: a star may be nothing."""
    found = set(places)
    for place in places:
        at = place
        while at < len(pieces) and pieces[at] in {_ANYTHING, _ONE_WORD}:
            at += 1
            found.add(at)
    return frozenset(found)
