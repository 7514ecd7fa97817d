"""Messages over REST: what fits, who may, one run per request id, what is answered when it does not end well."""

import asyncio
import io
import json

import pytest

from tom.conversation.tool import ToolClass
from tom.policy.permissions import LOCAL_SCOPES, LOGIN_SCOPES, VISITOR_SCOPES, Caller, Scope
from tom.services.memory import MemoryToolbox
from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

VISITOR = Caller("visitor", "visitor", VISITOR_SCOPES)
PUBLIC = {"auth": "public"}
"""The mode in which there are visitors."""

TOKEN = Caller("alice", "token", frozenset({Scope.CHAT, Scope.READ}), "api_key:x")
LOGIN = Caller("alice", "cookie", LOGIN_SCOPES, "user:alice")
PERSON = Caller("local", "local", LOCAL_SCOPES, "user:local")
JSON = {"Content-Type": "application/json"}
ASYNC = {"Prefer": "respond-async"}


async def _anything(**arguments):
    return f"done with {arguments}"


async def test_a_message_is_answered_with_the_reply_its_usage_and_the_window(open_rest, llm):
    llm.otherwise(Script.text("Hello to you."))
    async with open_rest() as (rest, _):
        session = await rest.open()
        status, body = await rest.say(session, "hello", request_id="r1", metadata={"page": 7})
        assert status == 200
        assert body["session_id"] == session
        message = body["message"]
        assert (message["role"], message["content"]) == ("assistant", "Hello to you.")
        assert message["metadata"]["finish_reason"] == "stop"
        assert message["metadata"]["cached"] is False
        usage = body["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
        assert usage["estimated"] is False
        assert [(one["role"], one["content"]) for one in body["history"]] == [
            ("user", "hello"),
            ("assistant", "Hello to you."),
        ]
        _, events = await rest.ask("GET", f"/sessions/{session}/events")
        by_seq = {event["seq"]: event for event in events["events"]}
        assert by_seq[message["metadata"]["seq"]]["type"] == "model.replied"
        assert by_seq[2]["extra"]["metadata"] == {"page": 7}
        assert message["created_at"] == by_seq[message["metadata"]["seq"]]["timestamp"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"temperatures": 1}, "extra_forbidden"),
        ({"zzz": 1}, "extra_forbidden"),
        ({"base_url": "http://elsewhere"}, "extra_forbidden"),
        ({"temperature": 3}, "value_error"),
        ({"services": ["nowhere"]}, "value_error"),
        ([], "value_error"),
    ],
)
async def test_an_option_that_is_not_known_is_told_from_one_that_does_not_fit(open_rest, options, kind):
    async with open_rest() as (rest, _):
        session = await rest.open()
        path = f"/sessions/{session}/messages"
        _, _, error = await rest.refused("POST", path, {"content": "x", "options": options})
        assert [one["type"] for one in error["details"]["errors"]] == [kind]


async def test_the_window_that_is_answered_is_the_one_that_was_asked_for(open_rest, llm):
    llm.otherwise(Script.text("ok"))
    async with open_rest() as (rest, _):
        session = await rest.open(memory_limit=6)
        for number in range(4):
            await rest.say(session, f"m{number}")
        _, wide = await rest.say(session, "wide", memory_limit=50, request_id="r1")
        assert len(wide["history"]) == 10
        _, again = await rest.say(session, "wide", memory_limit=50, request_id="r1")
        assert (again["message"]["metadata"]["cached"], len(again["history"])) == (True, 10)
        _, narrow = await rest.say(session, "narrow", memory_limit=2)
        assert [one["content"] for one in narrow["history"]] == ["narrow", "ok"]
        _, usual = await rest.say(session, "usual")
        assert len(usual["history"]) == 6


