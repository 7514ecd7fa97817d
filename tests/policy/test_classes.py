"""A tool that nobody has classed is taken for one that acts, unless its name begins with a reading verb."""

import pytest

from tom.conversation.tool import ToolClass
from tom.policy.classes import READING_VERBS, class_of, propose_class


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
