"""Cases of the policy as data: each is a tool, a situation, rules, and the verdict that must come of it."""

from pathlib import Path

import pytest

from tom.config.agent import PolicyRule
from tom.config.yamltext import parse_value
from tom.conversation.label import Label
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.policy.verdict import Person, Situation

LABELS = {
    "clean": Label(),
    "private": Label(private=frozenset({"notes"})),
    "tainted": Label(untrusted=frozenset({"web.fetch"})),
    "tainted_private": Label(untrusted=frozenset({"web.fetch"}), private=frozenset({"notes"})),
    "tainted_own": Label(untrusted=frozenset({"web.fetch"}), private=frozenset({"mail"})),
}


def _tool_of(entry):
    service, _, name = entry.get("tool", "mail.send").partition(".")
    return ToolDefinition(
        name=name,
        service=service,
        tool=name,
        description="",
        parameters={"type": "object", "properties": entry.get("parameters", {})},
        tool_class=ToolClass(entry["class"]),
        outward=entry.get("outward", False),
        steering=entry.get("steering", False),
        proposed=entry.get("proposed", False),
        trusted=entry.get("trusted", False),
        source=entry.get("source", ""),
    )


def _rules_of(entry):
    known = {"class": "tool_class"}
    return [
        PolicyRule(
            number=number,
            **{known.get(key, key): tuple(value) if isinstance(value, list) else value for key, value in rule.items()},
        )
        for number, rule in enumerate(entry.get("rules", []), 1)
    ]


def _person_of(entry):
    return Person(entry.get("user", "alice"), tuple(entry.get("groups", [])), present=entry.get("present", True))


def _situation_of(entry):
    return Situation(
        LABELS[entry.get("run", "clean")],
        now=entry.get("now", "2026-11-21T12:00:00.000Z"),
        standing=entry.get("standing", False),
        unresolved=entry.get("unresolved", False),
        proposals=entry.get("proposals", "accept"),
        arguments=entry.get("arguments", {}),
    )


@pytest.fixture
def tool_of():
    return _tool_of


@pytest.fixture
def rules_of():
    return _rules_of


@pytest.fixture
def person_of():
    return _person_of


@pytest.fixture
def situation_of():
    return _situation_of


def cases(table):
    return parse_value((Path(__file__).parent / "cases" / f"{table}.yml").read_text(), name=table)


def pytest_generate_tests(metafunc):
    table = getattr(metafunc.function, "table", None)
    if table:
        found = cases(table)
        metafunc.parametrize("case", found, ids=[entry["name"] for entry in found])