UNFIT = [
    ({}, 422, "validation_error", "Request validation failed: content: field required"),
    ("", 422, "validation_error", "Request validation failed: content: field required"),
    ({"content": 5}, 422, "validation_error", "Request validation failed: content: a text is required"),
    ({"content": ""}, 422, "validation_error", None),
    ({"content": " \n"}, 422, "validation_error", None),
    ({"content": "a\0b"}, 422, "validation_error", None),
    ({"content": "\ud800"}, 422, "validation_error", None),
    ({"content": "x" * 200_001}, 422, "text_too_long", None),
    ({"content": "x", "role": "tool"}, 422, "validation_error", None),
    ({"content": "x", "role": "developer"}, 422, "validation_error", None),
    ({"content": "x", "role": None}, 422, "validation_error", None),
    ({"content": "x", "memory_limit": 0}, 422, "validation_error", None),
    ({"content": "x", "memory_limit": "5"}, 422, "validation_error", None),
    ({"content": "x", "memory_limit": 80}, 400, "invalid_memory_limit", "The memory limit is at most 50."),
    ({"content": "x", "request_id": ""}, 422, "validation_error", None),
    ({"content": "x", "request_id": "x" * 129}, 422, "validation_error", None),
    ({"content": "x", "request_id": 5}, 422, "validation_error", None),
    ({"content": "x", "if_busy": "wait"}, 422, "validation_error", None),
    ({"content": "x", "metadata": 5}, 422, "validation_error", None),
    ({"content": "x", "metadata": {"a": "x" * 17_000}}, 422, "metadata_too_large", None),
    ({"content": "x", "attachments": {}}, 422, "invalid_attachment", None),
    ({"content": "x", "attachments": [{}] * 5}, 422, "invalid_attachment", None),
    ({"content": "x", "attachments": [{"type": "image", "media_type": "image/png", "data": "eA=="}]}, 422,
     "invalid_attachment", None),
    ({"content": "x", "options": []}, 422, "validation_error", None),
    ({"content": "x", "options": {"temperatures": 1}}, 422, "validation_error", None),
    ({"content": "x", "options": {"temperature": 3}}, 422, "validation_error", None),
    ({"content": "x", "options": {"level": 3}}, 422, "validation_error", None),
    ({"content": "x", "options": {"max_tokens": 1001}}, 422, "validation_error", None),
    ({"content": "x", "options": {"base_url": "http://x"}}, 422, "validation_error", None),
    ({"content": "x", "options": {"services": ["nobody"]}}, 422, "validation_error", None),
    ({"content": "x", "options": {"model": "m", "level": 1}}, 400, "option_conflict", None),
    ({"content": "x", "options": {"tool_name": "nothing"}}, 400, "tool_not_found", None),
    ("[]", 400, "invalid_json", None),
    ('{"content":"x","content":"y"}', 400, "invalid_json", None),
    ('{"content":NaN}', 400, "invalid_json", None),
]  # fmt: skip


async def test_a_message_that_does_not_fit_is_named_and_stores_nothing(open_rest):
    async with open_rest() as (rest, cell):
        session = await rest.open()
        for body, status, code, message in UNFIT:
            got, named, error = await rest.refused("POST", f"/sessions/{session}/messages", body, headers=JSON)
            assert (got, named) == (status, code), (body, error)
            assert message in {None, error["message"]}
            if code == "validation_error":
                assert {"loc", "msg", "type"} == set(error["details"]["errors"][0])
        assert [event.type for event in await cell.store.read(session)] == ["conversation.opened"]


async def test_hints_lead_to_the_right_field(open_rest):
    async with open_rest() as (rest, _):
        path = f"/sessions/{await rest.open()}/messages"
        _, _, error = await rest.refused("POST", path, {"message": "hello"})
        assert error["details"]["hint"] == "Use content."
        assert error["details"]["errors"] == [{"loc": ["body", "content"], "msg": "field required", "type": "missing"}]
        _, _, error = await rest.refused("POST", path, {"content": "hello", "rolle": "user"})
        assert error["details"]["nearest"] == "role"
        _, _, error = await rest.refused("POST", path, {"content": "hello", "options": {"temperatures": 1}})
        assert error["details"]["nearest"] == "temperature"
        assert error["details"]["errors"][0]["loc"] == ["body", "options", "temperatures"]


