"""The OpenAI-compatible door: what is asked and answered, whole and as a stream."""

import asyncio
import functools
import json

import pytest

from tom.agent import openaidoor
from tom.agent.identify import BehindGateway
from tom.agent.sse import kept_alive
from tom.config.agent import DoorSettings
from tom.config.secret import Secret
from tom.store.eventstore import RunFilter
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "function", "function": {"name": "weather"}}


# --- the answer ------------------------------------------------------------------------------------------------------


async def test_an_answer_has_the_shape_that_openai_clients_read(open_cell, v1, llm):
    llm.reply(Script.text("Good day.", usage=(30, 12)))
    async with open_cell() as cell, v1(cell) as client:
        status, body = await client.post("Hello!")
        tom = body.pop("tom")
        (run,) = await cell.store.runs(RunFilter(run_id=tom["run_id"]))
        created = body.pop("created")
    assert status == 200
    assert body == {
        "id": f"chatcmpl-{run.id}",
        "object": "chat.completion",
        "model": "tom",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Good day.", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42},
    }
    assert tom == {"conversation_id": run.conversation_id, "run_id": run.id, "status": "completed"}
    assert isinstance(created, int)
    assert client.headers["X-Tom-Conversation"] == run.conversation_id


async def test_a_stream_begins_with_the_role_and_ends_with_its_reason_usage_and_done(open_cell, v1, llm):
    llm.reply(Script.text("", pieces=["Good ", "day", "."], delay=0.06, usage=(30, 12)))
    async with open_cell() as cell, v1(cell) as client:
        pieces = await client.stream("Hello!", stream_options={"include_usage": True})
    *chunks, last, used, done = pieces
    assert client.headers["Content-Type"].startswith("text/event-stream")
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in (*chunks, last, used)} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in (*chunks, last, used)}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * len(chunks)
    assert client.text(pieces) == "Good day."
    assert len(chunks) > 2, "it came in fragments"
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["tom"]["status"] == "completed"
    assert (used["choices"], used["usage"]) == (
        [],
        {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42},
    )


async def test_without_the_wish_a_stream_tells_no_usage(open_cell, v1, llm):
    llm.reply(Script.text("ok"))
    async with open_cell() as cell, v1(cell) as client:
        pieces = await client.stream("Hello!")
    assert all("usage" not in piece for piece in pieces[:-1])


async def test_whole_and_streamed_an_answer_of_several_turns_is_the_same_text(open_cell, v1, llm, shop):
    answers = {}
    async with open_cell(toolbox=shop(), services=["shop"]) as cell, v1(cell) as client:
        for way in ("whole", "streamed"):
            llm.reply(Script.tool_calls(("search", {"query": "tent"}), text="Let me look."), Script.text("The Aras."))
            if way == "whole":
                answers[way] = (await client.post("Which tent?"))[1]["choices"][0]["message"]["content"]
            else:
                answers[way] = client.text(await client.stream("Which tent?"))
    assert answers["whole"] == answers["streamed"] == "Let me look.\n\nThe Aras."


async def test_toms_own_tools_run_inside_and_are_not_shown(open_cell, v1, llm, shop):
    toolbox = shop()
    llm.reply(Script.tool_calls(("search", {"query": "tent"})), Script.text("The Aras."))
    async with open_cell(toolbox=toolbox, services=["shop"]) as cell, v1(cell) as client:
        _, body = await client.post("Which tent?")
    assert "tool_calls" not in body["choices"][0]["message"]
    assert body["choices"][0]["finish_reason"] == "stop"
    assert [call.tool for call in toolbox.calls] == ["search"]


@pytest.mark.parametrize(
    ("model", "asked"), [("tom", "m"), ("tom-0", "s"), ("tom-1", "m"), ("tom-2", "l"), ("own", "own")]
)
async def test_a_name_chooses_the_level_or_the_model(open_cell, v1, llm, model, asked):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell, v1(cell) as client:
        status, body = await client.post("Hello!", model=model)
    assert status == 200
    assert body["model"] == model
    assert llm.requests[-1].json["model"] == asked


