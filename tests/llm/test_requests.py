"""What a provider is sent, against the shapes that OpenAI documents."""

import base64
import json

import pytest
from jsonschema import Draft202012Validator

from tom.config.secret import Secret
from tom.conversation.message import Message, Role, assistant, system, tool, user
from tom.conversation.part import Image, Text, Thinking, ToolCall, ToolResult
from tom.conversation.tool import ToolDefinition
from tom.llm.provider import ModelRequest

pytestmark = pytest.mark.anyio

TEXT = {"type": "string"}
CALL = {
    "type": "object",
    "required": ["id", "type", "function"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "required": ["name", "arguments"],
            "additionalProperties": False,
            "properties": {"name": TEXT, "arguments": TEXT},
        },
    },
}
PART = {
    "oneOf": [
        {"type": "object", "required": ["type", "text"], "additionalProperties": False,
         "properties": {"type": {"const": "text"}, "text": TEXT}},
        {"type": "object", "required": ["type", "image_url"], "additionalProperties": False,
         "properties": {"type": {"const": "image_url"},
                        "image_url": {"type": "object", "required": ["url"], "properties": {"url": TEXT}}}},
    ]
}  # fmt: skip
MESSAGE = {
    "oneOf": [
        {"properties": {"role": {"const": "system"}, "content": TEXT}, "required": ["role", "content"],
         "additionalProperties": False},
        {"properties": {"role": {"const": "user"}, "content": {"oneOf": [TEXT, {"type": "array", "items": PART}]}},
         "required": ["role", "content"], "additionalProperties": False},
        {"properties": {"role": {"const": "assistant"}, "content": {"type": ["string", "null"]},
                        "tool_calls": {"type": "array", "minItems": 1, "items": CALL}},
         "required": ["role", "content"], "additionalProperties": False},
        {"properties": {"role": {"const": "tool"}, "content": TEXT, "tool_call_id": TEXT},
         "required": ["role", "content", "tool_call_id"], "additionalProperties": False},
    ]
}  # fmt: skip
REQUEST = {
    "type": "object",
    "required": ["model", "messages", "stream"],
    "additionalProperties": False,
    "properties": {
        "model": TEXT,
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
        "stream": {"const": True},
        "stream_options": {"const": {"include_usage": True}},
        "tools": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "function"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "function"},
                    "function": {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
                            "description": TEXT,
                            "parameters": {"type": "object", "required": ["type", "properties"]},
                        },
                    },
                },
            },
        },
        "tool_choice": {"const": "auto"},
        "temperature": {"type": "number"},
        "top_p": {"type": "number"},
        "max_tokens": {"type": "integer"},
        "max_completion_tokens": {"type": "integer"},
    },
}

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolDefinition("weather_get", "weather", "get", "Says the weather", SCHEMA)
BARE = ToolDefinition("weather_now", "weather", "now", "Says it here", {"type": "object"})
PICTURE = Image("image/png", b"\x89PNG\r\n")
CALLS = (ToolCall("call_1", "weather_get", '{"city":"Paris"}'), ToolCall("call_2", "weather_now", "{}"))


async def sent(endpoint, provider, *messages, tools=(), options=None, model="simulated") -> dict:
    """The body that the endpoint received, which is what OpenAI documents."""
    _ = [item async for item in provider.stream(ModelRequest(model, messages, tools, options or {}))]
    body = endpoint.requests[-1].json
    Draft202012Validator(REQUEST).validate(body)
    return body


