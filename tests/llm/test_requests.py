"""What a provider is sent, against the shapes that OpenAI documents."""

import asyncio
import base64
import json

import pytest
from jsonschema import Draft202012Validator

from tom.config.secret import Secret
from tom.conversation.message import Message, Role, assistant, system, tool, user
from tom.conversation.part import Image, Text, Thinking, ToolCall, ToolResult
from tom.conversation.tool import ToolDefinition
from tom.errors import ProviderBadRequest, ProviderRateLimited, ProviderUnreachable
from tom.llm.provider import ModelRequest
from tom.testing.manual_clock import ManualClock
from tom.testing.simulated_llm import Script

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


async def test_a_tool_that_has_changed_is_sent_as_it_is_now(endpoint, provider):
    for city in ("Paris", "Oslo", "Paris"):
        schema = {"type": "object", "properties": {"city": {"const": city}}}
        now = ToolDefinition("weather_get", "weather", "get", f"Weather of {city}", schema)
        body = await sent(endpoint, provider, user("x"), tools=(now, BARE))
        assert body["tools"][0]["function"] == {
            "name": "weather_get", "description": f"Weather of {city}", "parameters": schema
        }  # fmt: skip
        assert body["tools"][1]["function"]["name"] == "weather_now"


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


# --- what differs between vendors


async def test_pictures_of_tools_follow_all_results_of_their_turn(endpoint, provider):
    first = Message(Role.TOOL, (ToolResult("call_1", "a chart"), PICTURE))
    body = await sent(
        endpoint, provider, user("x"), assistant("", CALLS), first, tool(ToolResult("call_2", "no chart"))
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "tool", "user"]
    assert [part["type"] for part in body["messages"][-1]["content"]] == ["text", "image_url"]


async def test_a_model_without_eyes_reads_what_it_was(endpoint, connect):
    told = Message(Role.TOOL, (ToolResult("call_1", "a chart"), PICTURE))
    body = await sent(
        endpoint, connect(vision=False), Message(Role.USER, (Text("Look:"), PICTURE)), assistant("", CALLS[:1]), told
    )
    assert body["messages"][0]["content"] == "Look:\n[Image: image/png, 6 bytes]"
    assert body["messages"][2]["content"] == "a chart\n[Image: image/png, 6 bytes]"
    assert len(body["messages"]) == 3


MIXED = (
    system("One."), user("a"), assistant("", CALLS[:1]), tool(ToolResult("call_1", "y")), system("Two."), user("b"), user("c"),
)  # fmt: skip


@pytest.mark.parametrize("name", ["mistral", "gemini"])
async def test_strict_vendors_get_one_instruction_first_and_take_turns(endpoint, connect, name):
    body = await sent(endpoint, connect(provider=name), *MIXED)
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert body["messages"][0]["content"] == "One.\n\nTwo."
    assert "b" in str(body["messages"][-1]["content"])
    assert "c" in str(body["messages"][-1]["content"])


async def test_others_get_the_messages_in_their_places(endpoint, provider):
    body = await sent(endpoint, provider, *MIXED)
    roles = ["system", "user", "assistant", "tool", "system", "user", "user"]
    assert [message["role"] for message in body["messages"]] == roles


@pytest.mark.parametrize(
    "refusal",
    [
        b"Conversation roles must alternate user/assistant/user/assistant/...",
        b"System message must be at the beginning.",
        b"Unexpected role 'user' after role 'tool'",
    ],
)
async def test_a_template_that_is_strict_is_found_out_and_remembered(endpoint, provider, refusal):
    body = b'{"error":{"message":"%b","type":"BadRequestError","code":400}}' % refusal
    endpoint.reply(Script.raw(body, status=400, media="application/json"))
    for _ in range(2):
        told = await sent(endpoint, provider, *MIXED)
        assert [message["role"] for message in told["messages"]][:2] == ["system", "user"]
        assert [message["role"] for message in told["messages"]].count("system") == 1
    assert endpoint.calls == 3, "one refusal, then never again"


