"""Messages over REST: answered with JSON, with how the run stands, or as a stream; one run per request id."""

import asyncio

import pytest

from tom.testing.simulated_llm import Fault, Script

pytestmark = pytest.mark.anyio


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
