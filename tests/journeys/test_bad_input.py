"""Whatever is wrong gets the answer of the contract's dialect, and the conversation stays usable."""

import json

import pytest
from websockets.exceptions import ConnectionClosed

from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FRAMES = [
    ("no json at all", "invalid_json"),
    ("[1,2]", "invalid_json"),
    ('{"action":"chat","action":"chat"}', "invalid_json"),
    ('{"action":"chat","payload":' + "[" * 70 + "]" * 70 + "}", "invalid_json"),
    ('{"action":"fly","request_id":"r1"}', "unknown_action"),
    ('{"request_id":"r1"}', "unknown_action"),
    ('{"action":"chat","request_id":"r1","payload":[]}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":""}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":5}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"a\\u0000b"}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"\\ud800"}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","zebra":1}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","streaming":"yes"}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","if_busy":"wait"}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","options":{"api_base":"http://evil"}}}', "invalid_option"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","options":{"level":9}}}', "invalid_option"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","options":{"services":["nope"]}}}', "invalid_option"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","conversation_id":"../../etc"}}', "invalid_conversation_id"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","metadata":[]}}', "invalid_message"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","options":{"model":"m","level":1}}}', "option_conflict"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","options":{"tool_name":"nope"}}}', "tool_not_found"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","attachments":{}}}', "invalid_attachment"),
    ('{"action":"chat","request_id":"r1","payload":{"text":"x","attachments":[{"type":"image","data":"%"}]}}', "invalid_attachment"),
    ('{"action":"prompt","request_id":"r1","payload":{"name":"nope"}}', "prompt_not_found"),
    ('{"action":"prompt","request_id":"r1","payload":{"name":"nope","arguments":[]}}', "invalid_arguments"),
    ('{"action":"approve","request_id":"r1","payload":{"approval_id":"x"}}', "invalid_message"),
    ('{"action":"approve","request_id":"r1","payload":{"approval_id":"x","decision":"allow","arguments_digest":"d"}}', "approval_not_found"),
    ('{"action":"answer","request_id":"r1","payload":{"elicitation_id":"x","outcome":"decline"}}', "elicitation_not_found"),
    ('{"action":"resume","request_id":"r1","payload":{"conversation_id":"nowhere"}}', "conversation_not_found"),
    ('{"action":"resume","request_id":"r1","payload":{}}', "invalid_conversation_id"),
    ('{"action":"stop","request_id":"r1","payload":{"conversation_id":"nowhere"}}', "conversation_not_found"),
]  # fmt: skip


@pytest.mark.promise("P23")
async def test_each_bad_frame_gets_its_code_and_the_socket_stays_open(open_house, llm):
    llm.reply(Script.text("still here"))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        for text, code in FRAMES:
            await chat.connection.send(text)
            frame = await chat.receive()
            assert (frame["status"], frame["error"]["code"]) == ("error", code), text
            assert frame["chunk"]["error"] == frame["error"]["message"]
        too_long = await chat.ask("chat", text="x" * 200_001)
        assert too_long["error"]["code"] == "text_too_long"
        heavy = await chat.ask("chat", text="x", metadata={"a": "y" * 17_000})
        assert heavy["error"]["code"] == "metadata_too_large"
        assert (await chat.say("are you there?")).text == "still here"
        assert (await alice.get("/sessions"))["sessions"][0]["title"] == "are you there?"


@pytest.mark.parametrize(("message", "code"), [(b"\x00\x01", 1003), ("x" * 16_777_300, 1009)])
async def test_a_binary_or_oversized_frame_closes_the_socket_with_its_code(open_house, message, code):
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        await chat.connection.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await chat.receive()
    assert closed.value.rcvd.code == code


async def test_twenty_frames_that_are_not_json_close_the_socket(open_house):
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(21):
                await chat.connection.send("{")
                await chat.receive()
    assert closed.value.rcvd.code == 4400


async def test_resuming_beyond_the_end_names_the_last_number(open_house, llm):
    llm.otherwise(Script.text("ok"))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        spoken = await chat.say("hello")
        for after in (999, -1, "7", 1.5):
            frame = await chat.ask("resume", conversation_id=spoken.conversation_id, after=after)
            assert frame["error"]["code"] == "after_out_of_range"
            assert frame["error"]["details"]["last_seq"] == spoken.end["seq"]


