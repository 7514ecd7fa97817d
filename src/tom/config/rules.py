"""The rules of `policy`, resolved and checked against the people and services that there are."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tom.clock import timestamp
from tom.config import schema
from tom.config.agent import PolicyRule, PolicySettings
from tom.config.faults import Faults
from tom.config.policy import PolicySection, RuleSection
from tom.config.settings import UserEntry

_MOMENT = "must be a date or a time, such as 2026-12-31 or 2026-12-31T18:00:00+01:00"


def resolve_policy(
    section: PolicySection,
    people: Mapping[str, UserEntry],
    services: Collection[str],
    zone: str,
    faults: Faults,
    *,
    now: str,
) -> PolicySettings:
    """The section for agents. Times without a zone are in ``zone``; ``now`` is as `clock.timestamp` writes it."""
    groups = {group for user in people.values() for group in user.groups}
    rules: list[PolicyRule] = []
    for place, rule in enumerate(section.rules):
        where: schema.Path = ("policy", "rules", place)
        for at, user in enumerate(rule.users or ()):
            if user not in people:
                faults.refuse((*where, "users", at), f"there is no user {user!r}")
        rules.append(_rule(place + 1, rule, until=_until(where, rule, zone, faults)))
        faults.warnings += _doubts(schema.dotted(where), rules[-1], rule, groups, services, now)
    return PolicySettings(rules=tuple(rules), proposals=section.proposals, max_asks=section.max_asks)


def _rule(number: int, rule: RuleSection, *, until: str) -> PolicyRule:
    return PolicyRule(
        number=number,
        verdict=rule.verdict,
        users=tuple(rule.users or ()),
        groups=tuple(rule.groups or ()),
        tool=rule.pattern(),
        tool_class=rule.class_ or "",
        even_when_tainted=rule.even_when_tainted,
        arguments=rule.arguments,
        until=until,
    )


def _doubts(
    where: str, resolved: PolicyRule, rule: RuleSection, groups: Collection[str], services: Collection[str], now: str
) -> Iterable[str]:
    """What may be a slip of the pen, and what one should know at each start."""
    for group in rule.groups or ():
        if group not in groups:
            yield f"⚠️ {where}.groups: nobody is in the group {group!r}"
    service = resolved.tool.partition(".")[0]
    if service and not {"*", "?"} & set(service) and service not in services:
        yield f"⚠️ {where}: there is no service {service!r}"
    if resolved.until and resolved.until <= now:
        yield f"⚠️ {where} has ended at {resolved.until}"
    if resolved.even_when_tainted:
        yield f"⚠️ {where} allows {resolved.tool} without being asked, even after untrusted text was read"


def _until(where: schema.Path, rule: RuleSection, zone: str, faults: Faults) -> str:
    """The moment at which the rule ends, as `clock.timestamp` writes it; a date means the end of that day."""
    if rule.until is None:
        return ""
    text = rule.until.strip()
    try:
        if len(text) == len("2026-12-31"):
            moment = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), ZoneInfo(zone))
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
        return timestamp(moment)
    except (ValueError, OverflowError):
        faults.refuse((*where, "until"), _MOMENT)
        return ""
