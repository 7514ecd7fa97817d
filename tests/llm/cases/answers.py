"""What providers have been seen to send, and the reply that it means: (name, body, expected)."""

import json


def chunk(delta=None, finish=None, **fields):
    choices = fields.pop("choices", [{"index": 0, "delta": delta or {}, "finish_reason": finish}])
    return f"data: {json.dumps({'id': 'c1', 'model': 'm', 'choices': choices, **fields})}\n\n"


def call(name=None, arguments=None, **fields):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function, **fields}


def calls(*pieces):
    return chunk({"tool_calls": list(pieces)})


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop")
CALLED = chunk(finish="tool_calls")
DONE = "data: [DONE]\n\n"
HELLO = chunk({"content": "Hel"}) + chunk({"content": "lo"})
USAGE = chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2})
HELLO_REPLY = {"text": "Hello"}
TWO = {"calls": [("f", '{"a":1}'), ("g", '{"b":2}')]}

ANSWERS = [
    ("as documented", ROLE + HELLO + STOP + USAGE + DONE, HELLO_REPLY | {"usage": (7, 2, False)}),
    ("no usage", ROLE + HELLO + STOP + DONE, HELLO_REPLY | {"estimated": True}),
    ("usage of nothing", ROLE + HELLO + STOP + chunk(choices=[], usage={"prompt_tokens": 0, "completion_tokens": 0}) + DONE,
     HELLO_REPLY | {"estimated": True}),
    ("usage null", ROLE + HELLO + STOP + chunk(choices=[], usage=None) + DONE, HELLO_REPLY | {"estimated": True}),
    ("usage beside every choice, the last counts", chunk({"content": "Hel"}, usage={"prompt_tokens": 7, "completion_tokens": 1})
     + chunk({"content": "lo"}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 2}) + DONE,
     HELLO_REPLY | {"usage": (7, 2, False)}),
    ("usage where Groq puts it", ROLE + HELLO + chunk(finish="stop", x_groq={"usage": {"prompt_tokens": 7, "completion_tokens": 2}}) + DONE,
     HELLO_REPLY | {"usage": (7, 2, False)}),
    ("choices null", ROLE + HELLO + STOP + chunk(choices=None, usage={"prompt_tokens": 7, "completion_tokens": 2}) + DONE,
     HELLO_REPLY | {"usage": (7, 2, False)}),
    ("empty choices first", chunk(choices=[], prompt_filter_results=[]) + ROLE + HELLO + STOP + DONE, HELLO_REPLY),
    ("no [DONE]", ROLE + HELLO + STOP, HELLO_REPLY),
    ("no blank line at the end", (ROLE + HELLO + STOP + DONE).rstrip("\n"), HELLO_REPLY),
    ("no blank lines at all", (ROLE + HELLO + STOP + DONE).replace("\n\n", "\n"), HELLO_REPLY),
    ("CR LF", (ROLE + HELLO + STOP + DONE).replace("\n", "\r\n"), HELLO_REPLY),
    ("CR", (ROLE + HELLO + STOP + DONE).replace("\n", "\r"), HELLO_REPLY),
    ("no blank behind the colon", (ROLE + HELLO + STOP + DONE).replace("data: ", "data:"), HELLO_REPLY),
    ("byte order mark", "\ufeff" + ROLE + HELLO + STOP + DONE, HELLO_REPLY),
    ("comments and other fields", ": ping\n\n" + ROLE + ": ping\nid: 4\nevent: message\nretry: 10\n" + HELLO + ": ping\n\n" + STOP + DONE,
     HELLO_REPLY),
    ("an event of several lines", ROLE + HELLO + 'data: {"choices": [{"index": 0, "delta": {},\ndata:  "finish_reason": "stop"}]}\n\n' + DONE,
     HELLO_REPLY),
    ("words behind [DONE]", ROLE + HELLO + STOP + DONE + "data: {rubbish\n\n", HELLO_REPLY),
    ("every event twice", "".join(event * 2 for event in (ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), STOP, USAGE, DONE)),
     HELLO_REPLY | {"usage": (7, 2, False)}),
    ("equal neighbours", ROLE + chunk({"content": "ha"}) * 4 + STOP + DONE, {"text": "hahahaha"}),
    ("equal neighbours from the first event on", chunk({"content": "ha"}) * 4 + STOP + DONE, {"text": "hahahaha"}),
    ("empty events again and again", ROLE * 6 + HELLO + STOP + DONE, HELLO_REPLY),
    ("a second choice", ROLE + HELLO + chunk(choices=[{"index": 1, "delta": {"content": "no"}}]) + STOP + DONE, HELLO_REPLY),
    ("finish in the last text", ROLE + chunk({"content": "Hello"}, "stop") + DONE, HELLO_REPLY),
    ("length", ROLE + HELLO + chunk(finish="length") + DONE, HELLO_REPLY | {"finish": "length"}),
    ("another word for length", ROLE + HELLO + chunk(finish="MAX_TOKENS") + DONE, HELLO_REPLY | {"finish": "length"}),
    ("content filter", ROLE + HELLO + chunk(finish="content_filter") + DONE, HELLO_REPLY | {"finish": "content_filter"}),
    ("another word for stop", ROLE + HELLO + chunk(finish="end_turn") + DONE, HELLO_REPLY | {"finish": "stop"}),
    ("reasoning_content", chunk({"reasoning_content": "Hm"}) + chunk({"reasoning_content": "m", "content": None}) + HELLO + STOP + DONE,
     HELLO_REPLY | {"thinking": "Hmm"}),
    ("reasoning", chunk({"reasoning": "Hmm", "content": ""}) + HELLO + STOP + DONE, HELLO_REPLY | {"thinking": "Hmm"}),
    ("reasoning under both names", chunk({"reasoning": "Hmm", "reasoning_content": "Hmm"}) + HELLO + STOP + DONE,
     HELLO_REPLY | {"thinking": "Hmm"}),
    ("reasoning that is no text", chunk({"reasoning": {"effort": "low"}}) + HELLO + STOP + DONE, HELLO_REPLY),
    ("content as parts", chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm"}]}]})
     + chunk({"content": [{"type": "text", "text": "Hello"}]}) + STOP + DONE, HELLO_REPLY | {"thinking": "Hmm"}),
    ("a refusal", chunk({"refusal": "I'd rather not."}) + STOP + DONE, {"text": "I'd rather not."}),
    ("unknown fields", chunk({"content": "Hello", "audio": {"x": [1]}}, service_tier="x", system_fingerprint=None) + STOP + DONE,
     HELLO_REPLY),
    ("one whole call", ROLE + calls(call("f", '{"a":1}', index=0, id="x")) + CALLED + DONE, {"calls": [("f", '{"a":1}')], "ids": ["x"]}),
    ("a call in fragments", ROLE + calls(call("f", "", index=0, id="x")) + "".join(calls(call(None, part, index=0)) for part in '{"a":1}')
     + CALLED + DONE, {"calls": [("f", '{"a":1}')], "ids": ["x"]}),
    ("text before a call", ROLE + HELLO + calls(call("f", "{}", index=0, id="x")) + CALLED + DONE, HELLO_REPLY | {"calls": [("f", "{}")]}),
    ("a call, but finish says stop", calls(call("f", "{}", index=0, id="x")) + STOP + DONE, {"calls": [("f", "{}")]}),
    ("finish says function_call", calls(call("f", "{}", index=0, id="x")) + chunk(finish="function_call") + DONE, {"calls": [("f", "{}")]}),
    ("text, then a call cut by length", ROLE + HELLO + calls(call("f", '{"a":', index=0, id="x")) + chunk(finish="length") + DONE,
     HELLO_REPLY | {"finish": "length"}),
    ("the second of two calls cut by length", calls(call("f", '{"a":1}', index=0, id="x"), call("g", '{"b":', index=1, id="y"))
     + chunk(finish="length") + DONE, {"calls": [("f", '{"a":1}')]}),
    ("parallel, interleaved", calls(call("f", "", index=0, id="x"), call("g", "", index=1, id="y")) + calls(call(None, '{"a"', index=0))
     + calls(call(None, '{"b":', index=1)) + calls(call(None, ":1}", index=0), call(None, "2}", index=1)) + CALLED + DONE,
     TWO | {"ids": ["x", "y"]}),
    ("parallel, all with index 0 (Ollama)", calls(call("f", '{"a":1}', index=0, id="x")) + calls(call("g", '{"b":2}', index=0, id="y"))
     + CALLED + DONE, TWO | {"ids": ["x", "y"]}),
    ("parallel, index 0 and no id", calls(call("f", '{"a":1}', index=0)) + calls(call("g", '{"b":2}', index=0)) + CALLED + DONE, TWO),
    ("parallel, index 0 in fragments", calls(call("f", "", index=0, id="x")) + calls(call(None, '{"a":1}', index=0))
     + calls(call("g", "", index=0, id="y")) + calls(call(None, '{"b":2}', index=0)) + CALLED + DONE, TWO | {"ids": ["x", "y"]}),
    ("parallel, no index (Gemini)", calls(call("f", '{"a":1}', id="x"), call("g", '{"b":2}', id="y")) + CALLED + DONE,
     TWO | {"ids": ["x", "y"]}),
    ("parallel, neither index nor id", calls(call("f", '{"a":1}'), call("g", '{"b":2}')) + CALLED + DONE, TWO),
    ("parallel, neither, one event each", calls(call("f", '{"a":1}')) + calls(call("g", '{"b":2}')) + CALLED + DONE, TWO),
    ("the same call twice in a list", calls(call("f", "{}"), call("f", "{}")) + CALLED + DONE, {"calls": [("f", "{}"), ("f", "{}")]}),
    ("no index, in fragments by id", calls(call("f", '{"a"', id="x")) + calls(call(None, ":1}", id="x")) + CALLED + DONE,
     {"calls": [("f", '{"a":1}')], "ids": ["x"]}),
    ("no index, in fragments without id", calls(call("f", '{"a"', id="x")) + calls(call(None, ":1}")) + CALLED + DONE,
     {"calls": [("f", '{"a":1}')], "ids": ["x"]}),
    ("id and name in every fragment", calls(call("f", '{"a"', index=0, id="x")) + calls(call("f", ":1}", index=0, id="x")) + CALLED + DONE,
     {"calls": [("f", '{"a":1}')], "ids": ["x"]}),
    ("the whole call sent again", calls(call("f", '{"a":1}', index=0, id="x")) + calls(call("f", '{"a":1}', index=0, id="x")) + CALLED + DONE,
     {"calls": [("f", '{"a":1}')], "ids": ["x"]}),
    ("the same id for two", calls(call("f", '{"a":1}', index=0, id="x"), call("g", '{"b":2}', index=1, id="x")) + CALLED + DONE, TWO),
    ("empty ids", calls(call("f", '{"a":1}', index=0, id=""), call("g", '{"b":2}', index=1, id="")) + CALLED + DONE, TWO),
    ("no arguments", calls(call("f", None, index=0, id="x")) + CALLED + DONE, {"calls": [("f", "{}")]}),
    ("empty arguments", calls(call("f", "", index=0, id="x")) + CALLED + DONE, {"calls": [("f", "{}")]}),
    ("arguments null", calls({"index": 0, "id": "x", "function": {"name": "f", "arguments": None}}) + CALLED + DONE, {"calls": [("f", "{}")]}),
    ("arguments as an object", calls({"index": 0, "id": "x", "function": {"name": "f", "arguments": {"a": 1}}}) + CALLED + DONE,
     {"calls": [("f", '{"a":1}')]}),
    ("arguments that are no JSON", calls(call("f", "{a: 1", index=0, id="x")) + CALLED + DONE, {"calls": [("f", "{a: 1")]}),
    ("a number as id", calls(call("f", "{}", index=0, id=7)) + CALLED + DONE, {"calls": [("f", "{}")], "ids": ["7"]}),
    ("a whole document", json.dumps({"model": "m", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 7, "completion_tokens": 2}}), HELLO_REPLY | {"usage": (7, 2, False)}),
    ("a whole document with calls", "\n " + json.dumps({"choices": [{"message": {"content": None, "tool_calls": [
        {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "y", "type": "function", "function": {"name": "g", "arguments": '{"b":2}'}}]}, "finish_reason": "tool_calls"}]}),
     TWO | {"ids": ["x", "y"]}),
]  # fmt: skip

