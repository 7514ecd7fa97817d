"""What Anthropic is sent, against the shapes that it documents."""

import asyncio
import base64
import itertools
import json
import time

import pytest
from jsonschema import Draft202012Validator

from tom.conversation.message import Message, Role, assistant, system, tool, user
from tom.conversation.part import Image, Text, Thinking, ToolCall, ToolResult
from tom.conversation.tool import ToolDefinition
from tom.llm.provider import ModelRequest
from tom.llm.reading import LINGER
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

TEXT = {"type": "string"}
SAID = {"type": "string", "pattern": r"\S"}


def block(kind: str, required: list[str], **properties) -> dict:
    shape = {"type": {"const": kind}, **properties}
    return {"type": "object", "required": ["type", *required], "additionalProperties": False, "properties": shape}


WORDS = block("text", ["text"], text=SAID)
SOURCE = {"type": "object", "required": ["type", "media_type", "data"], "additionalProperties": False,
          "properties": {"type": {"const": "base64"}, "media_type": {"pattern": "^image/"}, "data": TEXT}}  # fmt: skip
SEEN = block("image", ["source"], source=SOURCE)
RESULT = block(
    "tool_result",
    ["tool_use_id", "content"],
    tool_use_id={"pattern": "^[A-Za-z0-9_-]{1,64}$"},
    content={"oneOf": [SAID, {"type": "array", "minItems": 1, "items": {"oneOf": [WORDS, SEEN]}}]},
    is_error={"type": "boolean"},
)
USE = block(
    "tool_use", ["id", "name", "input"], id={"pattern": "^[A-Za-z0-9_-]{1,64}$"}, name=SAID, input={"type": "object"}
)
THOUGHT = block("thinking", ["thinking", "signature"], thinking=TEXT, signature=SAID)
MESSAGE = {
    "oneOf": [
        {"properties": {"role": {"const": "user"}, "content": {"type": "array", "minItems": 1, "items": {"oneOf": [WORDS, SEEN, RESULT]}}}},
        {"properties": {"role": {"const": "assistant"}, "content": {"type": "array", "minItems": 1, "items": {"oneOf": [WORDS, USE, THOUGHT]}}}},
    ],
    "required": ["role", "content"],
    "additionalProperties": {"not": {}},
    "properties": {"role": True, "content": True},
}  # fmt: skip
TOOL = {
    "type": "object",
    "required": ["name", "input_schema"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"},
        "description": TEXT,
        "input_schema": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"const": "object"}},
            "not": {"anyOf": [{"required": [word]} for word in ("oneOf", "anyOf", "allOf")]},
        },
    },
}
REQUEST = {
    "type": "object",
    "required": ["model", "messages", "max_tokens", "stream"],
    "additionalProperties": False,
    "properties": {
        "model": TEXT,
        "max_tokens": {"type": "integer", "minimum": 1},
        "stream": {"const": True},
        "system": {"type": "array", "minItems": 1, "items": WORDS},
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
        "tools": {"type": "array", "minItems": 1, "items": TOOL},
        "tool_choice": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": ["auto", "any", "tool"]}},
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        "top_p": {"type": "number"},
        "top_k": {"type": "integer"},
        "metadata": {"type": "object"},
        "stop_sequences": {"type": "array"},
        "thinking": {"type": "object", "required": ["type"]},
        "output_config": {"type": "object"},
    },
}

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolDefinition("weather_get", "weather", "get", "Says the weather", SCHEMA)
EITHER = ToolDefinition(
    "find", "maps", "find", "Finds a place",
    {"anyOf": [{"properties": {"name": TEXT}, "required": ["name"]}, {"properties": {"zip": TEXT}}], "$defs": {"x": TEXT}},
)  # fmt: skip
PICTURE = Image("image/png", b"\x89PNG\r\n")
CALLS = (ToolCall("call_1", "weather_get", '{"city":"Paris"}'), ToolCall("bad id!", "weather_get", "{city"))
OLD, THINKER, NEWEST = "claude-3-5-haiku-latest", "claude-sonnet-4-5-20250929", "claude-opus-4-7"


def in_turns(messages: list[dict]) -> None:
    roles = [message["role"] for message in messages]
    assert roles[0] == roles[-1] == "user"
    assert all(role != following for role, following in itertools.pairwise(roles))


@pytest.fixture
def dialect():
    return "anthropic"