async def test_an_option_that_a_model_refuses_is_dropped_named_and_remembered(endpoint, provider):
    body = b'{"error":{"message":"Unsupported value","param":"temperature","code":"unsupported_value"}}'
    endpoint.reply(Script.raw(body, status=400, media="application/json"))
    for _ in range(2):
        request = ModelRequest("simulated", (user("x"),), (), {"temperature": 0.2, "top_p": 0.3})
        items = [item async for item in provider.stream(request)]
        assert items[-1].dropped == ("temperature",)
        assert "temperature" not in endpoint.requests[-1].json
        assert endpoint.requests[-1].json["top_p"] == 0.3
    assert endpoint.calls == 3


async def test_another_refusal_is_not_tried_again(endpoint, provider):
    body = b'{"error":{"message":"messages is too long","param":"messages"}}'
    endpoint.reply(Script.raw(body, status=400, media="application/json"))
    with pytest.raises(ProviderBadRequest):
        await sent(endpoint, provider, user("x"))
    assert endpoint.calls == 1


@pytest.mark.parametrize(
    ("name", "model", "wish", "fields", "dropped"),
    [
        ("openai", "gpt-4.1", "high", {}, ("thinking",)),
        ("openai", "gpt-4.1", "off", {}, ()),
        ("openai", "gpt-5-mini", "low", {"reasoning_effort": "low"}, ()),
        ("openai", "gpt-5-mini", "off", {"reasoning_effort": "minimal"}, ()),
        ("openai", "gpt-5.2", "off", {"reasoning_effort": "none"}, ()),
        ("openai", "o4-mini", "high", {"reasoning_effort": "high"}, ()),
        ("openrouter", "any/thing", "low", {"reasoning": {"effort": "low"}}, ()),
        ("openrouter", "any/thing", "off", {"reasoning": {"effort": "none"}}, ()),
        ("gemini", "gemini-2.5-flash", "off", {"reasoning_effort": "none"}, ()),
        ("gemini", "gemini-3-pro", "off", {"reasoning_effort": "low"}, ()),
        ("gemini", "gemini-1.5-flash", "high", {}, ("thinking",)),
        ("deepseek", "deepseek-chat", "off", {"thinking": {"type": "disabled"}}, ()),
        ("deepseek", "deepseek-chat", "high", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}, ()),
        ("groq", "openai/gpt-oss-120b", "high", {"reasoning_effort": "high"}, ()),
        ("groq", "qwen/qwen3-32b", "off", {"reasoning_effort": "none"}, ()),
        ("groq", "llama-3.3-70b-versatile", "low", {}, ("thinking",)),
        ("mistral", "mistral-large-latest", "low", {}, ("thinking",)),
        ("ollama", "qwen3:8b", "off", {"reasoning_effort": "none"}, ()),
        ("ollama", "llama3.2", "high", {}, ("thinking",)),
        ("compatible", "gpt-oss-20b", "high", {"reasoning_effort": "high"}, ()),
    ],
)
async def test_each_vendor_is_told_to_think_in_its_own_words(endpoint, connect, name, model, wish, fields, dropped):
    request = ModelRequest(model, (user("x"),), (), {"thinking": wish})
    items = [item async for item in connect(provider=name).stream(request)]
    body = endpoint.requests[-1].json
    assert {key: body[key] for key in ("reasoning_effort", "reasoning", "thinking") if key in body} == fields
    assert items[-1].dropped == dropped


async def test_models_that_reason_get_no_sampling(endpoint, connect):
    request = ModelRequest("gpt-5", (user("x"),), (), {"temperature": 0.5, "top_p": 0.5, "max_tokens": 9})
    items = [item async for item in connect(provider="openai").stream(request)]
    assert items[-1].dropped == ("temperature", "top_p")
    assert not {"temperature", "top_p"} & set(endpoint.requests[-1].json)


async def test_deepseek_gets_its_thinking_back_with_its_calls(endpoint, connect):
    provider = connect(provider="deepseek")
    endpoint.reply(
        Script(thoughts=("Hm. ", "Paris."), calls=Script.tool_calls(("weather_get", {})).calls, finish="tool_calls")
    )
    items = [item async for item in provider.stream(ModelRequest("d", (user("x"),), (WEATHER,)))]
    (call,) = items[-1].tool_calls
    old = (user("w"), assistant("", CALLS[:1]), tool(ToolResult("call_1", "y")), assistant("Sunny."))
    messages = (*old, user("x"), assistant("", (call,)), tool(ToolResult(call.id, "z")))
    _ = [item async for item in provider.stream(ModelRequest("d", messages, (WEATHER,)))]
    told = [message for message in endpoint.requests[-1].json["messages"] if "tool_calls" in message]
    assert [message["reasoning_content"] for message in told] == ["", "Hm. Paris."]