async def test_what_does_not_fit_is_said_before_what_does_not_exist_and_that_before_what_is_not_allowed(open_rest):
    async with open_rest(caller=VISITOR, doors=PUBLIC) as (rest, _):
        both = {"content": "x", "role": "system", "memory_limit": 80}
        assert (await rest.refused("POST", "/sessions/none/messages", {"role": "tool"}))[:2] == (
            422,
            "validation_error",
        )
        assert (await rest.refused("POST", "/sessions/none/messages", both))[:2] == (404, "session_not_found")
        path = f"/sessions/{await rest.open()}/messages"
        assert (await rest.refused("POST", path, both))[:2] == (403, "role_not_allowed")
        assert (await rest.refused("POST", path, {"content": "x", "memory_limit": 80}))[:2] == (
            400,
            "invalid_memory_limit",
        )


OPTIONS = {
    "model": "m", "level": 0, "tool_name": "add", "services": ["notes"], "thinking": "low",
    "temperature": 0.5, "top_p": 0.5, "max_tokens": 10,
}  # fmt: skip


@pytest.mark.parametrize("caller", [VISITOR, TOKEN, LOGIN, PERSON], ids=["visitor", "token", "login", "person"])
async def test_options_are_for_whom_the_table_says(open_rest, llm, caller):
    llm.otherwise(Script.text("ok"))
    toolbox = MemoryToolbox()
    toolbox.add(_anything, service="notes", name="add", tool_class=ToolClass.READ_PUBLIC)
    async with open_rest(caller=caller, toolbox=toolbox, services=["notes"], doors=PUBLIC) as (rest, _):
        session = await rest.open()
        for option, value in OPTIONS.items():
            status, body = await rest.say(session, "hello", options={option: value})
            if caller in {VISITOR, TOKEN} and option not in {"temperature", "top_p", "max_tokens"}:
                assert (status, body["error"]["code"]) == (403, "option_not_allowed")
                assert body["error"]["details"] == {"option": option}
            else:
                assert status == 200, (option, body)


@pytest.mark.parametrize("role", ["system", "assistant"])
@pytest.mark.parametrize("caller", [VISITOR, TOKEN, LOGIN], ids=["visitor", "token", "login"])
async def test_another_role_needs_its_scope(open_rest, caller, role):
    async with open_rest(caller=caller, doors=PUBLIC) as (rest, cell):
        session = await rest.open()
        status, body = await rest.say(session, "hello", role=role)
        assert (status, body["error"]["code"]) == (403, "role_not_allowed")
        assert len(await cell.store.read(session)) == 1


async def test_instructions_and_earlier_replies_are_kept_as_such_and_answered(open_rest, llm):
    llm.otherwise(Script.text("Understood."))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        for role, content in (("system", "Speak like a pirate."), ("assistant", "Arr."), ("user", "Hello?")):
            status, body = await rest.say(session, content, role=role)
            assert (status, body["message"]["content"]) == (200, "Understood."), role
        kinds = [(event.type, event.role) for event in await cell.store.read(session) if event.content]
        assert kinds[:4] == [
            ("prompt.set", "system"), ("model.replied", "assistant"),
            ("message.received", "assistant"), ("model.replied", "assistant"),
        ]  # fmt: skip
        sent = llm.requests[-1].messages
        assert any("pirate" in str(one["content"]) and one["role"] == "system" for one in sent)
        assert any(one["content"] == "Arr." and one["role"] == "assistant" for one in sent)
        _, shown = await rest.ask("GET", f"/sessions/{session}")
        assert "pirate" not in str(shown)


async def test_a_memory_limit_bounds_the_window_of_its_request_only(open_rest, llm):
    llm.otherwise(Script.text("fine"))
    async with open_rest() as (rest, _):
        session = await rest.open(memory_limit=5)
        for number in range(4):
            await rest.say(session, f"number {number}")
        _, body = await rest.say(session, "now")
        assert [one["content"] for one in body["history"] if one["role"] == "user"] == ["number 3", "now"]

        def said():
            return [one["content"] for one in llm.requests[-1].messages if one["role"] == "user"]

        assert [text.rpartition("\n")[2] for text in said()][-3:] == ["number 2", "number 3", "now"]
        await rest.say(session, "alone", memory_limit=1)
        assert "now" not in said()
        await rest.say(session, "again", memory_limit=50)
        assert "number 0" in said()


