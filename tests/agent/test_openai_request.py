"""Requests of OpenAI clients: what is accepted, and how what is not is named. A further case is a line."""

import copy
import io
import json
import random

import pytest

from tom.agent.openai_messages import newest_images
from tom.agent.openai_request import PARAMETERS, read_completion
from tom.agent.options import Choices
from tom.errors import TomError
from tom.testing.simulated_llm import Script

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
DATA = f"data:image/png;base64,{PIXEL}"
TOOL = {"type": "function", "function": {"name": "weather"}}
FUNCTION = {"name": "weather", "arguments": "{}"}
CHOICES = Choices(longest_reply=1000)
HELLO = [{"role": "user", "content": "Hello"}]


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def picture(url):
    return {"type": "image_url", "image_url": {"url": url}}


UNSUPPORTED = (
    "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "functions", "function_call",
    "store", "service_tier", "reasoning_effort", "modalities", "audio", "prediction", "web_search_options", "verbosity",
    "safety_identifier", "prompt_cache_key", "provider", "base_url", "extra_headers", "options", "\u202eledom",
)  # fmt: skip

REFUSED = [
    # what is sent, the status, the code, the parameter
    ({"n": 2}, 400, "unsupported_parameter", "n"),
    ({"n": 0}, 400, "unsupported_parameter", "n"),
    ({"n": True}, 400, "unsupported_parameter", "n"),
    ({"n": "1"}, 400, "unsupported_parameter", "n"),
    ({"stream_options": {"include_everything": True}}, 400, "unsupported_parameter", "stream_options.include_everything"),
    ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, 400, "unsupported_parameter", "messages[0].weight"),
    ({"model": None}, 422, "validation_error", "model"),
    ({"model": ""}, 422, "validation_error", "model"),
    ({"model": 7}, 422, "validation_error", "model"),
    ({"model": "bad\nname"}, 422, "validation_error", "model"),
    ({"messages": None}, 422, "validation_error", "messages"),
    ({"messages": []}, 422, "validation_error", "messages"),
    ({"messages": "Hello"}, 422, "validation_error", "messages"),
    ({"messages": ["Hello"]}, 422, "validation_error", "messages[0]"),
    ({"messages": [{"content": "x"}]}, 422, "validation_error", "messages[0].role"),
    ({"messages": [{"role": "function", "content": "x"}]}, 422, "validation_error", "messages[0].role"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, 422, "validation_error", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, 422, "validation_error", "messages[0].content"),
    ({"messages": [{"role": "user", "content": ""}]}, 422, "validation_error", "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, 422, "validation_error", "messages[0].content"),
    ({"messages": [{"role": "user", "content": 7}]}, 422, "validation_error", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a\0b"}]}, 422, "validation_error", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, 422, "validation_error", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x" * 200_001}]}, 422, "text_too_long", "messages[0].content"),
    ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, 422, "validation_error", "messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, 422, "validation_error", "messages"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 422, "validation_error", "messages[0].tool_call_id"),
    ({"messages": [{"role": "system", "content": [picture(DATA)]}, *HELLO]}, 422, "validation_error", "messages[0].content[0].type"),
    ({"messages": user({"type": "input_audio", "input_audio": {}})}, 422, "validation_error", "messages[0].content[0].type"),
    ({"messages": user({"type": "file", "file": {}})}, 422, "validation_error", "messages[0].content[0].type"),
    ({"messages": user({"type": "text", "text": 7})}, 422, "validation_error", "messages[0].content[0].type"),
    ({"messages": user("x")}, 422, "validation_error", "messages[0].content[0]"),
    ({"messages": user({"type": "image_url"})}, 422, "validation_error", "messages[0].content[0].image_url.url"),
    ({"messages": user(picture("data:image/png,x"))}, 422, "validation_error", "messages[0].content[0].image_url.url"),
    ({"messages": user(picture("data:image/png;base64,!!"))}, 422, "invalid_attachment", "messages[0].content[0].image_url.url"),
    ({"messages": user(picture("data:image/gif;base64," + PIXEL))}, 422, "invalid_attachment", "messages[0].content[0].image_url.url"),
    ({"messages": user(picture("data:image/svg+xml;base64,PHN2Zy8+"))}, 422, "invalid_attachment", "messages[0].content[0].image_url.url"),
    ({"messages": user(*[picture(DATA)] * 5)}, 422, "invalid_attachment", "messages[0]"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}, *HELLO]}, 422, "validation_error", "messages[0].tool_calls"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}, *HELLO]}, 422, "validation_error", "messages[0].tool_calls[0].function"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": FUNCTION}]}, *HELLO]}, 422, "validation_error", "messages[0].tool_calls[0].id"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": ""}}]}, *HELLO]}, 422, "validation_error", "messages[0].tool_calls[0].function.name"),
    ({"stream": "yes"}, 422, "validation_error", "stream"),
    ({"stream_options": []}, 422, "validation_error", "stream_options"),
    ({"stream_options": {"include_usage": 1}}, 422, "validation_error", "stream_options.include_usage"),
    ({"temperature": 2.1}, 422, "validation_error", "temperature"),
    ({"temperature": True}, 422, "validation_error", "temperature"),
    ({"top_p": -0.1}, 422, "validation_error", "top_p"),
    ({"max_tokens": 0}, 422, "validation_error", "max_tokens"),
    ({"max_tokens": 1001}, 422, "validation_error", "max_tokens"),
    ({"max_completion_tokens": 1001}, 422, "validation_error", "max_completion_tokens"),
    ({"max_completion_tokens": 5, "max_tokens": 6}, 422, "validation_error", "max_completion_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, 422, "validation_error", "stop"),
    ({"stop": [""]}, 422, "validation_error", "stop"),
    ({"stop": 7}, 422, "validation_error", "stop"),
    ({"stop": "\ud800"}, 422, "validation_error", "stop"),
    ({"tools": [{"type": "function", "function": {"name": "a", "description": "\ud800"}}]}, 422, "validation_error", "tools"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "\ud800", "schema": {}}}}, 422, "validation_error", "response_format"),
    ({"seed": "7"}, 422, "validation_error", "seed"),
    ({"seed": 1.5}, 422, "validation_error", "seed"),
    ({"parallel_tool_calls": "no"}, 422, "validation_error", "parallel_tool_calls"),
    ({"response_format": "json"}, 422, "validation_error", "response_format.type"),
    ({"response_format": {"type": "xml"}}, 422, "validation_error", "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, 422, "validation_error", "response_format.json_schema"),
    ({"tools": {}}, 422, "validation_error", "tools"),
    ({"tools": [TOOL] * 129}, 422, "validation_error", "tools"),
    ({"tools": [TOOL, TOOL]}, 422, "validation_error", "tools[1].function.name"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, 422, "validation_error", "tools[0]"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, 422, "validation_error", "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a", "description": 7}}]}, 422, "validation_error", "tools[0].function.description"),
    ({"tools": [{"type": "function", "function": {"name": "a", "parameters": [1]}}]}, 422, "validation_error", "tools[0].function.parameters"),
    ({"tool_choice": "required"}, 422, "validation_error", "tool_choice"),
    ({"tool_choice": "weather", "tools": [TOOL]}, 422, "validation_error", "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [TOOL]}, 422, "validation_error", "tool_choice"),
    ({"user": 7}, 422, "validation_error", "user"),
    ({"metadata": []}, 422, "validation_error", "metadata"),
    ({"metadata": {"x": "y" * 17_000}}, 422, "metadata_too_large", "metadata"),
    ({"metadata": {"conversation_id": "a b"}}, 422, "invalid_conversation_id", "metadata.conversation_id"),
    ({"metadata": {"conversation_id": 7}}, 422, "invalid_conversation_id", "metadata.conversation_id"),
]  # fmt: skip


