"""The Tom routes through the gateway: `/process`, `/reset`, `/tasks`, `/status`, `/notifications`."""

import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_process_answers_with_the_fields_of_the_contract(open_house, llm, time_service):
    llm.reply(
        Script.tool_calls(("get_current_time", {"timezone": "Europe/Paris"})),
        Script.text("# Noon\nSee [the clock](https://clock.example/paris)."),
        Script.text("It is noon."),
    )
    house = await open_house(time_service)
    async with house.person("alice") as alice:
        answer = await alice.post(
            "/process",
            {"request": "time?", "request_id": "p1", "sound_enabled": True, "zebra": 1, "timezone": "Europe/Paris"},
        )
        again = await alice.post("/process", {"request": "time?", "request_id": "p1"})
        other = await alice.post("/process", {"request": "other", "request_id": "p1"})
        fetched = await alice.get("/process/p1")
        async with alice.http.get("/process/unknown") as unknown:
            assert unknown.status == 404
    assert answer["status"] == "OK"
    assert answer["response"] == answer["text_display"] == "# Noon\nSee [the clock](https://clock.example/paris)."
    assert answer["text_tts"] == "It is noon."
    assert (answer["iterations"], answer["level"], answer["selected_modules"]) == (2, 1, ["time"])
    assert answer["ignored_fields"] == ["zebra"]
    assert answer["usage"]["total_tokens"] > 0
    assert again["replayed"] is True
    assert again["response"] == fetched["response"] == answer["response"]
    assert other == {"status": "ERROR", "message": "request_id was used for a different request"}
    assert len([request for request in llm.requests if request.tool_names]) == 2, "repetitions asked the model again"
    temporal = [m for m in llm.requests[0].messages if m["role"] == "system"][-1]["content"]
    assert '"time_zone": "Europe/Paris"' in temporal


async def test_each_client_type_has_a_current_conversation_that_reset_replaces(open_house, llm):
    llm.otherwise(Script.text("ok"))
    house = await open_house()
    async with house.person("alice") as alice:
        web = await alice.post("/process", {"request": "one"})
        tui = await alice.post("/process", {"request": "two", "client_type": "tui"})
        more = await alice.post("/process", {"request": "three"})
        reset = await alice.post("/reset")
        empty = await alice.post("/reset", {"client_type": "web"})
        after = await alice.post("/process", {"request": "four"})
        back = await alice.post("/process", {"request": "five", "conversation_id": web["conversation_id"]})
    assert more["conversation_id"] == web["conversation_id"] != tui["conversation_id"]
    assert reset["message"] == "Conversation history reset for web client"
    assert reset["previous_conversation_id"] == web["conversation_id"]
    assert reset["conversation_id"] == empty["conversation_id"] == after["conversation_id"] != web["conversation_id"]
    assert empty["previous_conversation_id"] is None
    assert back["conversation_id"] == web["conversation_id"]


async def test_a_failed_model_is_an_error_with_a_sentence(open_house, llm):
    from tom.testing.simulated_llm import Fault

    llm.otherwise(Script.fault(Fault.UNAUTHORIZED))
    house = await open_house()
    async with house.person("alice") as alice:
        answer = await alice.post("/process", {"request": "hi"})
    assert answer["status"] == "ERROR"
    assert answer["message"].startswith("The language model is unavailable: ")


async def test_bad_bodies_are_errors_that_store_nothing(open_house, llm):
    house = await open_house()
    async with house.person("alice") as alice:
        for path in ("/process", "/reset"):
            async with alice.http.post(path, data=b"{", headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 200
                assert await answer.json() == {"status": "ERROR", "message": "Request body is not valid JSON"}
        assert (await alice.post("/process", {}))["message"] == "No request data provided"
        missing = await alice.post("/process", {"request": "x", "conversation_id": "nowhere"})
        assert missing["message"] == "Conversation not found"
        assert (await alice.get("/sessions"))["sessions"] == []
    assert llm.calls == 0


async def test_tasks_status_and_notifications_answer_while_there_is_nothing_to_tell(open_house, time_service):
    house = await open_house(time_service)
    async with house.person("alice") as alice:
        tasks = await alice.get("/tasks")
        assert tasks["background_tasks"] == []
        assert (await alice.get("/tasks"))["id"] == tasks["id"]
        status = await alice.get("/status")
        assert (status["modules_count"], status["modules"][0]["name"]) == (1, "time")
        listed = await alice.get("/notifications?status=all&limit=10")
        assert listed["notifications"] == []
        assert (await alice.get("/notifications?limit=0"))["status"] == "ERROR"
        assert await alice.post("/notifications", {"read": "all"}) == {"status": "OK", "changed": 0, "unread": 0}
        assert (await alice.post("/notifications", {}))["message"] == "Use one of: read, delete"
