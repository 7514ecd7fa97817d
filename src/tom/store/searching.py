"""Words looked for in titles and messages, whatever their case: as patterns of SQLite, and for its twin in memory.

There is no index: nothing to keep in step, nothing that remembers what was erased. SQLite looks through some 500 MB of
text a second for words of plain letters (LIKE), through 100 MB for others (GLOB, with each letter's cases spelled out).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST_WORDS = 8
"""Words beyond these are not looked for."""

_SAME = ("یيى", "کك", "هة")
"""Letters that keyboards write differently and people read as the same."""

_TWINS = {letter: frozenset(group) for group in _SAME for letter in group}
_GLOB_MARKS = "*?["
_LIKE_MARKS = re.compile(r"([%_\\])")


@dataclass(frozen=True, slots=True)
class Sought:
    """What every hit must hold: ``likes`` and ``globs`` are patterns of these operators, ``words`` the same for `re`."""

    likes: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def found_in(self, text: str) -> bool:
        """Whether every word is in ``text``."""
        return all(re.search(word, text) for word in self.words)


def sought(text: str) -> Sought | None:
    """The words of ``text``; None when there are none: then everything is listed."""
    words = text.replace("\0", " ").split()[:MOST_WORDS]
    if not words:
        return None
    plain = [word for word in words if _is_plain(word)]
    others = [word for word in words if not _is_plain(word)]
    return Sought(
        tuple(f"%{_LIKE_MARKS.sub(r'\\\1', word)}%" for word in plain),
        tuple(f"*{''.join(map(_glob, word))}*" for word in others),
        tuple(
            "".join(f"(?:{'|'.join(re.escape(one) for one in _forms(letter))})" for letter in word) for word in words
        ),
    )


def _is_plain(word: str) -> bool:
    """Whether LIKE finds all forms of it: it folds the case of ASCII letters only."""
    return all(letter.isascii() or _forms(letter) == (letter,) for letter in word)


def _forms(letter: str) -> tuple[str, ...]:
    """The letter as it may be written; only forms of one letter."""
    cases: Iterable[str] = (letter, letter.lower(), letter.upper())
    if letter.isascii():
        cases = (one for one in cases if one.isascii())
    return tuple(sorted({one for one in cases if len(one) == 1} | _TWINS.get(letter, frozenset())))


def _glob(letter: str) -> str:
    forms = _forms(letter)
    if len(forms) > 1 or letter in _GLOB_MARKS:
        return f"[{''.join(forms)}]"
    return letter
