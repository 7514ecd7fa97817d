"""Labels: where the text of a message came from, as far as it matters to what a call may do.

A label is computed once, when a fact is recorded, and stored with it. A reply carries the union of the labels of
everything that was in its prompt: so a sentence that a model wrote after reading a web page stays tainted when the
page itself has long left the window, and a summary inherits what it sums up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

MOST_SOURCES = 32
"""Sources named in one label; beyond them `MORE` stands for the rest. That there are any is never lost."""

MORE = "…"

PERSONAL_CONTEXT = "personal_context"
MEMORY = "memory"
POSITION = "position"
"""Private sources that are no service."""


@dataclass(frozen=True, slots=True)
class Label:
    """``untrusted``: the sources no trusted party wrote (``service.tool``, ``resource:service::uri``, …).

    ``private``: whose private matters the text holds (names of services, `MEMORY`, `PERSONAL_CONTEXT`,
    `POSITION`).
    """

    untrusted: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()

    @property
    def tainted(self) -> bool:
        """Whether the text holds anything that no trusted party wrote."""
        return bool(self.untrusted)

    def __or__(self, other: Self) -> "Label":
        """The label of both texts together: associative, commutative, idempotent; `CLEAN` is neutral."""
        if self is other or not (other.untrusted or other.private):
            return self
        return Label(_some(self.untrusted | other.untrusted), _some(self.private | other.private))

    def as_json(self) -> dict[str, list[str]]:
        """For an event's ``extra``: sorted names; empty when clean."""
        named = {"untrusted": sorted(self.untrusted), "private": sorted(self.private)}
        return {kind: names for kind, names in named.items() if names}


CLEAN = Label()


def label_of(extra: Mapping[str, Any]) -> Label:
    """The label that an event's ``extra`` carries.

    Results stored before labels were (``taint`` alone) count as untrusted, and as private when the tool read private
    matters.
    """
    stored: Mapping[str, Any] | None = extra.get("label")
    if stored is not None:
        return Label(frozenset(stored.get("untrusted", ())), frozenset(stored.get("private", ())))
    if not extra.get("taint"):
        return CLEAN
    service: str = extra.get("service", "")
    private = frozenset({service}) if extra.get("class") == "read_private" else frozenset[str]()
    return Label(frozenset({f"{service}.{extra.get('tool', '')}"}), private)


def union(labels: Iterable[Label]) -> Label:
    """The label of several texts together."""
    whole = CLEAN
    for label in labels:
        whole |= label
    return whole


def _some(names: frozenset[str]) -> frozenset[str]:
    if len(names) <= MOST_SOURCES:
        return names
    return frozenset(sorted(names - {MORE})[: MOST_SOURCES - 1]) | {MORE}
