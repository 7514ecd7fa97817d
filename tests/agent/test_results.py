"""What becomes of a tool's result: what the model is told, what is kept."""

import json

import pytest

from tom.config.agent import LimitSettings
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("length", "told"), [(100_000, 100_000), (150_000, 100_000)])
async def test_a_result_that_is_too_long_is_cut_for_the_model_and_kept_whole(open_cell, connect, llm, length, told):
    toolbox = MemoryToolbox()

    async def get_text():
        return "x" * length

    toolbox.add(get_text)
    llm.reply(Script.tool_calls(("get_text", {})), Script.text("long"))
    async with open_cell(toolbox, context_max_tokens=400_000) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="read it", conversation_id="c1")
        await client.end_of("q1")
        (returned,) = [event for event in await cell.store.read("c1") if event.type == "tool.returned"]
        kept = [await cell.files.read("c1", attachment["file"]) for attachment in returned.extra.get("attachments", ())]
    assert len(returned.content) == told
    assert bool(returned.extra.get("truncated")) is (length > told)
    assert kept == ([b"x" * length] if length > told else [])
    assert json.dumps(llm.requests[-1].messages).count("x" * 1000) <= told / 1000


async def test_the_admin_s_bound_is_narrower(open_cell, connect, llm):
    toolbox = MemoryToolbox()

    async def get_text():
        return "y" * 5000

    toolbox.add(get_text)
    llm.reply(Script.tool_calls(("get_text", {})), Script.text("short"))
    async with open_cell(toolbox, more={"limits": LimitSettings(result_characters=2000)}) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="read it", conversation_id="c1")
        await client.end_of("q1")
        (returned,) = [event for event in await cell.store.read("c1") if event.type == "tool.returned"]
    assert len(returned.content) == 2000
    assert "5000 characters in all" in returned.content


async def test_a_reply_that_is_too_long_ends_the_run_and_what_was_shown_is_not_the_answer(open_cell, connect, llm):
    llm.otherwise(Script.text("z" * 4000))
    async with open_cell(MemoryToolbox(), more={"limits": LimitSettings(reply_bytes=2000)}) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="go on and on", conversation_id="c1")
        end = await client.end_of("q1")
        types = [event.type for event in await cell.store.read("c1")]
    assert end["error"]["code"] == "provider_too_large"
    assert "model.replied" not in types


async def test_arguments_that_break_the_schema_are_told_as_a_sentence_and_as_data(open_cell, connect, llm):
    toolbox = MemoryToolbox()

    async def get_text(name):
        return name

    toolbox.add(
        get_text, parameters={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    )
    llm.reply(
        Script.tool_calls(("get_text", {"name": 7})), Script.tool_calls(("get_text", {"name": "x"})), Script.text("x")
    )
    async with open_cell(toolbox) as cell:
        client = connect(cell)
        await client.do("chat", "q1", text="read it", conversation_id="c1")
        await client.end_of("q1")
        wrong, right = [event for event in await cell.store.read("c1") if event.type == "tool.returned"]
    assert wrong.content.startswith("Invalid tool arguments: Parameter validation failed for tool 'get_text': name - ")
    assert wrong.extra["data"]["tool_name"] == "get_text"
    assert [(error["field"], error["input"]) for error in wrong.extra["data"]["validation_errors"]] == [("name", 7)]
    assert right.content == "x"
