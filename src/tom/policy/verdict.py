"""The verdict on one tool call: allow, ask or deny, with its reason.

The table of `cases` below is the house's rule: what a class may do in a run that is clean, tainted, or tainted and
private. Admin rules come on top: deny beats ask beats allow, a rule may tighten anything, and loosen only clean cells
unless it says ``even_when_tainted`` for one named tool. No text filter takes part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tom.config.agent import PolicyRule
from tom.conversation.label import Label
from tom.conversation.tool import ToolClass, ToolDefinition


class Answer(StrEnum):
    """What may become of a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is a sentence for people; ``ground`` the stable word for it.

    Grounds: ``class``, ``taint``, ``outward``, ``rule``, ``proposed``, ``unresolved``, ``standing``, ``nobody_to_ask``.
    ``may_remember``: a yes may be given for the rest of the conversation. ``rule`` is the rule's number, 0: none.
    """

    answer: Answer
    reason: str
    ground: str
    may_remember: bool = False
    rule: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """On whose behalf the call is made, as rules see them. ``present``: somebody can be asked at all."""

    user: str
    groups: tuple[str, ...] = ()
    present: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """What else the verdict depends on.

    ``label`` is that of the reply that asks for the call. ``standing``: the person has said yes to this tool, as it is
    pinned, for this conversation. ``unresolved``: an earlier call of it in this run may have happened.
    ``now`` is RFC 3339 UTC.
    """

    label: Label
    now: str = ""
    standing: bool = False
    unresolved: bool = False
    proposals: str = "accept"
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


def decide(tool: ToolDefinition, person: Person, situation: Situation, rules: Sequence[PolicyRule]) -> Verdict:
    """The verdict on a call of ``tool`` with ``situation.arguments``. Total: it has an answer for every input."""
    verdict = _by_class(tool, situation)
    if verdict.answer is Answer.ASK and not person.present:
        return Verdict(Answer.DENY, f"Nobody can be asked: {verdict.reason}", "nobody_to_ask")
    return verdict


def _by_class(tool: ToolDefinition, situation: Situation) -> Verdict:
    if situation.unresolved:
        reason = "an earlier call of this tool in this run may or may not have happened"
        return Verdict(Answer.ASK, reason, "unresolved")
    tainted = situation.label.tainted
    match tool.tool_class:
        case ToolClass.READ_PUBLIC | ToolClass.READ_PRIVATE:
            return Verdict(Answer.ALLOW, "it only reads", "class")
        case ToolClass.WRITE_OWN:
            return Verdict(Answer.ALLOW, "it writes only to the person's own things", "class")
        case ToolClass.WRITE_EXTERNAL if not tainted and situation.standing:
            return Verdict(Answer.ALLOW, "the person has allowed it for this conversation", "standing")
        case ToolClass.WRITE_EXTERNAL:
            return Verdict(Answer.ASK, "it changes things outside", "class", may_remember=not tainted)
        case _:
            return Verdict(Answer.ASK, "it destroys or cannot be undone", "class")
