"""The table of the house, and what rules make of it; the cases are data."""

import time

import pytest

from tom.config.agent import PolicyRule
from tom.conversation.label import Label
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.explanation import explain
from tom.policy.patterns import LONGEST_ALLOWED, matches_arguments
from tom.policy.verdict import Person, Situation, decide

pytestmark = pytest.mark.promise("P14")


def of(table):
    def mark(test):
        test.table = table
        return test

    return mark


@pytest.fixture
def judged(tool_of, person_of, situation_of, rules_of):
    return lambda entry: decide(tool_of(entry), person_of(entry), situation_of(entry), rules_of(entry))


@of("table")
def test_every_cell_of_the_table(case, judged):
    verdicts = [judged(case | {"run": run}) for run in ("clean", "tainted", "tainted_private")]
    assert [str(verdict.answer) for verdict in verdicts] == case["verdicts"]
    assert [verdict.ground for verdict in verdicts] == case["grounds"]


@of("table")
def test_a_yes_is_only_ever_kept_for_a_write_in_a_clean_run(case, judged):
    for run in ("clean", "tainted", "tainted_private"):
        verdict = judged(case | {"run": run})
        assert verdict.may_remember == (
            case["class"] == "write_external" and run == "clean" and verdict.ground == "class"
        )


@of("verdicts")
def test_single_verdicts(case, judged):
    verdict = judged(case)
    assert verdict.answer == case["verdict"]
    for name in ("ground", "reason", "rule", "may_remember"):
        if name in case:
            assert getattr(verdict, name) == case[name]


@of("patterns")
def test_patterns_of_arguments(case):
    found = [
        matches_arguments({"x": case["pattern"]}, {"x": case["value"], "y": "z"}, loosens=loosens)
        for loosens in (True, False)
    ]
    assert found == [case["allow"], case["deny"]]


def test_all_named_arguments_must_match():
    arguments = {"to": "bob", "subject": "hello"}
    assert matches_arguments({"to": "bob", "subject": "h*"}, arguments, loosens=False)
    assert not matches_arguments({"to": "bob", "subject": "x*"}, arguments, loosens=False)
    assert not matches_arguments({"to": "bob", "cc": "**"}, arguments, loosens=False)


def test_the_arguments_of_a_call_decide(tool_of):
    rules = [PolicyRule(number=1, verdict="allow", tool="mail.send", arguments={"to": "*@family.example"})]
    tool = tool_of({"class": "write_external"})
    for to, answer in (("bob@family.example", "allow"), ("eve@evil.example", "ask")):
        assert decide(tool, Person("alice"), Situation(Label(), arguments={"to": to}), rules).answer == answer


def test_a_long_value_costs_little_and_is_allowed_by_no_pattern():
    value = "ab" * 50_000
    started = time.monotonic()
    assert not matches_arguments({"x": "**a**b**a**b**a**c"}, {"x": value}, loosens=True)
    assert not matches_arguments({"x": "*a*b*a*b*a*c"}, {"x": value}, loosens=False)
    assert matches_arguments({"x": "**"}, {"x": "a" * LONGEST_ALLOWED}, loosens=True)
    assert not matches_arguments({"x": "**"}, {"x": "a" * (LONGEST_ALLOWED + 1)}, loosens=True)
    assert not matches_arguments({"x": "**a**b" * 20 + "c"}, {"x": value[:LONGEST_ALLOWED]}, loosens=True)
    assert time.monotonic() - started < 5


def test_arguments_may_be_nested_deeper_than_python_can():
    nested = "evil"
    for _ in range(20_000):
        nested = [nested]
    assert matches_arguments({"x": "evil"}, {"x": nested}, loosens=False)


def test_a_reason_names_few_sources_and_shows_no_text_that_turns_the_line(tool_of):
    sources = {f"web.page{number}" for number in range(5)} | {"a\u202eb" + "x" * 200}
    label = Label(untrusted=frozenset(sources))
    reason = decide(tool_of({"class": "write_external"}), Person("alice"), Situation(label), []).reason
    assert "(a\ufffdbxx" in reason
    assert "…, web.page0, web.page1 and 3 more)" in reason
    assert "x" * 80 not in reason


def test_the_explanation_has_every_situation():
    tool = ToolDefinition("send", "mail", "send", "", {}, ToolClass.WRITE_EXTERNAL)
    rules = [PolicyRule(number=1, verdict="allow", tool="mail.send", arguments={"to": "bob"})]
    without = {found.situation: str(found.verdict.answer) for found in explain(tool, Person("alice"), rules)}
    assert without == {
        "clean": "ask",
        "tainted": "ask",
        "tainted_private": "ask",
        "standing_yes": "allow",
        "unresolved": "ask",
        "nobody_to_ask": "deny",
    }
    given = explain(tool, Person("alice"), rules, arguments={"to": "bob"})
    assert {found.situation for found in given if found.verdict.answer == "allow"} == {
        "clean",
        "standing_yes",
        "nobody_to_ask",
    }