# --- once --------------------------------------------------------------------------------------------------------


async def test_the_same_request_is_answered_once_from_what_was_recorded(open_rest, llm):
    llm.otherwise(Script.text("once"))
    async with open_rest() as (rest, _):
        session = await rest.open()
        first = await rest.say(session, "hello", request_id="r1")
        asked = len(llm.requests)
        status, again = await rest.say(session, "hello", headers={"Idempotency-Key": "r1"})
        assert status == 200
        assert again["message"]["metadata"].pop("cached") is True
        assert first[1]["message"]["metadata"].pop("cached") is False
        assert again == first[1]
        assert len(llm.requests) == asked
        path = f"/sessions/{session}/messages"
        assert (await rest.refused("POST", path, {"content": "other", "request_id": "r1"}))[:2] == (
            409,
            "request_id_reused",
        )
        both = {"content": "hello", "request_id": "r2"}
        refused = await rest.refused("POST", path, both, headers={"Idempotency-Key": "r3"})
        assert refused[:2] == (400, "request_id_conflict")
        assert (await rest.ask("POST", path, both, headers={"Idempotency-Key": "r2"}))[0] == 200
        refused = await rest.refused("POST", path, {"content": "x"}, headers={"Idempotency-Key": "not ok"})
        assert refused[:2] == (422, "validation_error")


async def test_the_same_request_while_it_runs_waits_for_the_same_run(open_rest, llm):
    llm.otherwise(Script.chunks(20, 5, delay=0.02))
    async with open_rest() as (rest, _):
        session = await rest.open()
        answers = await asyncio.gather(*(rest.say(session, "hello", request_id="r1") for _ in range(3)))
        assert {status for status, _ in answers} == {200}
        assert len({body["message"]["metadata"]["run_id"] for _, body in answers}) == 1
        assert len({body["message"]["content"] for _, body in answers}) == 1
        assert len(llm.requests) == 1


async def test_a_busy_session_queues_refuses_or_interrupts(open_rest, llm, until):
    llm.otherwise(Script.chunks(300, 5, delay=0.02))
    async with open_rest(max_queue=1) as (rest, cell):
        session = await rest.open()
        _, first = await rest.say(session, "one", headers=ASYNC)
        assert rest.headers["Preference-Applied"] == "respond-async"
        await until(lambda: cell.feed.live(first["run_id"]))
        path = f"/sessions/{session}/messages"
        assert (await rest.refused("POST", path, {"content": "x", "if_busy": "reject"}))[:2] == (
            409,
            "conversation_busy",
        )
        _, queued = await rest.say(session, "two", headers=ASYNC)
        assert (queued["status"], queued["session_id"]) == ("queued", session)
        assert (await rest.refused("POST", path, {"content": "three"}))[:2] == (409, "queue_full")
        await rest.ask("POST", f"/sessions/{session}/stop", {"queued": True})
        _, slow = await rest.say(session, "four", headers=ASYNC)
        await until(lambda: cell.feed.live(slow["run_id"]))
        llm.otherwise(Script.text("at once"))
        status, body = await rest.say(session, "five", if_busy="interrupt")
        assert (status, body["message"]["content"]) == (200, "at once")
        assert (await cell.conversations.run(slow["run_id"])).state == "cancelled"


# --- not at once -------------------------------------------------------------------------------------------------


