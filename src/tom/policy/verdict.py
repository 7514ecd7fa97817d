"""The verdict on one tool call: allow, ask or deny, with its reason.

The house has a table: what a class may do in a run that is clean, tainted, or tainted and private. Admin rules come on
top: deny beats ask beats allow, a rule may tighten anything, and loosen only clean cells unless it says
``even_when_tainted`` for one named tool. What destroys, and what may have happened already, no rule allows beforehand.
A tool that differs from its pin never comes here: it is not on offer. No text filter takes part.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tom.config.agent import PolicyRule
from tom.conversation.label import MEMORY, Label
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.classes import has_message, has_undeclared
from tom.policy.rules import Applying, applying, may_loosen

NAMED = 3
"""Sources that a reason names; the rest is counted."""
LONGEST_NAME = 80
"""Characters of a source's name in a reason."""


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
    found = applying(rules, tool, person.user, person.groups, situation.arguments, situation.now)
    if found.deny is not None:
        number = found.deny.number
        return Verdict(Answer.DENY, f"Rule {number} of the policy forbids it.", "rule", rule=number)
    verdict = _under_rules(tool, situation, found)
    if verdict.answer is Answer.ASK and not person.present:
        return Verdict(Answer.DENY, f"Nobody can be asked. {verdict.reason}", "nobody_to_ask", rule=verdict.rule)
    return verdict


def _under_rules(tool: ToolDefinition, situation: Situation, found: Applying) -> Verdict:
    """The house's verdict, tightened or loosened by rules; none of them denies."""
    house = _of_house(tool, situation)
    if found.ask is not None:
        if house.answer is Answer.ASK and not house.may_remember:
            return house
        number = found.ask.number
        return Verdict(Answer.ASK, f"Rule {number} of the policy asks for it each time.", "rule", rule=number)
    if house.answer is Answer.ALLOW or not found.allows:
        return house
    if house.ground == "unresolved" or tool.tool_class is ToolClass.DESTRUCTIVE:
        return replace(house, reason=f"{house.reason} No rule can allow that beforehand.")
    for rule in found.allows:
        if may_loosen(rule, tainted=situation.label.tainted, unreviewed=house.ground == "proposed"):
            return Verdict(Answer.ALLOW, f"Rule {rule.number} of the policy allows it.", "rule", rule=rule.number)
    number = found.allows[0].number
    return replace(house, reason=f"{house.reason} Rule {number} of the policy is not meant for that.")


def _of_house(tool: ToolDefinition, situation: Situation) -> Verdict:
    """The verdict without rules."""
    if situation.unresolved:
        return Verdict(Answer.ASK, "An earlier call of it in this run may or may not have happened.", "unresolved")
    if tool.proposed and situation.proposals != "accept":
        return Verdict(Answer.ASK, "Nobody has reviewed yet what it can do.", "proposed")
    return _of_class(tool, situation)


def _of_class(tool: ToolDefinition, situation: Situation) -> Verdict:
    """The table: what the class may do in a run that is clean, tainted, or tainted and private."""
    label = situation.label
    match tool.tool_class:
        case ToolClass.READ_PUBLIC | ToolClass.READ_PRIVATE:
            return _of_reading(tool, situation)
        case ToolClass.WRITE_OWN:
            return _of_own(tool, label)
        case ToolClass.WRITE_EXTERNAL if label.tainted:
            return Verdict(Answer.ASK, f"It changes things outside, and {_read(label)}.", "taint")
        case ToolClass.WRITE_EXTERNAL if situation.standing:
            return Verdict(Answer.ALLOW, "Its person has allowed it for this conversation.", "standing")
        case ToolClass.WRITE_EXTERNAL:
            return Verdict(Answer.ASK, "It changes things outside.", "class", may_remember=True)
        case _:
            besides = f", and {_read(label)}" if label.tainted else ""
            return Verdict(Answer.ASK, f"It destroys, or cannot be undone{besides}.", "class")


def _of_own(tool: ToolDefinition, label: Label) -> Verdict:
    """Writing one's own things is free, but where it would make somebody's text an instruction to later runs.

    What is remembered comes back in later runs as if its person had said it.
    """
    if (tool.steering or tool.service == MEMORY) and label.tainted:
        return Verdict(Answer.ASK, f"It changes how the assistant behaves from now on, and {_read(label)}.", "taint")
    return Verdict(Answer.ALLOW, "It writes only to its person's own things.", "class")


def _of_reading(tool: ToolDefinition, situation: Situation) -> Verdict:
    """Reading is free, but where its arguments could carry private matters away on behalf of somebody's text.

    A definition that nobody has reviewed, of a service that is not trusted, is such a text itself.
    """
    label = situation.label
    others = label.private - {tool.reads_from} if tool.tool_class is ToolClass.READ_PRIVATE else label.private
    unread = tool.proposed and not tool.trusted
    outward = tool.outward or (has_message if unread else has_undeclared)(tool.parameters, situation.arguments)
    if not (outward and others and (label.tainted or unread)):
        return Verdict(Answer.ALLOW, "It only reads.", "class")
    why = _read(label) if label.tainted else "nobody has reviewed yet what it can do"
    reason = f"Its arguments leave the house; {why}, and private matters ({_listed(others)}) are in sight."
    return Verdict(Answer.ASK, reason, "outward" if label.tainted else "proposed")


def _read(label: Label) -> str:
    return f"text that no trusted party wrote was read ({_listed(label.untrusted)})"


def _listed(names: Collection[str]) -> str:
    """At most `NAMED` of the names, as one may show them: a resource's name is its service's text."""
    shown = [shown_name(name) for name in sorted(names)[:NAMED]]
    return ", ".join(shown) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def shown_name(name: str) -> str:
    """A name that somebody else has chosen, as one may show it."""
    printable = "".join(char if char.isprintable() else "�" for char in name)
    return printable if len(printable) <= LONGEST_NAME else printable[: LONGEST_NAME - 1] + "…"