async def test_what_forms_the_reply_reaches_the_provider(open_cell, v1, llm):
    llm.otherwise(Script.text("{}"))
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
    async with open_cell() as cell, v1(cell) as client:
        await client.post(
            "Hello!", temperature=0.2, top_p=0.5, max_completion_tokens=77, stop="END", seed=7, response_format=form,
            tools=[WEATHER], parallel_tool_calls=False,
        )  # fmt: skip
    sent = llm.requests[-1].json
    wanted = {"temperature": 0.2, "top_p": 0.5, "max_tokens": 77, "stop": ["END"], "seed": 7, "response_format": form}
    assert {name: sent[name] for name in wanted} == wanted
    assert sent["parallel_tool_calls"] is False


# --- what is told ----------------------------------------------------------------------------------------------------


async def test_instructions_stand_after_toms_own_and_what_was_said_before_in_order(open_cell, v1, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell, v1(cell) as client:
        await client.post([
            {"role": "system", "content": "Answer in rhymes."},
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": "Hello Ada."},
            {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
            {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "my name?"}]},
        ])  # fmt: skip
    messages = llm.requests[-1].messages
    system = [said["content"] for said in messages if said["role"] == "system"]
    assert system[0].startswith("You are Tom")
    assert system[1:3] == ["Answer in rhymes.", "Be short."]
    assert [(said["role"], said["content"]) for said in messages if said["role"] != "system"] == [
        ("user", "My name is Ada."),
        ("assistant", "Hello Ada."),
        ("user", "What is\nmy name?"),
    ]


async def test_pictures_in_data_urls_are_shown_to_the_model(open_cell, v1, llm):
    llm.otherwise(Script.text("A dot."))
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}
    async with open_cell() as cell, v1(cell) as client:
        status, _ = await client.post([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}])
        assert status == 200
        (said,) = [said for said in llm.requests[-1].messages if said["role"] == "user"]
        assert [part["type"] for part in said["content"]] == ["text", "image_url"]
        assert said["content"][1]["image_url"]["url"].endswith(PIXEL)
        await client.post([
            {"role": "user", "content": [picture]},
            {"role": "assistant", "content": "A dot."},
            {"role": "user", "content": "Which colour?"},
        ])  # fmt: skip
        assert PIXEL in llm.requests[-1].body.decode(), "a picture of an earlier message goes with the newest"


async def test_a_model_that_cannot_see_is_sent_no_picture(open_cell, v1):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    async with open_cell(vision=False) as cell, v1(cell) as client:
        status, body = await client.post([{"role": "user", "content": [picture]}])
    assert (status, body["error"]["code"]) == (422, "model_has_no_vision")


# --- conversations ---------------------------------------------------------------------------------------------------


async def test_calls_that_stand_for_themselves_are_not_among_the_conversations(open_cell, v1, llm):
    llm.otherwise(Script.text("ok"))
    async with open_cell() as cell, v1(cell) as client:
        _, alone = await client.post("Hello!")
        await client.post("Hello!", headers={"X-Tom-Conversation": "c1"})
        _, listed = await client.get("/sessions")
        kinds = {
            row.id: row.kind for row in await cell.store.conversations(ids=["c1", alone["tom"]["conversation_id"]])
        }
    assert [session["id"] for session in listed["sessions"]] == ["c1"]
    assert kinds == {"c1": "chat", alone["tom"]["conversation_id"]: "api"}