async def test_gemini_gets_the_signatures_of_its_calls_back(endpoint, connect):
    provider = connect(provider="gemini")
    signed = {"google": {"thought_signature": "c2ln"}}
    call = {
        "index": 0,
        "id": "g1",
        "type": "function",
        "function": {"name": "weather_get", "arguments": "{}"},
        "extra_content": signed,
    }
    event = {"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    endpoint.reply(Script.raw(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()))
    _ = [item async for item in provider.stream(ModelRequest("gemini-3-pro", (user("x"),), (WEATHER,)))]
    known, unknown = ToolCall("g1", "weather_get", "{}"), ToolCall("h1", "weather_get", "{}")
    messages = (
        user("w"), assistant("", (unknown,)), tool(ToolResult("h1", "y")), assistant("Sunny."),
        user("x"), assistant("", (known,)), tool(ToolResult("g1", "z")),
    )  # fmt: skip
    _ = [item async for item in provider.stream(ModelRequest("gemini-3-pro", messages, (WEATHER,)))]
    told = [message["tool_calls"][0] for message in endpoint.requests[-1].json["messages"] if "tool_calls" in message]
    assert told[1]["extra_content"] == signed
    assert told[0]["extra_content"] == {"google": {"thought_signature": "skip_thought_signature_validator"}}


@pytest.mark.parametrize(
    ("wish", "choice"),
    [
        ("required", "required"),
        ("weather_get", {"type": "function", "function": {"name": "weather_get"}}),
        ("x", "auto"),
    ],
)
async def test_a_tool_can_be_asked_for(endpoint, provider, wish, choice):
    _ = [item async for item in provider.stream(ModelRequest("m", (user("x"),), (WEATHER,), {"tool_choice": wish}))]
    assert endpoint.requests[-1].json["tool_choice"] == choice


async def test_choices_at_the_top_of_a_schema_become_optional(endpoint, provider):
    either = {"oneOf": [{"properties": {"name": TEXT}, "required": ["name"]}, {"properties": {"zip": TEXT}}]}
    body = await sent(endpoint, provider, user("x"), tools=(ToolDefinition("find", "m", "f", "Finds", either),))
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {"name": TEXT, "zip": TEXT}}


# --- bounds and ways


async def test_requests_wait_for_the_minute_to_pass(endpoint, connect):
    clock = ManualClock()
    provider = connect(clock=clock, requests_per_minute=2)
    await sent(endpoint, provider, user("x"))
    clock.advance(20)
    await sent(endpoint, provider, user("x"))
    clock.advance(15)
    third = asyncio.ensure_future(sent(endpoint, provider, user("x")))
    while clock.next_due is None:
        await asyncio.sleep(0)
    assert clock.next_due == 25
    with pytest.raises(ProviderRateLimited) as caught:
        await sent(endpoint, provider, user("x"))
    assert not caught.value.may_retry, "45 s are too long: somebody else is asked"
    clock.advance(25)
    await third
    assert endpoint.calls == 3


async def test_no_more_requests_at_once_than_allowed(endpoint, connect):
    provider = connect(concurrent_requests=2)
    endpoint.otherwise(Script.chunks(5, delay=0.02))
    most = 0
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(sent(endpoint, provider, user("x"))) for _ in range(6)]
        while not all(task.done() for task in asked):
            most = max(most, endpoint.open_streams)
            await asyncio.sleep(0.005)
    assert most == 2
    assert endpoint.calls == 6


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_the_proxy_of_the_environment_is_used_for_https_unless_it_is_excepted(connect, monkeypatch):
    heard = []

    async def proxy(reader, writer) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "internal.invalid")
        for host in ("models.invalid", "internal.invalid"):
            provider = connect(base_url=f"https://{host}/v1", key=Secret("k"))
            with pytest.raises(ProviderUnreachable):
                _ = [item async for item in provider.stream(ModelRequest("m", (user("x"),)))]
    assert heard == [b"CONNECT models.invalid:443 HTTP/1.1"]
