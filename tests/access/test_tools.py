"""The matrix of tools: those that Tom itself brings or fills in, everybody who may chat, names of others.

A model may write whose things it wants; whose it gets is said by the door.
"""

import json
from pathlib import Path

import pytest

from tom import ids
from tom.agent.runtools import LIST_RESOURCES, OWN, Offering, RunTools
from tom.policy.permissions import Scope

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P10")]

TOOLS = json.loads((Path(__file__).parent / "cases" / "tools.json").read_text())


async def said(town, knocker, tool, whose):
    """What a call of the tool brings, as the person is told."""
    arguments = json.dumps(TOOLS[tool]["arguments"]).replace("{whose}", whose)
    status, session = await town.said(knocker, "POST", "/sessions", {})
    if status != 201:
        return status, session
    content = {"content": f"/tool {tool} {arguments}"}
    status, answer = await town.said(knocker, "POST", f"/sessions/{session['id']}/messages", content)
    return status, answer["message"]["content"] if status == 200 else answer


async def test_every_tool_of_ours_and_every_filled_in_one_has_a_case(town):
    cell = town.agents.cells["alice"]
    offering = Offering(entries={entry.name: entry for entry in cell.settings.services}, library=cell.library)
    offered = await RunTools(cell.toolbox, offering=offering).on_offer()
    assert LIST_RESOURCES.service == OWN
    ours = {tool.tool for tool in offered if tool.service in {OWN, "memory"}}
    assert ours == set(TOOLS)
    assert not any("user_id" in tool.parameters.get("properties", {}) for tool in offered)


@pytest.mark.parametrize("tool", TOOLS)
async def test_whose_things_a_call_reaches_is_said_by_the_door(town, tool):
    for knocker in town.knockers.values():
        may = knocker.scopes is not None and Scope.CHAT in knocker.scopes
        status, told = await said(town, knocker, tool, knocker.user or "alice")
        if not may:
            assert status == (401 if knocker.scopes is None else 403), (knocker.name, told)
            continue
        assert status == 200, (knocker.name, told)
        assert TOOLS[tool]["own"].replace("{user}", knocker.user) in told, (knocker.name, told)
        other = "bob" if knocker.user != "bob" else "alice"
        _, foreign = await said(town, knocker, tool, other)
        assert TOOLS[tool]["own"].replace("{user}", other) not in foreign, (knocker.name, foreign)


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if "{whose}" in json.dumps(TOOLS[tool])])
async def test_a_name_of_somebody_else_brings_what_a_name_of_nobody_brings(town, tool):
    for knocker in town.knockers.values():
        if knocker.scopes is None or Scope.CHAT not in knocker.scopes:
            continue
        other, nobody = "bob" if knocker.user != "bob" else "alice", ids.ulid().lower()
        foreign, nothing = [await said(town, knocker, tool, whose) for whose in (other, nobody)]
        assert foreign[0] == nothing[0]
        assert str(foreign[1]).replace(other, "~") == str(nothing[1]).replace(nobody, "~"), knocker.name