async def test_in_a_conversation_only_what_is_new_is_stored(open_cell, v1, llm):
    llm.otherwise(Script.text("Nice to meet you."))
    system = {"role": "system", "content": "Be kind."}
    talk = [system, {"role": "user", "content": "I am Ada."}]
    async with open_cell() as cell, v1(cell) as client:
        for text in ("What is my name?", "Thank you."):
            _, body = await client.post(talk, metadata={"conversation_id": "c1"})
            talk += [body["choices"][0]["message"], {"role": "user", "content": text}]
        await client.post(talk, metadata={"conversation_id": "c1"})
        events = await cell.store.read("c1")
    received = [event for event in events if event.type == "message.received"]
    assert [event.content for event in received] == ["I am Ada.", "What is my name?", "Thank you."]
    assert not any("prior" in event.extra for event in received)
    assert [event.content for event in events if event.type == "prompt.set"] == ["Be kind."]
    said = [said["content"] for said in llm.requests[-1].messages if said["role"] != "system"]
    assert said == ["I am Ada.", "Nice to meet you.", "What is my name?", "Nice to meet you.", "Thank you."]


# --- repetition ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P3")
@pytest.mark.parametrize("conversation", [None, "c1"])
async def test_the_same_key_makes_one_run_whole_and_streamed(open_cell, v1, llm, conversation):
    llm.otherwise(Script.text("Once."))
    headers = {"Idempotency-Key": "k1"} | ({"X-Tom-Conversation": conversation} if conversation else {})
    told = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Again?"},
    ]
    async with open_cell() as cell, v1(cell) as client:
        _, first = await client.post(told, headers=headers)
        _, again = await client.post(told, headers=headers)
        pieces = await client.stream(told, headers=headers)
        status, refused = await client.post("Something else", headers=headers)
    assert again == first
    assert client.text(pieces) == "Once."
    assert pieces[-2]["tom"] == first["tom"]
    assert len(llm.requests) == 1
    assert (status, refused["error"]["code"]) == (409, "request_id_reused")


async def test_a_repeated_stream_has_the_text_of_all_turns(open_cell, v1, llm, shop):
    llm.reply(Script.tool_calls(("search", {"query": "tent"}), text="Let me look."), Script.text("The Aras."))
    async with open_cell(toolbox=shop(), services=["shop"]) as cell, v1(cell) as client:
        for _ in range(2):
            pieces = await client.stream("Which tent?", headers={"Idempotency-Key": "k"})
            assert client.text(pieces) == "Let me look.\n\nThe Aras."


@pytest.mark.promise("P3")
async def test_a_storm_of_one_key_is_one_run(open_cell, v1, llm):
    llm.otherwise(Script.text("Once.", delay=0.02))
    async with open_cell() as cell, v1(cell) as client:
        answers = await asyncio.gather(*(client.post("Hi", headers={"Idempotency-Key": "k"}) for _ in range(12)))
    assert {status for status, _ in answers} == {200}
    assert len({body["id"] for _, body in answers}) == 1
    assert {body["choices"][0]["message"]["content"] for _, body in answers} == {"Once."}
    assert len(llm.requests) == 1


async def test_calls_at_the_same_time_are_runs_of_their_own(open_cell, v1, llm):
    llm.when("", lambda request: Script.text(request.last_user_text.upper(), delay=0.01))
    async with open_cell() as cell, v1(cell) as client:
        answers = await asyncio.gather(*(client.post(f"hello {number}") for number in range(8)))
    assert [body["choices"][0]["message"]["content"] for _, body in answers] == [f"HELLO {n}" for n in range(8)]