@pytest.mark.promise("P3")
async def test_the_same_id_with_another_text_is_refused_and_stores_nothing(open_house, llm):
    llm.otherwise(Script.text("ok"))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        first = await chat.say("one", request_id="same")
        other = await chat.say("two", request_id="same")
        again = await chat.say("one", request_id="same")
    assert other.end["error"]["code"] == "request_id_reused"
    assert again.end["metadata"]["cached"] is True
    assert again.text == first.text == "ok"
    assert llm.calls == 1


FAULTS = [
    (Script.fault(Fault.SILENCE), "provider_error"),
    (Script.fault(Fault.STALL, after=2), "provider_error"),
    (Script.fault(Fault.CUT, after=2), "provider_bad_answer"),
    (Script.fault(Fault.BAD_JSON), "provider_bad_answer"),
    (Script.fault(Fault.EMPTY), "provider_empty"),
    (Script.fault(Fault.UNAUTHORIZED), "provider_error"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS)
@pytest.mark.promise("P9")
async def test_a_provider_that_fails_costs_one_clear_error_and_the_message_can_be_retried(open_house, llm, fault, code):
    llm.otherwise(fault)
    quick = {"global": {"llms": {"simulated": {
        "api": "none", "base_url": llm.url, "models": "compatible/small", "timeout": 1}}, "llm": "simulated"}}  # fmt: skip
    house = await open_house(**quick)
    async with house.person("alice") as alice, alice.chat() as chat:
        spoken = await chat.say("please")
        assert (spoken.end["status"], spoken.end["error"]["code"]) == ("error", code)
        assert "127.0.0.1" not in json.dumps(spoken.end)
        llm.clear()
        llm.otherwise(Script.text("now it works"))
        request = await chat.send("retry", conversation_id=spoken.conversation_id, run_id=spoken.accepted["run_id"])
        frames = await chat.until("complete", "error", request_id=request)
        assert frames[-1]["status"] == "complete"
        events = (await alice.get(f"/sessions/{spoken.conversation_id}/events"))["events"]
        assert [e["type"] for e in events].count("message.received") == 1
        assert [m["content"] for m in llm.requests[-1].messages if m["role"] == "user"] == ["please"]


async def test_a_service_that_crashes_or_is_missing_costs_only_its_tools(open_house, llm, time_service):
    llm.reply(Script.tool_calls(("get_current_time", {"timezone": "Europe/Paris"})), Script.text("still answered"))
    services = time_service | {
        "missing": {"command": "/nonexistent/program"},
        "crashing": {"command": "/bin/false"},
    }
    house = await open_house(services)
    async with house.person("alice") as alice:
        spoken = await alice.say("what time is it?")
        status = await alice.get("/status")
    assert spoken.text == "still answered"
    assert {module["name"]: module["status"] for module in status["modules"]} == {
        "time": "connected",
        "missing": "error",
        "crashing": "error",
    }


async def test_a_model_that_calls_what_does_not_exist_is_told_so_and_goes_on(open_house, llm, time_service):
    llm.reply(
        Script.tool_calls(("no_such_tool", {})),
        Script.tool_calls(("get_current_time", "{broken")),
        Script.tool_calls(("get_current_time", {"timezone": 5})),
        Script.text("I give up politely."),
    )
    house = await open_house(time_service)
    async with house.person("alice") as alice:
        spoken = await alice.say("go")
        page = await alice.get(f"/sessions/{spoken.conversation_id}/events")
    assert spoken.text == "I give up politely."
    said = [e["content"] for e in page["events"] if e["type"] == "tool.returned"]
    assert said[0] == "Tool 'no_such_tool' not found"
    assert said[1].startswith("Invalid tool arguments")
    assert said[2].startswith("Invalid tool arguments: Parameter validation failed for tool 'get_current_time'")
    assert "tool.called" not in [e["type"] for e in page["events"]]


async def test_a_loop_of_tool_calls_ends_with_a_last_answer_without_tools(open_house, llm, time_service):
    for _ in range(8):
        llm.reply(Script.tool_calls(("get_current_time", {"timezone": "UTC"})))
    llm.reply(Script.text("That is as far as I got."))
    house = await open_house(time_service)
    async with house.person("alice") as alice:
        spoken = await alice.say("never stop")
    assert spoken.end["metadata"]["finish_reason"] == "tool_limit_reached"
    assert spoken.text == "That is as far as I got."
    assert "tools" not in llm.requests[-1].json
