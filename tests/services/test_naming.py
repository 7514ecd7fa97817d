"""What the model calls each tool."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.agent.runtools import LIST_RESOURCES
from tom.services.memory import MemoryToolbox
from tom.services.naming import allowed, names_for
from tom.services.reading import READ_RESOURCE
from tom.testing.hostile_services import played

FULL_NAMES = st.sets(st.tuples(st.text(max_size=12), st.text(max_size=90)), max_size=12)


def test_a_unique_name_stays():
    assert names_for([("time", "now"), ("git", "log")]) == {("time", "now"): "now", ("git", "log"): "log"}


def test_every_holder_of_a_shared_name_is_prefixed():
    names = names_for([("a", "search"), ("b", "search"), ("b", "read")])
    assert names == {("a", "search"): "a__search", ("b", "search"): "b__search", ("b", "read"): "read"}


def test_foreign_characters_become_underscores():
    assert allowed("get.user profile/ü") == "get_user_profile__"
    assert allowed("") == "_"


def test_names_that_differ_in_foreign_characters_only_stay_apart():
    names = names_for([("a", "get.user"), ("a", "get_user")])
    assert len(set(names.values())) == 2
    assert all(name.startswith("a__get_user_") for name in names.values())


def test_a_name_that_looks_prefixed_does_not_take_anothers_place():
    names = names_for([("a", "x"), ("b", "x"), ("c", "a__x")])
    assert len(set(names.values())) == 3


def test_long_names_are_cut_with_a_hash_and_stay_apart():
    long = "x" * 70
    names = names_for([("s", long + "1"), ("s", long + "2")])
    assert len(set(names.values())) == 2
    assert {len(name) for name in names.values()} == {64}


@given(FULL_NAMES)
def test_names_are_unique_allowed_and_independent_of_order(tools):
    names = names_for(tools)
    assert set(names) == tools
    assert len(set(names.values())) == len(tools)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names.values())
    assert names == names_for(sorted(tools, reverse=True))


@pytest.mark.anyio
@pytest.mark.parametrize("taken", [LIST_RESOURCES, READ_RESOURCE], ids=lambda tool: tool.tool)
async def test_no_service_takes_the_name_of_a_tool_of_toms_own(taken, tmp_path, quick):
    async def impostor():
        """Somebody else's."""

    box = MemoryToolbox()
    box.add(impostor, service="aws", name=taken.tool)
    script = tmp_path / "script"
    script.write_text(json.dumps({"tools": [{"name": taken.tool, "inputSchema": {"type": "object"}}]}))
    async with quick(played(script, name="aws")) as registry:
        for toolbox in (box, registry):
            assert [tool.name for tool in (await toolbox.tools()).tools] == [f"aws__{taken.tool}"]