@pytest.mark.promise("P5")
async def test_a_client_that_leaves_stops_nothing_and_finds_its_answer_by_the_key(open_cell, v1, llm, until):
    llm.reply(Script.text("The whole answer.", delay=0.1))
    async with open_cell() as cell, v1(cell) as client:
        asked = {"model": "tom", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        async with client.http.post("/v1/chat/completions", json=asked, headers={"Idempotency-Key": "k1"}) as given:
            await given.content.readany()
        _, body = await client.post("Hello", headers={"Idempotency-Key": "k1"})
    assert body["choices"][0]["message"]["content"] == "The whole answer."
    assert len(llm.requests) == 1


async def test_an_answer_that_takes_too_long_is_told_so_and_goes_on(open_cell, v1, llm):
    llm.reply(Script.text("Slow but sure.", delay=0.2))
    doors = DoorSettings(rest_wait_seconds=0.1)
    async with open_cell(more={"doors": doors}) as cell, v1(cell) as client:
        status, body = await client.post("Hello", headers={"Idempotency-Key": "k1"})
        assert (status, body["error"]["code"], body["error"]["type"]) == (504, "answer_pending", "server_error")
        assert client.headers["x-should-retry"] == "false"
        pieces = await client.stream("Hello", headers={"Idempotency-Key": "k1"})
    assert client.text(pieces) == "Slow but sure."
    assert len(llm.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_meets_a_restart_once_accepted_is_not_sent_again_by_itself(open_cell, v1, llm, until, stream):
    llm.reply(Script.text("Slow but sure.", thinking="Let me see.", delay=5))
    async with open_cell() as cell, v1(cell) as client:
        calling = asyncio.ensure_future(client.http.post("/v1/chat/completions", json=asked_for("Hello", stream)))
        await until(lambda: llm.requests)
        cell.feed.close()  # as when the agent stops
        given = await calling
        body = json.loads(await given.text())
    assert (given.status, body["error"]["code"]) == (504, "answer_pending")
    assert given.headers["x-should-retry"] == "false"
    assert "Retry-After" not in given.headers


async def test_a_restart_within_a_stream_does_not_tell_to_send_the_message_again(open_cell, v1, llm):
    llm.reply(Script.text("Slow but sure, and long enough to be cut.", delay=0.5))
    async with (
        open_cell() as cell,
        v1(cell) as client,
        client.http.post("/v1/chat/completions", json=asked_for("Hello", stream=True)) as given,
    ):
        begun = await given.content.readany()
        cell.feed.close()
        rest = await given.read()
    assert given.status == 200
    assert b"answer_pending" in begun + rest
    assert b"send the message again" not in begun + rest


def asked_for(text, stream):
    return {"model": "tom", "messages": [{"role": "user", "content": text}], "stream": stream}


# --- errors ----------------------------------------------------------------------------------------------------------


async def test_a_failure_before_the_first_byte_keeps_its_status(open_cell, v1, llm):
    llm.otherwise(Script.fault("unauthorized"))
    async with open_cell() as cell, v1(cell) as client:
        (piece,) = await client_errors(client)
        status, body = await client.post("Hello")
    assert (status, body["error"]["code"], body["error"]["type"]) == (502, "provider_error", "server_error")
    assert piece == (502, "provider_error")


async def client_errors(client):
    asked = {"model": "tom", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    async with client.http.post("/v1/chat/completions", json=asked) as given:
        body = json.loads(await given.text())
        return [(given.status, body["error"]["code"])]


@pytest.mark.promise("P2")
async def test_after_the_first_byte_a_failure_is_one_error_and_done_and_nothing_is_spliced(open_cell, v1, llm):
    llm.reply(Script.fault("cut", text="one two three four five six", after=3), Script.text("a second attempt"))
    async with open_cell() as cell, v1(cell) as client:
        pieces = await client.stream("Hello")
    *chunks, error, done = pieces
    assert client.text(chunks).startswith("one ")
    assert "second" not in json.dumps(pieces)
    assert error["error"]["code"] == "provider_bad_answer"
    assert error["error"]["type"] == "server_error"
    assert error["request_id"] == client.headers["X-Request-ID"]
    assert done == "[DONE]"
    assert len(llm.requests) == 1


async def test_while_nothing_is_said_a_stream_is_kept_alive_and_then_failures_are_told_in_it(
    open_cell, v1, llm, monkeypatch
):
    monkeypatch.setattr(openaidoor, "kept_alive", functools.partial(kept_alive, seconds=0.05))
    async with open_cell() as cell, v1(cell) as client:
        llm.reply(Script.text("", pieces=["", "late"], delay=0.2))
        pieces = await client.stream("Hello")
        assert client.comments[0] == ": ping"
        assert client.text(pieces) == "late"
        llm.otherwise(Script.text("", pieces=["", ""], delay=0.1))
        error, done = await client.stream("Hello")
        assert client.status == 200
        assert (error["error"]["type"], done) == ("server_error", "[DONE]")


async def test_a_whole_answer_is_the_second_attempts_when_the_first_fails(open_cell, v1, llm):
    llm.reply(Script.fault("cut", text="one two three four five six", after=3), Script.text("a second attempt"))
    async with open_cell() as cell, v1(cell) as client:
        _, body = await client.post("Hello")
    assert body["choices"][0]["message"]["content"] == "a second attempt"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("POST", "/v1/embeddings", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/gpt-9", 404, "model_not_found"),
        ("GET", "/v1/models/some/where", 404, "model_not_found"),
    ],
)
async def test_below_v1_everything_is_told_in_openais_shape(open_cell, v1, method, path, status, code):
    async with open_cell() as cell, v1(cell) as client, client.http.request(method, path) as given:
        body = json.loads(await given.text())
    assert (given.status, body["error"]["code"], body["error"]["type"]) == (status, code, "invalid_request_error")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["request_id"] == given.headers["X-Request-ID"]


async def test_who_is_not_let_in_is_told_so_in_openais_shape(open_cell, v1):
    async with open_cell() as cell, v1(cell, BehindGateway("alice", Secret("s3cret"))) as client:
        status, body = await client.get("/v1/models")
        assert (status, body["error"]["type"], body["error"]["code"]) == (
            401,
            "authentication_error",
            "authentication_required",
        )
    caller = {
        "X-Tom-User": "alice", "X-Tom-Agent-Secret": "s3cret", "X-Tom-Door": "token", "X-Tom-Scopes": "chat read",
    }  # fmt: skip
    async with open_cell() as cell, v1(cell, BehindGateway("alice", Secret("s3cret")), caller) as client:
        status, body = await client.post("Hello")
        assert (status, body["error"]["type"], body["error"]["code"]) == (403, "permission_error", "scope_missing")
    async with (
        open_cell() as cell,
        v1(cell, BehindGateway("alice", Secret("s3cret")), caller | {"X-Tom-Scopes": "openai"}) as client,
    ):
        assert (await client.get("/v1/models"))[0] == 200


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["tom", "tom-0", "tom-1", "tom-2", "s", "m", "l"]),
        ({"client_models": "none"}, ["tom", "tom-0", "tom-1", "tom-2"]),
        (
            {"client_models": "listed", "listed_models": ("own/one", "m")},
            ["tom", "tom-0", "tom-1", "tom-2", "own/one", "m"],
        ),
    ],
)
async def test_the_models_are_toms_names_and_those_that_may_be_named(open_cell, v1, llm, settings, names):
    llm.otherwise(Script.text("ok"))
    async with open_cell(more=settings) as cell, v1(cell) as client:
        status, body = await client.get("/v1/models")
        assert status == 200
        assert body["object"] == "list"
        assert [model["id"] for model in body["data"]] == names
        assert {model["object"] for model in body["data"]} == {"model"}
        for name in names:
            assert await client.get(f"/v1/models/{name}") == (200, body["data"][names.index(name)])
            assert (await client.post("Hello", model=name))[0] == 200


async def test_a_model_that_may_not_be_named_is_refused_with_those_that_may(open_cell, v1):
    more = {"client_models": "listed", "listed_models": ("own",)}
    async with open_cell(more=more) as cell, v1(cell) as client:
        status, body = await client.post("Hello", model="gpt-9")
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, "model_not_allowed", "model")
    assert "tom, tom-0, tom-1, tom-2, own" in body["error"]["message"]
