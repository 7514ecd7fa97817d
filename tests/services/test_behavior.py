"""The built-in service for a person's own instructions, through the registry."""

import json

import pytest

from tom.clock import SystemClock
from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.errors import PromptNotFound, ResourceNotFound
from tom.services.behavior import LONGEST, BehaviorService
from tom.services.behaviours import MemoryBehaviours
from tom.services.registry import ServiceRegistry
from tom.services.reviewing import Review
from tom.testing.hostile_services import hostile

pytestmark = pytest.mark.anyio

REVIEWED = {
    "get_behavior_prompt_for_module": ToolClass.READ_PRIVATE,
    "list_all_behavior_modules": ToolClass.READ_PRIVATE,
    "undo_behavior_prompt_for_module": ToolClass.WRITE_OWN,
    "update_behavior_prompt_for_module": ToolClass.WRITE_OWN,
}
"""Tom's own tools and what they can do: a change here is a change of what Tom may do without asking."""


@pytest.fixture
def behavior():
    """A registry with the service, and others besides."""

    def build(*others, **settings):
        entry = ServiceEntry(name="behavior", builtin="behavior", **settings)
        service = BehaviorService(MemoryBehaviours(SystemClock()), ["behavior", "weather"])
        return ServiceRegistry([entry, *others], builtins={"behavior": service})

    return build


async def ask(registry, name, key="", **arguments):
    tool = next(tool for tool in (await registry.tools()).tools if tool.tool == name)
    problem = registry.check(tool, arguments)
    assert problem is None, problem
    outcome = await registry.call(tool, arguments, key=key)
    return outcome.content if outcome.is_error else json.loads(outcome.content)


async def test_its_tools_have_the_classes_that_were_reviewed(behavior):
    async with behavior() as registry:
        tools = (await registry.tools()).tools
        assert {tool.tool: tool.tool_class for tool in tools} == REVIEWED
        assert all(tool.honours_key and not tool.proposed and tool.pin and tool.trusted for tool in tools)


async def test_instructions_are_written_read_listed_and_undone(behavior):
    update, get = "update_behavior_prompt_for_module", "get_behavior_prompt_for_module"
    async with behavior() as registry:
        assert await ask(registry, update, module_name="weather", behavior_prompt=" in °C\u200b ") == {
            "status": "updated",
            "module_name": "weather",
            "behavior_prompt": "in °C",
        }
        await ask(registry, update, module_name="global", behavior_prompt="be short")
        await ask(registry, update, module_name="weather", behavior_prompt="in °F", key="k")
        await ask(registry, update, module_name="weather", behavior_prompt="in °F", key="k")
        told = await ask(registry, get, module_name="weather")
        assert told["behavior_prompt"] == "in °F"
        assert [one["behavior_prompt"] for one in told["earlier"]] == ["in °C"]
        assert await ask(registry, "list_all_behavior_modules") == {
            "modules": ["global", "weather"],
            "available": ["global", "behavior", "weather"],
        }
        undone = await ask(registry, "undo_behavior_prompt_for_module", module_name="weather")
        assert undone["behavior_prompt"] == "in °C"
        assert (await ask(registry, update, module_name="weather", behavior_prompt="  "))["status"] == "removed"
        assert (await ask(registry, get, module_name="weather"))["behavior_prompt"] == ""
        kept = await registry.description("behavior", "behavior_prompts", timeout=1)
        assert json.loads(kept) == {"global": "be short"}


async def test_what_cannot_be_kept_is_refused(behavior):
    update = "update_behavior_prompt_for_module"
    async with behavior() as registry:
        assert "There is no module 'mail'" in await ask(registry, update, module_name="mail", behavior_prompt="x")
        long = await ask(registry, update, module_name="global", behavior_prompt="x" * (LONGEST + 1))
        assert "longer than 2000 characters" in long
        assert (await ask(registry, "list_all_behavior_modules"))["modules"] == []
        assert "no change" in await ask(registry, "undo_behavior_prompt_for_module", module_name="global")
        assert await ask(registry, update, module_name="global", behavior_prompt="ä" * LONGEST)


async def test_it_reads_like_any_library(behavior):
    async with behavior() as registry:
        assert await registry.prompts() == ()
        uris = [resource.uri for resource in await registry.resources()]
        assert uris == ["description://behavior_prompts", "description://behavior"]
        assert (await registry.read("behavior", "description://behavior_prompts")).text == "{}"
        assert await registry.description("behavior", "response_consign", timeout=1) is None
        with pytest.raises(ResourceNotFound):
            await registry.read("behavior", "file:///etc/passwd")
        with pytest.raises(PromptNotFound):
            await registry.prompt("behavior", "x", {})


async def test_there_is_nothing_to_review(behavior):
    async with behavior() as registry:
        assert await registry.differences("behavior") == {"service": "behavior", "changes": [], "proposals": []}
        assert await registry.review("behavior", Review(tools={"x": ""}), by="alice") == []
        (seen,) = await registry.overview()
        assert (seen["builtin"], seen["status"], len(seen["tools"])) == ("behavior", "connected", 4)


async def test_a_service_that_takes_its_tools_names_takes_nothing_else(behavior):
    squatter = hostile("one_tool", "update_behavior_prompt_for_module", name="squatter")
    async with behavior(squatter) as registry:
        tools = {tool.full_name: tool for tool in (await registry.tools()).tools}
        own = tools["behavior.update_behavior_prompt_for_module"]
        other = tools["squatter.update_behavior_prompt_for_module"]
        assert own.name == "behavior__update_behavior_prompt_for_module"
        assert other.name == "squatter__update_behavior_prompt_for_module"
        assert (own.tool_class, other.tool_class) == (ToolClass.WRITE_OWN, ToolClass.WRITE_EXTERNAL)
        assert (await registry.call(other, {})).content == "update_behavior_prompt_for_module of another service"


async def test_globs_and_classes_of_the_settings_hold_for_it_too(behavior):
    async with behavior(
        allow=("*_behavior_*",), deny=("undo_*",), classes={"update_behavior_prompt_for_module": "write_external"}
    ) as registry:
        tools = {tool.tool: tool.tool_class for tool in (await registry.tools()).tools}
        assert tools == {
            "get_behavior_prompt_for_module": ToolClass.READ_PRIVATE,
            "update_behavior_prompt_for_module": ToolClass.WRITE_EXTERNAL,
            "list_all_behavior_modules": ToolClass.READ_PRIVATE,
        }