async def test_after_the_time_that_is_waited_the_answer_says_how_it_stands(open_rest, llm, until):
    llm.otherwise(Script.chunks(100, 5, delay=0.02))
    async with open_rest(doors={"rest_wait_seconds": 0.2}) as (rest, _):
        session = await rest.open()
        status, body = await rest.say(session, "hello", request_id="r1")
        assert (status, body["status"], body["session_id"]) == (202, "running", session)
        _, events = await rest.ask("GET", f"/sessions/{session}/events?after={body['seq']}&wait=20")
        assert events["events"][0]["extra"]["run_id"] == body["run_id"]
        await rest.ask("POST", f"/sessions/{session}/stop")
        status, again = await rest.say(session, "hello", request_id="r1", headers=ASYNC)
        assert (status, again["message"]["metadata"]["finish_reason"]) == (200, "cancelled")
        assert again["message"]["metadata"]["cached"] is True


async def test_a_run_that_asks_its_person_answers_202_with_what_is_asked_and_goes_on_when_answered(
    open_rest, llm, until
):
    toolbox = MemoryToolbox()
    toolbox.add(_anything, service="mail", name="send", tool_class=ToolClass.WRITE_EXTERNAL)
    llm.reply(Script.tool_calls(("send", {"to": "bob"})))
    llm.otherwise(Script.text("Done."))
    async with open_rest(toolbox=toolbox, services=["mail"]) as (rest, _):
        session = await rest.open()
        status, body = await rest.say(session, "write to bob", request_id="r1")
        assert (status, body["status"]) == (202, "waiting")
        asked = body["approval"]
        assert (asked["tool"], asked["arguments"], asked["run_id"]) == ("send", {"to": "bob"}, body["run_id"])
        assert (await rest.ask("GET", f"/sessions/{session}"))[1]["state"] == "waiting"
        assert (await rest.ask("GET", "/approvals"))[1]["approvals"] == [asked]
        status, same = await rest.say(session, "write to bob", request_id="r1")
        assert (status, same) == (202, body)
        word = {"decision": "allow", "arguments_digest": asked["arguments_digest"]}
        assert (await rest.ask("POST", f"/approvals/{asked['approval_id']}", word))[0] == 200
        status, done = await rest.say(session, "write to bob", request_id="r1")
        assert (status, done["message"]["content"]) == (200, "Done.")
        assert (await rest.refused("POST", f"/approvals/{asked['approval_id']}", word))[:2] == (409, "already_answered")


# --- not well ----------------------------------------------------------------------------------------------------


async def test_a_failed_model_call_keeps_the_message_is_told_again_and_is_retried_by_name(open_rest, llm):
    llm.otherwise(Script.fault(Fault.UNAUTHORIZED))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        path = f"/sessions/{session}/messages"
        status, code, error = await rest.refused("POST", path, {"content": "hello", "request_id": "r1"})
        assert (status, code) == (502, "provider_error")
        details = error["details"]
        assert (details["source"], details["retryable"]) == ("provider", False)
        assert "simulated" not in error["message"]
        _, _, again = await rest.refused("POST", path, {"content": "hello", "request_id": "r1"})
        assert again == {**error, "details": {**details, "cached": True}}
        events = [event.type for event in await cell.store.read(session)]
        assert events.count("message.received") == events.count("run.failed") == 1
        llm.otherwise(Script.text("better now"))
        run = f"/sessions/{session}/runs/{details['run_id']}/retry"
        status, body = await rest.ask("POST", run)
        assert (status, body["message"]["content"]) == (200, "better now")
        assert [one["content"] for one in body["history"]] == ["hello", "better now"]
        done = body["message"]["metadata"]["run_id"]
        refused = await rest.refused("POST", f"/sessions/{session}/runs/{done}/retry")
        assert refused[:2] == (409, "run_not_retryable")
        assert (await rest.refused("POST", f"/sessions/{session}/runs/nobody/retry"))[:2] == (404, "run_not_found")
        assert (await rest.refused("POST", run, {"content": "x"}))[:2] == (422, "validation_error")


async def test_without_a_provider_a_session_opens_and_a_message_says_what_to_set(open_rest, llm):
    async with open_rest(model="unconfigured") as (rest, cell):
        session = await rest.open()
        status, code, error = await rest.refused("POST", f"/sessions/{session}/messages", {"content": "hello"})
        assert (status, code) == (502, "provider_error")
        assert error["message"] == (
            "No chat providers are configured. Set OPENROUTER_KEY or another provider credential before sending chat "
            "requests."
        )
        assert error["details"]["retryable"] is False
        assert (await cell.store.read(session))[1].content == "hello"


