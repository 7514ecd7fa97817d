"""What holds for every tool, person, run and set of rules."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.config.agent import PolicyRule
from tom.conversation.label import Label
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.verdict import Answer, Person, Situation, decide

pytestmark = pytest.mark.promise("P14")

STRICTNESS = {Answer.ALLOW: 0, Answer.ASK: 1, Answer.DENY: 2}
GROUNDS = {"class", "taint", "outward", "rule", "proposed", "unresolved", "standing", "nobody_to_ask"}
SERVICES = ("mail", "web", "notes")
TIMES = ("", "2026-01-01T00:00:00.000Z", "2026-06-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z")

classes = st.sampled_from(ToolClass)
tools = st.builds(
    lambda service, name, **rest: ToolDefinition(name, service, name, "", {}, **rest),
    st.sampled_from(SERVICES),
    st.sampled_from(["send", "fetch", "Find"]),
    tool_class=classes,
    outward=st.booleans(),
    proposed=st.booleans(),
)
people = st.builds(
    Person,
    st.sampled_from(["alice", "bob"]),
    st.sets(st.sampled_from(["kids", "cooks"])).map(tuple),
    present=st.booleans(),
)
sources = st.frozensets(st.sampled_from([*SERVICES, "memory", "…", "web.fetch", "\u202e", ""]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["a@b", "x/../y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.sampled_from(["to", "cc", "path"]), values, max_size=3)
situations = st.builds(
    Situation,
    st.builds(Label, untrusted=sources, private=sources),
    now=st.sampled_from(TIMES),
    standing=st.booleans(),
    unresolved=st.booleans(),
    proposals=st.sampled_from(["accept", "review"]),
    arguments=arguments,
)
patterns = st.sampled_from(["*", "**", "!*", "a@b", "*@b", "?", "x/**", "[", "!a@b", "true", "1*"]) | st.text(
    min_size=1, max_size=5
)


def rules_with(verdicts):
    return st.lists(
        st.builds(
            PolicyRule,
            number=st.just(0),
            verdict=st.sampled_from(verdicts),
            users=st.sampled_from([(), (), ("alice",), ("bob",)]),
            groups=st.sampled_from([(), (), ("kids",)]),
            tool=st.sampled_from(["", "mail.*", "mail.send", "*.FIND", "*.fetch", "web.fetch", "?ail.send"]),
            tool_class=st.sampled_from(["", "", *map(str, ToolClass)]),
            even_when_tainted=st.booleans(),
            arguments=st.dictionaries(st.sampled_from(["to", "cc"]), patterns, max_size=2),
            until=st.sampled_from(TIMES),
        ),
        max_size=5,
    ).map(lambda rules: [replace(rule, number=place) for place, rule in enumerate(rules, 1)])


rules = rules_with(["allow", "ask", "deny"])
law = settings(max_examples=120, deadline=None)


def strictness(*given):
    return STRICTNESS[decide(*given).answer]


@given(tools, people, situations, rules)
@law
def test_there_is_a_verdict_with_a_reason_for_everything(tool, person, situation, rules):
    verdict = decide(tool, person, situation, rules)
    assert verdict.ground in GROUNDS
    assert verdict.reason[0].isupper() and verdict.reason.endswith(".")
    assert verdict.rule in {0, *(rule.number for rule in rules)}
    assert not verdict.may_remember or (
        verdict.answer is Answer.ASK
        and tool.tool_class is ToolClass.WRITE_EXTERNAL
        and not situation.label.tainted
        and not situation.standing
    )


@given(tools, people, situations, rules, sources, sources)
@law
def test_more_taint_never_loosens(tool, person, situation, rules, untrusted, private):
    more = replace(situation, label=situation.label | Label(untrusted, private))
    assert strictness(tool, person, more, rules) >= strictness(tool, person, situation, rules)


@given(tools, people, situations, rules, rules_with(["ask", "deny"]))
@law
def test_a_further_rule_that_tightens_never_loosens(tool, person, situation, rules, further):
    further = [replace(rule, number=rule.number + 100) for rule in further]
    assert strictness(tool, person, situation, [*rules, *further]) >= strictness(tool, person, situation, rules)


@given(tools, people, situations, rules, rules_with(["allow"]))
@law
def test_a_further_rule_that_loosens_never_tightens(tool, person, situation, rules, further):
    further = [replace(rule, number=rule.number + 100) for rule in further]
    assert strictness(tool, person, situation, [*rules, *further]) <= strictness(tool, person, situation, rules)


@given(tools, people, situations, rules)
@law
def test_deny_wins(tool, person, situation, rules):
    for place in range(len(rules) + 1):
        with_deny = [*rules[:place], PolicyRule(number=100, verdict="deny"), *rules[place:]]
        assert decide(tool, person, situation, with_deny).answer is Answer.DENY


@given(tools, people, situations, rules, st.randoms(use_true_random=False))
@law
def test_the_order_of_rules_does_not_matter(tool, person, situation, rules, random):
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert decide(tool, person, situation, shuffled) == decide(tool, person, situation, rules)


@given(tools, people, situations, rules)
@law
def test_what_destroys_is_never_allowed(tool, person, situation, rules):
    tool = replace(tool, tool_class=ToolClass.DESTRUCTIVE)
    verdict = decide(tool, person, situation, rules)
    assert verdict.answer is not Answer.ALLOW
    assert not verdict.may_remember


@given(tools, people, situations, rules)
@law
def test_what_may_have_happened_is_never_repeated_unasked(tool, person, situation, rules):
    assert decide(tool, person, replace(situation, unresolved=True), rules).answer is not Answer.ALLOW


@given(tools, people, situations, rules)
@law
def test_an_act_in_a_tainted_run_is_allowed_by_a_rule_that_names_the_tool_or_not_at_all(tool, person, situation, rules):
    label = situation.label | Label(untrusted=frozenset({"web.fetch"}))
    tool = replace(tool, tool_class=ToolClass.WRITE_EXTERNAL)
    verdict = decide(tool, person, replace(situation, label=label), rules)
    if verdict.answer is Answer.ALLOW:
        rule = rules[verdict.rule - 1]
        assert (rule.verdict, rule.tool, rule.even_when_tainted) == ("allow", tool.full_name, True)


@given(tools, people, situations, rules)
@law
def test_without_anybody_nothing_is_asked(tool, person, situation, rules):
    asked = decide(tool, replace(person, present=True), situation, rules)
    alone = decide(tool, replace(person, present=False), situation, rules)
    assert alone.answer is not Answer.ASK
    assert (alone.answer is Answer.ALLOW) == (asked.answer is Answer.ALLOW)
