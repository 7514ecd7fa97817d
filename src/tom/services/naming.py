"""What the model calls each tool: one table, both ways.

A tool keeps its bare name when no other has it, else every holder of that name is called ``<service>__<tool>``. The
names depend on the set of tools only, never on the order in which services were reached.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

LONGEST = 64
_HASH_LENGTH = 8
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")

type FullName = tuple[str, str]
"""Service and tool, as the service itself calls it."""

OURS: Final[tuple[FullName, ...]] = (("tom", "list_resources"), ("tom", "read_resource"))
"""The tools that Tom offers itself: nobody else's is called like them."""


def names_for(tools: Iterable[FullName]) -> dict[FullName, str]:
    """The name that the model sees, for each (service, tool); no two are the same."""
    known = sorted(set(tools))
    names = {full: allowed(full[1]) for full in known}
    names = {
        full: allowed(f"{full[0]}__{full[1]}") if shared else names[full] for full, shared in _collisions(names).items()
    }
    for full, shared in _collisions(names).items():
        if shared:  # names that differ only in characters a provider does not take, or by chance look prefixed
            names[full] = _hashed(_FOREIGN.sub("_", f"{full[0]}__{full[1]}"), full)
    return names


def allowed(name: str) -> str:
    """``name`` in the characters and the length that every provider takes."""
    cleaned = _FOREIGN.sub("_", name) or "_"
    return cleaned if len(cleaned) <= LONGEST else _hashed(cleaned, ("", name))


def _collisions(names: dict[FullName, str]) -> dict[FullName, bool]:
    held = Counter(names.values())
    return {full: held[name] > 1 for full, name in names.items()}


def _hashed(cleaned: str, full: FullName) -> str:
    """Cut, with a hash of what it stands for, so that two long names do not become one."""
    digest = hashlib.sha256("\0".join(full).encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return f"{cleaned[: LONGEST - _HASH_LENGTH - 1]}_{digest}"