@pytest.mark.promise("P23")
@pytest.mark.parametrize(("body", "status", "code", "param"), REFUSED)
def test_what_is_wrong_is_refused_and_named(body, status, code, param):
    with pytest.raises(TomError) as refused:
        newest_images(read_completion({"model": "tom", "messages": HELLO} | body, CHOICES).dialogue.said)
    error = refused.value
    assert (error.http_status, error.code, error.details["param"]) == (status, code, param)


@pytest.mark.anyio
async def test_what_is_refused_is_told_in_openais_shape_and_not_stored(open_cell, v1):
    unknown = {"messages": [*HELLO, {"role": "tool", "content": "x", "tool_call_id": "c"}]}
    known = (400, "unsupported_parameter", "n"), (400, "unexpected_result", "messages[1].tool_call_id")
    async with open_cell() as cell, v1(cell) as client:
        for body, wanted in zip(({"n": 2}, unknown), known, strict=True):
            told = {"messages": HELLO} | body
            status, answer = await client.post(told.pop("messages"), **told)
            assert (status, answer["error"]["code"], answer["error"]["param"]) == wanted
            assert answer["error"]["type"] == "invalid_request_error"
        assert await cell.store.conversations(kind="api") == ()


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_parameter_that_is_not_in_the_list_is_refused_by_name(name):
    with pytest.raises(Exception, match="is not supported") as refused:
        read_completion({"model": "tom", "messages": HELLO, name: 1}, Choices())
    assert refused.value.code == "unsupported_parameter"
    assert refused.value.details["param"].isprintable()


@pytest.mark.parametrize("name", [*PARAMETERS, *UNSUPPORTED])
def test_null_is_as_good_as_nothing(name):
    body = {"model": "tom", "messages": HELLO, name: None}
    if name in {"model", "messages"}:
        with pytest.raises(Exception, match="required"):
            read_completion(body, Choices())
    else:
        assert read_completion(body, Choices()) == read_completion({"model": "tom", "messages": HELLO}, Choices())


