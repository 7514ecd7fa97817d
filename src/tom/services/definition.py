"""A tool's whole definition as its service wrote it, in one spelling, and the hash that stands for it."""

import difflib
import hashlib
import json
from typing import Any, Final

LARGEST: Final = 65_536
"""Characters of a definition that a person can be expected to look at; a changed one that is larger stays off."""

_MOST_ALIGNED: Final = 1500
"""Lines that are aligned with each other; that takes time by the square."""

_AROUND: Final = 3
_DEEPEST_INDENTED: Final = 40


def canonical(value: Any) -> str:
    """``value`` as JSON in one spelling: sorted names, no spaces, everything beyond ASCII escaped."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def pretty(written: str) -> str:
    """A canonical text over several lines, for people: what cannot be seen stays escaped."""
    indent = 2 if _depth(written) <= _DEEPEST_INDENTED else 0
    try:
        text = json.dumps(json.loads(written), sort_keys=True, indent=indent, ensure_ascii=False)
    except RecursionError:
        return written
    return "".join(letter if letter == "\n" or letter.isprintable() else _escaped(letter) for letter in text)


def difference(before: str, now: str) -> list[str]:
    """How two texts differ, line by line and complete. What would take long to align is shown as removed and added."""
    old, new = before.splitlines(), now.splitlines()
    start = _same(old, new)
    end = _same(old[:start:-1], new[:start:-1])
    removed, added = old[start : len(old) - end], new[start : len(new) - end]
    if len(removed) + len(added) > _MOST_ALIGNED:
        head = ["--- pinned", "+++ now", f"@@ -{start + 1},{len(removed)} +{start + 1},{len(added)} @@"]
        return [*head, *(f"-{line}" for line in removed), *(f"+{line}" for line in added)]
    unseen = max(0, start - _AROUND)  # where nothing differs, nothing is aligned; empty lines keep the count
    until = max(0, end - _AROUND)
    kept, fresh = ([""] * unseen + lines[unseen : len(lines) - until] for lines in (old, new))
    return list(difflib.unified_diff(kept, fresh, "pinned", "now", lineterm=""))


def digest(*parts: str) -> str:
    """``sha256:…`` of the parts, whose borders count."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        whole.update(len(content).to_bytes(8, "big") + content)
    return f"sha256:{whole.hexdigest()}"


def _same(one: list[str], other: list[str]) -> int:
    """How many lines are the same at the start of both."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))


def _depth(written: str) -> int:
    """How deep a text is nested, at most."""
    deepest = depth = 0
    for letter in written:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1]