HELLO_EVENTS = ROLE + HELLO
BROKEN = [
    ("nothing", "", "provider_bad_answer"),
    ("cut before the end", HELLO_EVENTS, "provider_bad_answer"),
    ("cut in an event", HELLO_EVENTS + STOP[:30], "provider_bad_answer"),
    ("[DONE] and nothing else", DONE, "provider_empty"),
    ("no text, no call", ROLE + STOP + DONE, "provider_empty"),
    ("only blanks", ROLE + chunk({"content": " \n"}) + STOP + DONE, "provider_empty"),
    ("only a call cut by length", calls(call("f", '{"a":', index=0, id="x")) + chunk(finish="length") + DONE, "provider_empty"),
    ("declined without a word", ROLE + chunk(finish="content_filter") + DONE, "provider_declined"),
    ("only thoughts", chunk({"reasoning": "Hmm"}) + STOP + DONE, "provider_empty"),
    ("bad JSON", HELLO_EVENTS + 'data: {"choices": [\n\n' + STOP + DONE, "provider_bad_answer"),
    ("a list", "data: [1]\n\n" + DONE, "provider_bad_answer"),
    ("a text", 'data: "hello"\n\n' + DONE, "provider_bad_answer"),
    ("another type", chunk({"content": 7}) + STOP + DONE, "provider_bad_answer"),
    ("bad UTF-8", b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n' + STOP.encode(), "provider_bad_answer"),
    ("a page of HTML", "<!doctype html><p>Welcome to the hotel's network", "provider_bad_answer"),
    ("a document of something else", '{"hello": "world"}', "provider_bad_answer"),
    ("a bare list", "[]", "provider_bad_answer"),
    ("a call without a name", calls(call(None, "{}", index=0, id="x")) + CALLED + DONE, "provider_bad_answer"),
    ("finish says error", HELLO_EVENTS + chunk(finish="error") + DONE, "provider_bad_answer"),
    ("every event twice, then not", "".join(e * 2 for e in (ROLE, chunk({"content": "Hel"}))) + chunk({"content": "lo"}) + STOP + DONE,
     "provider_bad_answer"),
    ("an error in the stream", HELLO_EVENTS + 'data: {"error": {"message": "overloaded", "code": 502}}\n\n', "provider_error"),
    ("a limit in the stream", HELLO_EVENTS + 'data: {"error": {"message": "slow", "code": "rate_limit_exceeded"}}\n\n', "provider_rate_limited"),
    ("no credit, in the stream", 'data: {"error": {"message": "pay", "type": "insufficient_quota"}}\n\n', "provider_refused"),
    ("an error as text", 'data: {"error": "something"}\n\n', "provider_error"),
    ("an error as a document", '{"error": {"message": "no such model", "code": 404}}', "provider_refused"),
    ("an error beside a choice", chunk({"content": "x"}, "error", error={"code": 429, "message": "slow"}) + DONE, "provider_rate_limited"),
]  # fmt: skip