async def sent(endpoint, provider, *messages, tools=(), options=None, model=THINKER) -> dict:
    """The body that the endpoint received, which is what Anthropic documents."""
    _ = [item async for item in provider.stream(ModelRequest(model, messages, tools, options or {}))]
    body = endpoint.requests[-1].json
    Draft202012Validator(REQUEST).validate(body)
    in_turns(body["messages"])
    asked: set[str] = set()
    for message in body["messages"]:
        kinds = [part["type"] for part in message["content"]]
        answered = {part["tool_use_id"] for part in message["content"] if part["type"] == "tool_result"}
        assert answered == asked, "each call of the reply before has its result, and nothing else has"
        assert sorted(kinds, key=lambda kind: kind != "tool_result") == kinds, "results come first"
        asked = {part["id"] for part in message["content"] if part["type"] == "tool_use"}
    return body


async def test_a_plain_question(endpoint, provider):
    body = await sent(endpoint, provider, system("Be brief."), user("Hi 👋"))
    assert body == {
        "model": THINKER,
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi 👋"}]}],
        "stream": True,
    }
    request = endpoint.requests[-1]
    assert (request.path, request.headers["x-api-key"]) == ("/v1/messages", "sk-canary-9f8e7d6c5b4a")
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in request.headers


async def test_helper_messages_in_the_middle_stand_with_the_instructions_in_their_order(endpoint, provider):
    messages = (system("One."), user("a"), assistant("b"), system("Two."), system("Three."), user("c"), system("Four."))
    body = await sent(endpoint, provider, *messages)
    assert [part["text"] for part in body["system"]] == ["One.", "Two.", "Three.", "Four."]
    assert [message["content"][0]["text"] for message in body["messages"]] == ["a", "b", "c"]


async def test_calls_and_results_go_back_in_order(endpoint, provider):
    told = (tool(ToolResult("call_1", "sunny")), tool(ToolResult("bad id!", "", is_error=True)))
    body = await sent(endpoint, provider, user("?"), assistant("Wait.", CALLS), *told, user("And?"), tools=(WEATHER,))
    _, asked, answered = body["messages"]
    assert [part["type"] for part in asked["content"]] == ["text", "tool_use", "tool_use"]
    assert [part["input"] for part in asked["content"][1:]] == [{"city": "Paris"}, {"invalid_arguments": "{city"}]
    assert [part["type"] for part in answered["content"]] == ["tool_result", "tool_result", "text"]
    assert answered["content"][0]["content"] == "sunny"
    assert answered["content"][1]["is_error"] is True


@pytest.mark.parametrize(
    "messages",
    [
        (system("Only this."),), (assistant("I began."),), (user(""),), (user(" \n"), assistant("  "), user("x")),
        (user("a"), user("b")), (assistant("a"), assistant("b"), user("c")), (user("a"), assistant("b")),
    ],
)  # fmt: skip
async def test_any_conversation_takes_turns_and_has_no_empty_text(endpoint, provider, messages):
    await sent(endpoint, provider, *messages)


async def test_tools_have_plain_objects_as_schemas(endpoint, provider):
    body = await sent(endpoint, provider, user("x"), tools=(WEATHER, EITHER))
    assert body["tools"][0] == {"name": "weather_get", "description": "Says the weather", "input_schema": SCHEMA}
    assert body["tools"][1]["input_schema"]["properties"] == {"name": TEXT, "zip": TEXT}
    assert body["tools"][1]["input_schema"]["$defs"] == {"x": TEXT}
    assert body["tool_choice"] == {"type": "auto"}


@pytest.mark.parametrize(
    ("wish", "sent_choice"),
    [
        ("required", {"type": "any"}),
        ("weather_get", {"type": "tool", "name": "weather_get"}),
        ("other", {"type": "auto"}),
    ],
)
async def test_a_tool_can_be_asked_for(endpoint, provider, wish, sent_choice):
    options = {"tool_choice": wish, "thinking": "high"}
    body = await sent(endpoint, provider, user("x"), tools=(WEATHER,), options=options)
    assert body["tool_choice"] == sent_choice
    assert ("thinking" in body) == (wish == "other"), "who must call a tool cannot think"


async def test_pictures_of_people_and_of_tools_are_seen(endpoint, provider):
    told = Message(Role.TOOL, (ToolResult("call_1", "a chart"), PICTURE))
    asked = Message(Role.USER, (Text("What is it?"), PICTURE))
    body = await sent(endpoint, provider, asked, assistant("", CALLS[:1]), told)
    picture = body["messages"][0]["content"][1]["source"]
    assert (picture["media_type"], base64.b64decode(picture["data"])) == ("image/png", PICTURE.data)
    assert [part["type"] for part in body["messages"][2]["content"][0]["content"]] == ["text", "image"]


async def test_a_model_without_eyes_reads_what_it_was(endpoint, connect):
    body = await sent(endpoint, connect(vision=False), Message(Role.USER, (PICTURE,)))
    assert body["messages"][0]["content"] == [{"type": "text", "text": "[Image: image/png, 6 bytes]"}]


# --- thinking


