"""How a reply is to be formed, in each dialect's own words: stops, seed, response format, one call at a time, a choice."""

import json

import pytest

from tom.conversation.message import user
from tom.conversation.tool import ToolDefinition
from tom.llm.provider import ModelRequest
from tom.llm.scripted import ScriptedModel
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

WEATHER = ToolDefinition(
    "weather", "client", "weather", "", {"type": "object", "properties": {"city": {"type": "string"}}}
)
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
WHOLE = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
FORMED = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
OLD, NEW, NEWEST = "claude-3-5-haiku-latest", "claude-haiku-4-5", "claude-opus-4-7"

OPENAI = [
    # provider, options -> what is sent
    ("compatible", {"stop": ["a", "b"], "seed": 7}, {"stop": ["a", "b"], "seed": 7}),
    ("compatible", {"response_format": WHOLE}, {"response_format": WHOLE}),
    ("mistral", {"seed": 7, "stop": ["a"]}, {"random_seed": 7, "stop": ["a"]}),
    ("compatible", {"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ("compatible", {"tool_choice": "required"}, {"tool_choice": "required"}),
    ("compatible", {"tool_choice": "weather"}, {"tool_choice": {"type": "function", "function": {"name": "weather"}}}),
    ("compatible", {"tool_choice": "nowhere"}, {"tool_choice": "auto"}),
]
CLAUDE = [
    # model, options -> what is sent, what is dropped
    (OLD, {"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}, ()),
    (OLD, {"seed": 7}, {}, ("seed",)),
    (OLD, {"response_format": WHOLE}, {}, ("response_format",)),
    (NEW, {"response_format": WHOLE}, FORMED, ()),
    (NEW, {"response_format": {"type": "json_object"}}, {}, ("response_format",)),
    (NEW, {"response_format": {"type": "text"}}, {}, ()),
    (
        NEWEST,
        {"response_format": WHOLE, "thinking": "low"},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low", **FORMED["output_config"]}},
        (),
    ),
    (NEW, {"parallel_tool_calls": False}, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, ()),
    (NEW, {"parallel_tool_calls": True}, {"tool_choice": {"type": "auto"}}, ()),
    (NEW, {"tool_choice": "required"}, {"tool_choice": {"type": "any"}}, ()),
    (NEW, {"tool_choice": "weather"}, {"tool_choice": {"type": "tool", "name": "weather"}}, ()),
]
_WORDS = {
    "stop", "stop_sequences", "seed", "random_seed", "response_format", "output_config", "thinking", "parallel_tool_calls",
}  # fmt: skip


async def asked(endpoint, provider, model, options):
    request = ModelRequest(model, (user("x"),), (WEATHER,), options)
    items = [item async for item in provider.stream(request)]
    body = endpoint.requests[-1].json
    choice = {"tool_choice"} if {"tool_choice", "parallel_tool_calls"} & set(options) else set()
    return {name: body[name] for name in sorted(_WORDS | choice) if name in body}, items[-1].dropped


@pytest.mark.parametrize(("name", "options", "fields"), OPENAI)
async def test_chat_completions_are_told(endpoint, connect, name, options, fields):
    told, dropped = await asked(endpoint, connect(provider=name), "any", options)
    told.pop("tool_choice", None) if "tool_choice" not in fields else None
    assert (told, dropped) == (fields, ())


@pytest.mark.parametrize(("model", "options", "fields", "dropped"), CLAUDE)
async def test_claude_is_told_or_it_is_named(endpoint, connect, model, options, fields, dropped):
    assert await asked(endpoint, connect(dialect="anthropic"), model, options) == (fields, dropped)


@pytest.mark.parametrize("name", ["response_format", "parallel_tool_calls", "seed", "stop"])
async def test_what_a_server_refuses_is_left_out_and_named(endpoint, provider, name):
    refusal = {"error": {"message": f"{name} is not supported", "param": name}}
    endpoint.reply(Script.raw(json.dumps(refusal).encode(), status=400, media="application/json"), Script.text("ok"))
    value = {"response_format": WHOLE, "parallel_tool_calls": False, "seed": 7, "stop": ["a"]}[name]
    told, dropped = await asked(endpoint, provider, "any", {name: value})
    assert name not in told
    assert dropped == (name,)


async def test_what_mistral_refuses_is_named_as_it_was_asked_for(endpoint, connect):
    refusal = {"error": {"message": "no", "param": "random_seed"}}
    endpoint.reply(Script.raw(json.dumps(refusal).encode(), status=400, media="application/json"), Script.text("ok"))
    assert await asked(endpoint, connect(provider="mistral"), "any", {"seed": 7}) == ({}, ("seed",))


async def test_the_scripted_model_names_what_it_does_not_do():
    request = ModelRequest("scripted", (user("hi"),), (), {"seed": 7, "stop": ["a"], "temperature": 0.5})
    items = [item async for item in ScriptedModel().stream(request)]
    assert items[-1].dropped == ("stop", "seed")
