"""Which rules of the admin are meant for a call, and what an `allow` may loosen.

A rule that cannot be judged falls on the careful side: one with an end counts, without a time to compare it with, when
it tightens and not when it loosens.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tom.config.agent import PolicyRule
from tom.conversation.tool import ToolDefinition
from tom.policy.patterns import matches_arguments, matches_tool, names_one_tool

ALLOW, ASK, DENY = "allow", "ask", "deny"


@dataclass(frozen=True, slots=True)
class Applying:
    """The rules that are meant for one call; of several that say the same the one with the lowest number speaks."""

    deny: PolicyRule | None
    ask: PolicyRule | None
    allows: tuple[PolicyRule, ...]


def applying(
    rules: Iterable[PolicyRule],
    tool: ToolDefinition,
    user: str,
    groups: Sequence[str],
    arguments: Mapping[str, Any],
    now: str,
) -> Applying:
    """The rules for a call of ``tool`` by ``user`` with ``arguments`` at ``now`` (RFC 3339 UTC, may be empty)."""
    meant = sorted(
        (rule for rule in rules if _meant(rule, tool, user, groups, now) and _matches(rule, arguments)),
        key=lambda rule: rule.number,
    )
    first = {verdict: next((rule for rule in meant if rule.verdict == verdict), None) for verdict in (DENY, ASK)}
    return Applying(first[DENY], first[ASK], tuple(rule for rule in meant if rule.verdict == ALLOW))


def may_loosen(rule: PolicyRule, *, tainted: bool, unreviewed: bool) -> bool:
    """Whether an `allow` is strong enough.

    Where the run is tainted it must say so and name one tool; where nobody has reviewed the tool it must name it.
    """
    if not (tainted or unreviewed):
        return True
    return names_one_tool(rule.tool) and (rule.even_when_tainted or not tainted)


def _meant(rule: PolicyRule, tool: ToolDefinition, user: str, groups: Sequence[str], now: str) -> bool:
    loosens = rule.verdict == ALLOW
    ended = bool(rule.until) and (now >= rule.until if now else loosens)
    return (
        not ended
        and (not rule.users or user in rule.users)
        and (not rule.groups or not set(rule.groups).isdisjoint(groups))
        and (not rule.tool_class or rule.tool_class == tool.tool_class)
        and matches_tool(rule.tool, tool.full_name, loosens=loosens)
    )


def _matches(rule: PolicyRule, arguments: Mapping[str, Any]) -> bool:
    return matches_arguments(rule.arguments, arguments, loosens=rule.verdict == ALLOW)