@pytest.mark.parametrize(
    ("model", "wish", "fields"),
    [
        (THINKER, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 2148}),
        (THINKER, "high", {"thinking": {"type": "enabled", "budget_tokens": 16_384}, "max_tokens": 16_484}),
        (THINKER, "off", {"max_tokens": 100}),
        (NEWEST, "low", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}, "max_tokens": 100}),
        (NEWEST, "off", {"max_tokens": 100}),
        ("claude-opus-5", "off", {"output_config": {"effort": "low"}, "max_tokens": 100}),
        (OLD, "high", {"max_tokens": 100}),
    ],
)
async def test_each_generation_is_told_to_think_in_its_own_words(endpoint, provider, model, wish, fields):
    body = await sent(endpoint, provider, user("x"), options={"thinking": wish, "max_tokens": 100}, model=model)
    assert {name: body[name] for name in ("thinking", "output_config", "max_tokens") if name in body} == fields


@pytest.mark.parametrize(
    ("model", "options", "left", "dropped"),
    [
        (OLD, {"temperature": 1.7, "top_p": 0.5, "thinking": "low"}, {"temperature": 1.0}, ("thinking", "top_p")),
        (THINKER, {"temperature": 0.5, "thinking": "low"}, {}, ("temperature",)),
        (THINKER, {"top_p": 0.5}, {"top_p": 0.5}, ()),
        (NEWEST, {"temperature": 0.5, "top_p": 0.5}, {}, ("temperature", "top_p")),
    ],
)
async def test_what_a_model_does_not_support_is_dropped_and_named(endpoint, provider, model, options, left, dropped):
    items = [item async for item in provider.stream(ModelRequest(model, (user("x"),), (), options))]
    assert items[-1].dropped == dropped
    body = endpoint.requests[-1].json
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == left


async def test_signed_thinking_goes_back_with_its_calls_and_only_there(endpoint, provider):
    thinking = {"thinking": "low"}
    thought = Script(
        thoughts=("Hm, ", "the weather."), calls=Script.tool_calls(("weather_get", SCHEMA)).calls, finish="tool_calls"
    )
    endpoint.reply(thought)
    question = user("weather?")
    items = [item async for item in provider.stream(ModelRequest(THINKER, (question,), (WEATHER,), thinking))]
    calls = items[-1].tool_calls
    assert items[-1].thinking == "Hm, the weather."
    answered = (
        question,
        Message(Role.ASSISTANT, (Thinking("Hm, the weather."), *calls)),
        tool(ToolResult(calls[0].id, "sunny")),
    )
    body = await sent(endpoint, provider, *answered, tools=(WEATHER,), options=thinking)
    assert body["messages"][1]["content"][0] == {
        "type": "thinking", "thinking": "Hm, the weather.", "signature": "c2ltdWxhdGVk",
    }  # fmt: skip
    assert "thinking" in body
    other = await sent(endpoint, provider, *answered, tools=(WEATHER,), options=thinking, model="claude-sonnet-4")
    assert "thinking" not in other, "what another model thought cannot be sent back: it goes on without"
    assert [part["type"] for part in other["messages"][1]["content"]] == ["tool_use"]
    again = await sent(
        endpoint,
        provider,
        *answered,
        assistant("Sunny."),
        user("And tomorrow?"),
        options=thinking,
        model="claude-sonnet-4",
    )
    assert "thinking" in again, "the next question may be thought about"


# --- what is heard


@pytest.mark.parametrize(
    ("finish", "heard"), [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter")]
)
async def test_why_it_ended_is_told(endpoint, provider, finish, heard):
    endpoint.reply(Script.text("Well.", finish=finish))
    items = [item async for item in provider.stream(ModelRequest(THINKER, (user("x"),)))]
    assert items[-1].finish_reason == heard


async def test_usage_counts_what_was_cached(endpoint, provider):
    usage = b'{"input_tokens":5,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":7}'
    endpoint.reply(
        Script.raw(
            b'{"type":"message","model":"m","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","usage":%b}'
            % usage,
            media="application/json",
        )
    )
    items = [item async for item in provider.stream(ModelRequest(THINKER, (user("x"),)))]
    assert (items[-1].usage.prompt_tokens, items[-1].usage.completion_tokens) == (1105, 7)
    assert not items[-1].usage.estimated


async def test_an_answer_is_over_when_it_says_so_however_long_the_transfer_goes_on(connect):
    told = (
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "done"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in told).encode()
    held = []

    async def answer(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body)
        await writer.drain()
        held.append(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        provider = connect(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=30.0)
        start = time.monotonic()
        items = [item async for item in provider.stream(ModelRequest(THINKER, (user("x"),)))]
        took = time.monotonic() - start
        for writer in held:
            writer.close()
    assert took < LINGER, "nobody waits for more"
    assert (items[-1].text, items[-1].usage.total_tokens) == ("done", 5)
