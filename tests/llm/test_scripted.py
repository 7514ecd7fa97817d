"""The offline model says what it is, and calls the tools that a person names or describes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.conversation.message import assistant, tool, user
from tom.conversation.part import ToolResult
from tom.conversation.tool import ToolClass, ToolDefinition
from tom.llm.provider import ModelRequest, TextDelta
from tom.llm.scripted import BANNER, ScriptedModel

pytestmark = pytest.mark.anyio


def zone(of: str) -> dict:
    return {
        "type": "string",
        "description": f"{of} IANA timezone name (e.g., 'America/New_York', 'Europe/London'). Use 'UTC' as local timezone.",
    }


def define(service, name, description, properties, required=None, tool_class=ToolClass.WRITE_EXTERNAL):
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }
    return ToolDefinition(f"{service}_{name}", service, name, description, schema, tool_class)


TEXT = {"type": "string"}
TOOLS = (
    define("time", "get_current_time", "Get current time in a specific timezone", {"timezone": zone("")},
           tool_class=ToolClass.READ_PRIVATE),
    define("time", "convert_time", "Convert time between timezones",
           {"source_timezone": zone("Source"), "time": {"type": "string", "description": "Time to convert in 24-hour format (HH:MM)"},
            "target_timezone": zone("Target")}),
    define("git", "git_status", "Shows the working tree status", {"repo_path": TEXT}),
    define("git", "git_log", "Shows the commit logs",
           {"repo_path": TEXT, "max_count": {"type": "integer", "default": 10},
            "start": {"anyOf": [TEXT, {"type": "null"}], "default": None}}, ["repo_path"]),
    define("git", "git_reset", "Unstages all staged changes", {"repo_path": TEXT}),
    define("everything", "echo", "Echoes back the input", {"message": TEXT}),
    define("everything", "get-sum", "Returns the sum of two numbers", {"a": {"type": "number"}, "b": {"type": "number"}}),
    define("everything", "annotated", "A message with annotations",
           {"kind": {"type": "string", "enum": ["error", "success", "debug"]}, "picture": {"type": "boolean", "default": False}}, ["kind"]),
    define("files", "list_directory", "Lists a folder", {"path": TEXT}, tool_class=ToolClass.READ_PRIVATE),
    define("web", "fetch", "Fetches a page", {"url": {"type": "string", "format": "uri"}}),
    define("notes", "list_notes", "Lists your notes", {}, tool_class=ToolClass.READ_PRIVATE),
    define("notes", "burn", "Empties it", {"book": TEXT}, tool_class=ToolClass.DESTRUCTIVE),
    define("shop", "find_product", "Finds a product",
           {"query": {"$ref": "#/$defs/Query"}, "limit": {"type": ["integer", "null"]}}, ["query"]),
)  # fmt: skip
TOOLS[-1].parameters["$defs"] = {"Query": {"type": "string", "description": "words"}}

CALLED = [
    ("what time is it in Paris", "get_current_time", {"timezone": "Europe/Paris"}),
    ("What time is it in New York?", "get_current_time", {"timezone": "America/New_York"}),
    ("time in san francisco please", "get_current_time", {"timezone": "America/Los_Angeles"}),
    ("time in Asia/Tokyo", "get_current_time", {"timezone": "Asia/Tokyo"}),
    ("what's the current time in Japan", "get_current_time", {"timezone": "Asia/Tokyo"}),
    ("time تهران", "get_current_time", {"timezone": "Asia/Tehran"}),
    ("what time is it?", "get_current_time", {"timezone": "Atlantic/Azores"}),
    ("convert 9:30 from Paris to Tokyo", "convert_time",
     {"source_timezone": "Europe/Paris", "time": "09:30", "target_timezone": "Asia/Tokyo"}),
    ("git status of /srv/repo", "git_status", {"repo_path": "/srv/repo"}),
    ('status of the repo "my project"', "git_status", {"repo_path": "my project"}),
    ("git log /x, max count 3", "git_log", {"repo_path": "/x", "max_count": 3}),
    ("git log of ~/x", "git_log", {"repo_path": "~/x"}),
    ('echo "hello there"', "echo", {"message": "hello there"}),
    ("echo «سلام»", "echo", {"message": "سلام"}),
    ("echo hello world", "echo", {"message": "hello world"}),
    ("the sum of 2 and -3.5", "get-sum", {"a": 2, "b": -3.5}),
    ("show an annotated success", "annotated", {"kind": "success"}),
    ("annotated error with a picture", "annotated", {"kind": "error", "picture": True}),
    ("list the directory /tmp", "list_directory", {"path": "/tmp"}),
    ("fetch https://example.org/a?b=1", "fetch", {"url": "https://example.org/a?b=1"}),
    ("list my notes", "list_notes", {}),
    ("find a product: red shoes", "find_product", {"query": "red shoes"}),
    ('find the product "boots", limit 5', "find_product", {"query": "boots", "limit": 5}),
]  # fmt: skip


async def ask(*messages, tools=TOOLS):
    items = [item async for item in ScriptedModel("Atlantic/Azores").stream(ModelRequest("scripted", messages, tools))]
    assert all(isinstance(item, TextDelta) for item in items[:-1])
    assert "".join(item.text for item in items[:-1]) == items[-1].text
    return items[-1]


@pytest.mark.parametrize(("said", "name", "arguments"), CALLED, ids=[case[0] for case in CALLED])
async def test_words_call_the_tool_they_fit(said, name, arguments):
    reply = await ask(user(said))
    (call,) = reply.tool_calls
    assert next(tool.tool for tool in TOOLS if tool.name == call.name) == name
    assert json.loads(call.arguments) == arguments
    assert (reply.text, reply.finish_reason, reply.model) == ("", "tool_calls", "scripted")


@pytest.mark.parametrize("said", ["tell me a joke", "thanks!", "who won the cup?", "۱۲۳", "🙂", "the", "is it of me"])
async def test_what_fits_nothing_is_answered_honestly(said):
    reply = await ask(user(said))
    assert "not a language model" in reply.text
    assert not reply.tool_calls


@pytest.mark.parametrize(
    ("said", "missing"),
    [("convert time", "source_timezone"), ("git status", "repo_path"), ("sum 3", "b"), ("git log", "repo_path")],
)
async def test_a_parameter_that_was_not_found_is_asked_for_and_never_guessed(said, missing):
    reply = await ask(user(said))
    assert f"`{missing}`" in reply.text
    assert "/tool " in reply.text
    assert not reply.tool_calls


@pytest.mark.parametrize("said", ["git reset /srv/repo", 'burn "everything"', "burn the book «x»"])
@pytest.mark.promise("P14")
async def test_words_alone_never_call_what_may_destroy(said):
    reply = await ask(user(said))
    assert not reply.tool_calls
    line = next(line.strip() for line in reply.text.splitlines() if line.strip().startswith("/tool "))
    assert (await ask(user(line))).tool_calls


@pytest.mark.parametrize("name", ["time_get_current_time", "time.get_current_time", "get_current_time"])
async def test_a_tool_is_called_by_any_of_its_names(name):
    reply = await ask(user(f'/tool {name} {{"timezone": "Asia/Tokyo"}}'))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("time_get_current_time", '{"timezone": "Asia/Tokyo"}')
    ]


async def test_what_follows_the_tool_s_name_goes_to_the_tool_as_it_is():
    reply = await ask(user('/tool echo {"unknown":\n 1}'))
    assert reply.tool_calls[0].arguments == '{"unknown":\n 1}'


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("/tool ecco {}", "everything_echo"),
        ("/tool nothing_like_it {}", "13 tools are connected"),
        ("/tool echo {message: 1}", "not valid JSON"),
        ("/tool echo [1]", "must be a JSON object"),
    ],
)
async def test_a_tool_line_that_cannot_be_followed_says_why(line, part):
    reply = await ask(user(line))
    assert part in reply.text
    assert not reply.tool_calls


async def test_a_name_that_two_services_have_is_not_guessed():
    twins = (TOOLS[5], define("other", "echo", "Another", {"message": TEXT}))
    reply = await ask(user('/tool echo {"message": "x"}'), tools=twins)
    assert "everything_echo" in reply.text
    assert "other_echo" in reply.text
    assert not reply.tool_calls


async def answered(content: str, **fields) -> str:
    first = await ask(user("what time is it in Paris"))
    result = tool(ToolResult(first.tool_calls[0].id, content, **fields))
    reply = await ask(user("what time is it in Paris"), assistant("", first.tool_calls), result)
    assert not reply.tool_calls
    return reply.text


async def test_a_time_is_spoken():
    inner = {"timezone": "Europe/Paris", "datetime": "2026-11-21T15:04:00+01:00", "day_of_week": "Saturday"}
    content = json.dumps({"status": "success", "result": json.dumps(inner), "function": "get_current_time"})
    text = await answered(content)
    assert text.startswith("It is **15:04** on Saturday, 2026-11-21, in Europe/Paris.")
    assert '"timezone": "Europe/Paris"' in text


@pytest.mark.parametrize(
    "content", ["plain words", '{"a": [1]}', '{"status":"success","result":{"x":"canary"}}', "``` fence ```", ""]
)
async def test_a_result_is_repeated(content):
    text = await answered(content)
    assert "`time_get_current_time` answered" in text
    assert ("canary" in text) == ("canary" in content)


async def test_a_result_cannot_leave_its_block():
    text = await answered("```\n# heading\n```")
    assert "````\n```\n# heading\n```\n````" in text


@pytest.mark.parametrize(
    ("content", "fields"), [('{"error":"no such zone","function":"f"}', {}), ("no such zone", {"is_error": True})]
)
async def test_a_failed_call_is_told(content, fields):
    text = await answered(content, **fields)
    assert "could not do it" in text
    assert "no such zone" in text


async def test_a_huge_result_is_cut_and_says_so():
    text = await answered("x" * 100_000)
    assert len(text) < 5000
    assert "96000 more characters" in text


@pytest.mark.parametrize("said", ["help", "Hello!", "?", "سلام", "what can you do?"])
async def test_help_says_what_it_is_and_how_to_add_a_model(said):
    text = (await ask(user(said))).text
    assert "not a language model" in text
    assert "OPENAI_API_KEY" in text
    assert "/tool" in text


async def test_the_tour_streams_a_table_and_a_paragraph_in_persian():
    items = [item async for item in ScriptedModel().stream(ModelRequest("scripted", (user("tour"),), TOOLS))]
    assert len(items) > 100
    assert max(len(item.text) for item in items[:-1]) < 60
    text = items[-1].text
    assert "|---|---|" in text
    assert "سلام" in text
    assert "time.get_current_time" in text


@pytest.mark.parametrize("said", ["help", "tour", "tools", "what time is it in Paris", "/tool x {}"])
async def test_everything_has_an_answer_without_tools(said):
    reply = await ask(user(said), tools=())
    assert reply.text
    assert not reply.tool_calls


async def test_the_tools_are_listed_with_a_line_that_works():
    text = (await ask(user("tools"))).text
    lines = [line.split("`")[1] for line in text.splitlines() if line.startswith("- `")]
    assert len(lines) == len(TOOLS)
    for line in lines:
        assert (await ask(user(line))).tool_calls, line


def test_the_banner_is_the_published_one():
    assert BANNER == "No model is set up. These answers are scripted."


_JSON_SCHEMA = st.recursive(
    st.sampled_from([True, {}, {"type": "string"}, {"type": "integer"}, {"type": ["null", "string"]}, {"enum": [1, "a", None]},
                     {"$ref": "#/$defs/x"}, {"$ref": "#"}, {"$ref": 7}, {"const": 1}, {"type": "array"}]),
    lambda inner: st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner) | st.builds(lambda a: {"type": "array", "items": a}, inner)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3).map(lambda p: {"type": "object", "properties": p, "required": list(p)}),
    max_leaves=8,
)  # fmt: skip


@given(
    st.text(max_size=80),
    st.dictionaries(st.text(max_size=8), _JSON_SCHEMA, max_size=4),
    st.text(min_size=1, max_size=12),
)
def test_no_schema_and_no_sentence_breaks_it(said, properties, name):
    import asyncio

    schema = {
        "type": "object",
        "properties": properties,
        "required": [*properties, "absent"],
        "$defs": {"x": {"$ref": "#/$defs/x"}},
    }
    odd = ToolDefinition(f"s_{name}", "s", name, said, schema)
    for text in (said, f"{name} {said} 3 «q»", f"/tool s_{name} {{}}", "tools"):
        asyncio.run(ask(user(text), tools=(odd,)))
