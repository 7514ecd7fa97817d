"""A tool that nobody has classed is taken for one that acts, unless its name begins with a reading verb."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.conversation.tool import ToolClass
from tom.policy.classes import READING_VERBS, class_of, propose, propose_class


@pytest.mark.parametrize("tool", [*sorted(READING_VERBS), "get_current_time", "listFiles", "SearchNotes", "READ_file"])
def test_a_name_that_begins_with_a_reading_verb_is_proposed_as_reading(tool):
    assert propose_class(tool) is ToolClass.READ_PRIVATE


@pytest.mark.parametrize(
    "tool",
    ["", "_", "получить", "send_mail", "getaway", "listen", "reset", "do_get", "delete_list", "forget", "g", "🔍"],
)
def test_everything_else_is_proposed_as_acting(tool):
    assert propose_class(tool) is ToolClass.WRITE_EXTERNAL


def test_what_the_admin_says_wins_over_the_name():
    classes = {"get_rid_of": ToolClass.DESTRUCTIVE, "get_current_time": ToolClass.READ_PUBLIC}
    assert class_of("get_rid_of", classes) is ToolClass.DESTRUCTIVE
    assert class_of("get_current_time", classes) is ToolClass.READ_PUBLIC
    assert class_of("get_notes", classes) is ToolClass.READ_PRIVATE


def _proposals(test):
    test.table = "proposals"
    return test


@_proposals
def test_what_is_proposed(case):
    schema = case.get("schema", {"type": "object", "properties": case.get("of")})
    proposal = propose(case["tool"], schema, case.get("annotations"), trusted=case.get("trusted", False))
    assert (proposal.tool_class, proposal.outward) == (case["class"], case.get("outward", False))


def test_a_schema_that_is_too_large_is_taken_for_the_worst():
    fields = {f"x{number}": {"type": "boolean"} for number in range(20_000)}
    assert propose("list", {"properties": fields}).outward
    assert not propose("list", {"properties": dict(list(fields.items())[:100])}).outward


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["properties", "items", "type", "format", "anyOf", "url", "enum"]), inner)
    ),
    max_leaves=20,
)


@given(st.text(max_size=20), json_values, st.dictionaries(st.text(max_size=5), json_values, max_size=3))
@settings(max_examples=300, deadline=None)
def test_what_a_service_says_never_lowers_a_proposal(name, schema, annotations):
    severity = list(ToolClass).index
    hints = annotations | {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False}
    plain, said = propose(name, schema), propose(name, schema, hints)
    assert severity(said.tool_class) >= severity(plain.tool_class)
    assert said.outward >= plain.outward