@pytest.mark.promise("P16")
@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/cat.png",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:6379/",
        "file:///etc/passwd",
        "ftp://example.org/cat.png",
        "//example.org/cat.png",
        "/etc/passwd",
        "DATA",
        "",
    ],
)
def test_no_address_of_a_picture_is_fetched(url):
    with pytest.raises(Exception, match="data: URLs") as refused:
        read_completion({"model": "tom", "messages": user(picture(url))}, Choices())
    assert (refused.value.code, refused.value.http_status) == ("invalid_image_url", 400)
    assert refused.value.details["param"] == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, {}),
        ({"model": "tom-2"}, {"level": 2}),
        ({"model": "gpt-9"}, {"model": "gpt-9"}),
        ({"max_tokens": 5, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 0, "top_p": 1}, {"temperature": 0, "top_p": 1}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": []}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"seed": -1, "parallel_tool_calls": True}, {"seed": -1, "parallel_tool_calls": True}),
        ({"tool_choice": "none"}, {}),
        ({"n": 1, "user": "u", "metadata": {"a": "b"}, "stream": True, "stream_options": {"include_obfuscation": False}}, {}),
    ],
)  # fmt: skip
def test_parameters_become_options(body, options):
    asked = read_completion({"model": "tom", "messages": HELLO} | body, Choices())
    assert asked.options == options


def test_messages_are_read_in_all_their_forms():
    asked = read_completion(
        {
            "model": "tom",
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}]},
                {"role": "user", "content": "Hi", "name": "ada"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
                {"role": "assistant", "content": "", "refusal": None, "audio": None, "annotations": []},
                {"role": "user", "content": [picture(DATA), {"type": "text", "text": "What is it?"}]},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": FUNCTION}]},
                {"role": "tool", "tool_call_id": "c1", "content": ""},
                {"role": "user", "content": [picture("data:image/jpg;base64," + JPEG)]},
                {"role": "system", "content": "Last."},
            ],
        },
        Choices(),
    )  # fmt: skip
    assert asked.dialogue.instructions == ("Be\nkind.", "Last.")
    told = [one.as_prior() for one in asked.dialogue.said]
    assert told == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "What is it?\n[Image: image/png, 70 bytes]"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": "weather", "arguments": "{}"}]},
        {"role": "tool", "content": "", "tool_call_id": "c1"},
        {"role": "user", "content": "[Image: image/jpeg, 3 bytes]"},
    ]


JPEG = "/9j/"


@pytest.mark.promise("P23")
def test_bodies_of_any_kind_are_read_or_refused():
    """Seeded: every value at every place, never anything but a clean refusal."""
    dice = random.Random(20261121)
    values = [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "\ud800",
        [],
        {},
        [None],
        [[]],
        {"": None},
        {"type": "text"},
        10**30,
        "tom",
    ]
    whole = {
        "model": "tom", "messages": [*HELLO, {"role": "assistant", "content": "x", "tool_calls": [{"id": "c", "type": "function", "function": FUNCTION}]}, {"role": "tool", "tool_call_id": "c", "content": "y"}],
        "stream": False, "stream_options": {"include_usage": True}, "temperature": 1, "top_p": 1, "max_tokens": 9, "max_completion_tokens": 9,
        "stop": ["x"], "seed": 1, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": True, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "user": "u", "metadata": {"conversation_id": "c"}, "n": 1,
    }  # fmt: skip
    read = refused = 0
    for _ in range(4000):
        body = json.loads(json.dumps(whole))
        for _ in range(dice.randint(1, 3)):
            place, key = _somewhere(body, dice)
            place[key] = copy.deepcopy(dice.choice(values))
        try:
            read_completion(body, Choices(), dice.choice([None, "c", "d e"]))
            read += 1
        except Exception as error:
            assert getattr(error, "http_status", 500) in {400, 413, 422}, (body, error)
            refused += 1
    assert min(read, refused) > 100


def _somewhere(value, dice):
    while True:
        key = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
        below = value[key]
        if not isinstance(below, dict | list) or not below or dice.random() < 0.3:
            return value, key
        value = below


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"X-Tom-Conversation": "c1"}, {"metadata": {"conversation_id": "c2"}}, 400, "conversation_conflict"),
        ({"X-Tom-Conversation": "c1"}, {"metadata": {"conversation_id": "c1"}}, 200, None),
        ({"X-Tom-Conversation": "no such id!"}, {}, 422, "invalid_conversation_id"),
        ({"Idempotency-Key": "no such key!"}, {}, 422, "validation_error"),
    ],
)
async def test_headers_are_read_as_strictly(open_cell, v1, llm, headers, body, status, code):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell, v1(cell) as client:
        got, answer = await client.post("Hello", headers=headers, **body)
    assert (got, answer.get("error", {}).get("code")) == (status, code)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_json"),
        (b'{"model": "tom", "model": "tom"}', {}, 400, "invalid_json"),
        (b"", {}, 422, "validation_error"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b" " * (24 * 1024 * 1024 + 1), {}, 413, "payload_too_large"),
    ],
)
async def test_what_is_no_request_at_all_is_told_in_openais_shape(open_cell, v1, body, headers, status, code):
    async with open_cell() as cell, v1(cell) as client:
        told = {"Content-Type": "application/json"} | headers
        async with client.http.post("/v1/chat/completions", data=io.BytesIO(body), headers=told) as given:
            answer = json.loads(await given.text())
    assert (given.status, answer["error"]["code"], answer["error"]["type"]) == (status, code, "invalid_request_error")
