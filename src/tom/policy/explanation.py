"""The verdicts on one tool in every situation that matters, side by side: what `tom policy explain` shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tom.config.agent import PolicyRule
from tom.conversation.label import Label
from tom.conversation.tool import ToolDefinition
from tom.policy.verdict import Person, Situation, Verdict, decide

SITUATIONS = ("clean", "tainted", "tainted_private", "standing_yes", "unresolved", "nobody_to_ask")
"""Situations: nothing untrusted read; something; that and private matters of another service; clean with the person's
standing yes; after a call that may have happened; clean, with nobody who could be asked."""

_TAINT = Label(untrusted=frozenset({"for example a web page"}))
_BOTH = replace(_TAINT, private=frozenset({"for example of another service"}))


@dataclass(frozen=True, slots=True)
class Explained:
    """One situation by name, and the verdict there."""

    situation: str
    verdict: Verdict


def explain(
    tool: ToolDefinition,
    person: Person,
    rules: Sequence[PolicyRule],
    *,
    now: str = "",
    proposals: str = "accept",
    arguments: Mapping[str, Any] | None = None,
) -> tuple[Explained, ...]:
    """The verdict on a call of ``tool`` in each situation, the three columns of the table first."""
    clean = Situation(Label(), now=now, proposals=proposals, arguments=arguments or {})
    absent = replace(person, present=False)
    met = (
        (person, clean),
        (person, replace(clean, label=_TAINT)),
        (person, replace(clean, label=_BOTH)),
        (person, replace(clean, standing=True)),
        (person, replace(clean, unresolved=True)),
        (absent, clean),
    )
    return tuple(
        Explained(name, decide(tool, who, situation, rules))
        for name, (who, situation) in zip(SITUATIONS, met, strict=True)
    )