async def test_while_draining_a_message_is_refused_with_when_to_come_back(open_rest):
    async with open_rest() as (rest, cell):
        session = await rest.open()
        cell.scheduler.draining = True
        refused = await rest.refused("POST", f"/sessions/{session}/messages", {"content": "hello"})
        assert refused[:2] == (503, "shutting_down")
        assert rest.headers["Retry-After"] == "2"
        assert (await rest.refused("POST", "/sessions"))[:2] == (503, "shutting_down")


async def test_a_model_that_is_not_listed_is_refused_with_those_that_are(open_rest):
    more = {"client_models": "listed", "listed_models": ("good",)}
    async with open_rest(more=more) as (rest, _):
        path = f"/sessions/{await rest.open()}/messages"
        status, code, error = await rest.refused("POST", path, {"content": "x", "options": {"model": "other"}})
        assert (status, code, error["details"]) == (400, "model_not_allowed", {"allowed": ["good"]})


async def test_a_client_that_goes_away_stops_nothing(open_rest, llm, until):
    llm.otherwise(Script.chunks(30, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        sending = asyncio.ensure_future(rest.say(session, "hello", request_id="r1"))
        await until(lambda: cell.scheduler.active_run(session))
        sending.cancel()
        await asyncio.wait([sending])
        status, body = await rest.say(session, "hello", request_id="r1")
        assert (status, body["message"]["metadata"]["finish_reason"]) == (200, "stop")
        assert len(llm.requests) == 1


async def test_pictures_and_texts_come_with_a_message(open_rest, llm):
    llm.otherwise(Script.text("A note."))
    async with open_rest() as (rest, _):
        session = await rest.open()
        note = {"type": "text", "name": "note.txt", "data": "IMPORTANT"}
        status, body = await rest.say(session, "what is this?", attachments=[note])
        assert status == 200
        (kept,) = body["history"][0]["metadata"]["attachments"]
        _, file = await rest.ask("GET", f"/sessions/{session}/files/{kept['file']}")
        assert (file["text"], file["media_type"]) == ("IMPORTANT", "text/plain")
        assert "IMPORTANT" in str(llm.requests[-1].messages)
        large = {"type": "text", "name": "large.txt", "data": "x" * (5 * 1024 * 1024 + 1)}
        body = io.BytesIO(json.dumps({"content": "x", "attachments": [large]}).encode())
        refused = await rest.refused("POST", f"/sessions/{session}/messages", data=body, headers=JSON)
        assert refused[:2] == (413, "attachment_too_large")


async def test_a_message_whose_session_is_erased_is_answered_as_cancelled_or_not_there_any_more(open_rest, llm, until):
    llm.otherwise(Script.chunks(200, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        saying = asyncio.ensure_future(rest.say(session, "hello"))
        await until(lambda: cell.scheduler.active_run(session))
        async with rest.http.delete(f"/sessions/{session}") as answer:
            assert answer.status == 204
        status, body = await saying
        if status == 200:  # its run was cancelled first, and the answer was quicker than the rest
            assert body["message"]["metadata"]["finish_reason"] == "cancelled"
        else:
            assert (status, body["error"]["code"]) == (404, "session_not_found")


async def test_what_is_waited_for_is_an_event_and_no_fragment(open_rest, llm, until):
    llm.otherwise(Script.chunks(40, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        _, run = await rest.say(session, "hello", headers=ASYNC)
        await until(lambda: cell.feed.live(run["run_id"]) and cell.feed.live(run["run_id"]).text)
        _, before = await rest.ask("GET", f"/sessions/{session}/events")
        _, page = await rest.ask("GET", f"/sessions/{session}/events?after={before['last_seq']}&wait=20")
        assert page["events"][0]["type"] == "model.replied"
