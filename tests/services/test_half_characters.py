"""Half a character in a service's text (a lone surrogate) can be neither stored nor sent: it is replaced."""

import json
from dataclasses import asdict

import pytest

from tom.conversation.message import Message
from tom.services.memory import MemoryToolbox
from tom.services.questions import question_of_form, question_of_url
from tom.testing.hostile_services import played
from tom.testing.toolbox_contract import tool_of

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P9")]

HALF = "bad \ud800 text"
SAID = {"content": [{"type": "text", "text": HALF}]}
SCRIPT = {
    "name": HALF,
    "instructions": HALF,
    "tools": [
        {
            "name": "read",
            "description": HALF,
            "inputSchema": {"type": "object", "properties": {"x": {"enum": [HALF], "default": {HALF: HALF}}}},
        },
        {"name": "fail", "inputSchema": {"type": "object"}},
        {"name": "name \ud800", "inputSchema": {"type": "object"}},
        {"name": "odd", "inputSchema": {"type": "object", "properties": {HALF: {}}}},
    ],
    "answers": {"read": SAID},
    "errors": {"fail": {"code": -32000, "message": HALF}},
    "prompts": [{"name": "greet", "description": HALF}, {"name": HALF}],
    "prompt": {"messages": [{"role": "user", "content": {"type": "text", "text": HALF}}]},
    "resources": [{"uri": "note://1", "name": HALF}],
    "contents": {"note://1": [{"text": HALF, "mimeType": HALF}], "description://response_consign": [{"text": HALF}]},
}


def is_whole(value):
    return bool(json.dumps(value, ensure_ascii=False, default=repr).encode())


@pytest.fixture
async def registry(tmp_path, quick):
    script = tmp_path / "script"
    script.write_text(json.dumps(SCRIPT))
    async with quick(played(script, name="s")) as registry:
        yield registry


async def test_results_and_errors_are_whole(registry):
    for name in ("read", "fail"):
        outcome = await registry.call(await tool_of(registry, f"s.{name}"), {})
        assert outcome.content == "bad \ufffd text"


async def test_tools_are_whole_and_those_whose_names_are_not_cost_only_themselves(registry):
    tools = (await registry.tools()).tools
    assert [tool.tool for tool in tools] == ["read", "fail"]
    assert all(is_whole(asdict(tool)) for tool in tools)
    assert is_whole(await registry.overview())
    assert is_whole(await registry.differences("s"))


async def test_prompts_and_resources_are_whole(registry):
    assert is_whole([asdict(entry) for entry in await registry.prompts()])
    (message,) = await registry.prompt("s", "greet", {})
    assert isinstance(message, Message)
    assert message.text == "bad \ufffd text"
    (entry,) = await registry.resources()
    assert is_whole(asdict(entry))
    assert (await registry.read("s", "note://1")).text == "bad \ufffd text"
    assert is_whole(await registry.description("s", "response_consign", timeout=5))


def test_questions_are_whole():
    schema = {"type": "object", "properties": {"a\ud800": {"type": "string", "enum": [HALF], "description": HALF}}}
    assert is_whole(asdict(question_of_form(HALF, schema, "\ud800")))
    assert is_whole(asdict(question_of_url(HALF, "https://x.y/\ud800", "\ud800")))


async def test_what_a_function_returns_is_whole_too():
    async def read():
        return HALF

    toolbox = MemoryToolbox()
    toolbox.add(read)
    assert (await toolbox.call(await tool_of(toolbox, "memory.read"), {})).content == "bad \ufffd text"