async def test_a_plain_question(endpoint, provider):
    body = await sent(endpoint, provider, system("Be brief."), user("Hi 👋"))
    assert body == {
        "model": "simulated",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi 👋"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_headers_carry_the_key_and_the_entry_s_own(endpoint, connect):
    provider = connect(headers={"X-Title": "Tom"})
    await sent(endpoint, provider, user("hi"))
    headers = endpoint.requests[-1].headers
    assert headers["authorization"] == "Bearer sk-canary-9f8e7d6c5b4a"
    assert headers["content-type"] == "application/json"
    assert headers["x-title"] == "Tom"
    assert endpoint.requests[-1].path == "/v1/chat/completions"


async def test_a_local_server_gets_no_key(endpoint, connect):
    await sent(endpoint, connect(key=Secret("")), user("hi"))
    assert "authorization" not in endpoint.requests[-1].headers


async def test_a_base_url_may_end_with_a_slash(endpoint, connect):
    await sent(endpoint, connect(base_url=endpoint.url + "/"), user("hi"))
    assert endpoint.requests[-1].path == "/v1/chat/completions"


async def test_calls_and_results_go_back_in_order(endpoint, provider):
    results = Message(Role.TOOL, (ToolResult("call_1", "sunny"), ToolResult("call_2", "rain", is_error=True)))
    body = await sent(endpoint, provider, user("weather?"), assistant("", CALLS), results, tools=(WEATHER, BARE))
    asked, *answered = body["messages"][1:]
    assert asked["content"] is None
    assert [(call["id"], call["function"]["name"]) for call in asked["tool_calls"]] == [
        ("call_1", "weather_get"),
        ("call_2", "weather_now"),
    ]
    assert answered == [
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    ]


async def test_what_was_said_beside_a_call_goes_back_and_thoughts_do_not(endpoint, provider):
    said = Message(Role.ASSISTANT, (Thinking("secret thoughts"), Text("One moment."), *CALLS))
    body = await sent(
        endpoint, provider, user("x"), said, tool(ToolResult("call_1", "y")), tool(ToolResult("call_2", "z"))
    )
    assert body["messages"][1]["content"] == "One moment."
    assert "secret thoughts" not in json.dumps(body)


async def test_tools_are_functions_with_their_own_schema(endpoint, provider):
    body = await sent(endpoint, provider, user("x"), tools=(WEATHER, BARE))
    assert body["tool_choice"] == "auto"
    assert body["tools"][0] == {
        "type": "function",
        "function": {"name": "weather_get", "description": "Says the weather", "parameters": SCHEMA},
    }
    assert body["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}


async def test_without_tools_nothing_speaks_of_tools(endpoint, connect):
    body = await sent(endpoint, connect(options={"tool_choice": "auto", "parallel_tool_calls": False}), user("x"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


async def test_arguments_that_were_no_json_go_back_as_json(endpoint, provider):
    bad = (ToolCall("call_1", "weather_get", "{city: Paris"),)
    body = await sent(endpoint, provider, user("x"), assistant("", bad), tool(ToolResult("call_1", "error")))
    arguments = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"invalid_arguments": "{city: Paris"}


async def test_a_picture_travels_as_a_data_url(endpoint, provider):
    body = await sent(endpoint, provider, Message(Role.USER, (Text("What is it?"), PICTURE)))
    text, picture = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    prefix, _, content = picture["image_url"]["url"].partition(",")
    assert prefix == "data:image/png;base64"
    assert base64.b64decode(content) == PICTURE.data


async def test_a_picture_alone_has_no_empty_text_beside_it(endpoint, provider):
    body = await sent(endpoint, provider, Message(Role.USER, (PICTURE,)))
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url"]


async def test_options_of_the_entry_are_sent_and_those_of_the_request_win(endpoint, connect):
    provider = connect(options={"temperature": 0.7, "max_tokens": 100})
    body = await sent(endpoint, provider, user("x"), options={"temperature": 0.1, "top_p": 0.5})
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.1, 0.5, 100)


async def test_no_option_replaces_what_tom_sets(endpoint, connect):
    options = {"model": "other", "messages": [], "stream": False, "stream_options": {}, "tools": [1]}
    body = await sent(endpoint, connect(options=options), user("x"), options=options)
    assert (body["model"], len(body["messages"]), body["stream"]) == ("simulated", 1, True)
    assert "tools" not in body


@pytest.mark.parametrize(
    ("provider_name", "changes"),
    [
        ("mistral", {"stream_options": None}),
        ("gemini", {"stream_options": {"include_usage": True}}),
        ("openai", {"max_tokens": 5}),
    ],
)
async def test_vendors_differ(endpoint, connect, provider_name, changes):
    provider = connect(provider=provider_name, options={"max_tokens": 5})
    body = await sent(endpoint, provider, user("x"), tools=(BARE,))
    assert {key: body.get(key) for key in changes} == changes
    assert ("parameters" in body["tools"][0]["function"]) == (provider_name != "gemini")


async def test_mistral_gets_ids_of_nine_letters_that_fit_together(endpoint, connect):
    results = (tool(ToolResult("call_1", "a")), tool(ToolResult("call_2", "b")))
    body = await sent(endpoint, connect(provider="mistral"), user("x"), assistant("", CALLS), *results)
    asked = [call["id"] for call in body["messages"][1]["tool_calls"]]
    assert [message["tool_call_id"] for message in body["messages"][2:]] == asked
    assert all(len(name) == 9 and name.isalnum() for name in asked)
    assert len(set(asked)) == 2


async def test_one_client_serves_all_calls(endpoint, provider):
    for _ in range(3):
        await sent(endpoint, provider, user("x"))
    assert len({request.headers["host"] for request in endpoint.requests}) == 1
    assert endpoint.connections == 1, "the connection is kept"


async def test_the_model_list_is_read(endpoint, provider):
    assert "simulated" in await provider.models()
