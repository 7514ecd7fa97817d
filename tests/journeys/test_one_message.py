"""From login to a tool call and back: the path that everything else hangs on, over real TLS."""

import asyncio
import time

import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PARIS = Script.tool_calls(("get_current_time", {"timezone": "Europe/Paris"}))


def stored_text(events, run_id):
    replies = [e for e in events if e["type"] == "model.replied" and e["extra"]["run_id"] == run_id]
    return replies[-1]["content"]


async def test_asking_the_time_in_a_city_calls_the_time_service_and_streams_the_answer_in_order(
    open_house, llm, time_service
):
    llm.reply(PARIS, Script.text("It is noon in Paris, more or less."))
    house = await open_house(time_service)
    async with house.person("alice") as alice:
        spoken = await alice.say("What time is it in Paris?")
        assert spoken.end["status"] == "complete", spoken.end
        assert spoken.text == "It is noon in Paris, more or less."
        assert [f["status"] for f in spoken.frames if f["status"] != "chunk"] == [
            "accepted", "processing", "processing", "complete",
        ]  # fmt: skip
        assert spoken.frames[2]["chunk"]["metadata"]["tools"] == ["time.get_current_time"]
        page = await alice.get(f"/sessions/{spoken.conversation_id}/events")
    result = next(e for e in page["events"] if e["type"] == "tool.returned")
    assert "Europe/Paris" in result["content"]
    assert result["extra"]["is_error"] is False
    assert "Europe/Paris" in llm.requests[1].messages[-1]["content"], "the model was told the result"
    assert llm.calls == 2
    assert [e["seq"] for e in page["events"]] == list(range(1, len(page["events"]) + 1))


async def test_a_reload_shows_the_same_conversation(open_house, llm):
    llm.reply(Script.text("first answer"), Script.text("second answer"))
    house = await open_house()
    async with house.person("alice") as alice:
        one = await alice.say("one")
        await alice.say("two", conversation_id=one.conversation_id)
        before = await alice.get(f"/sessions/{one.conversation_id}/events")
    async with house.person("alice") as again:
        listed = await again.get("/sessions")
        after = await again.get(f"/sessions/{one.conversation_id}/events")
    assert [session["id"] for session in listed["sessions"]] == [one.conversation_id]
    assert listed["sessions"][0]["title"] == "one"
    assert after == before
    assert [e["content"] for e in after["events"] if e["role"]] == ["one", "first answer", "two", "second answer"]


@pytest.mark.promise("P2")
async def test_a_second_device_resumes_in_the_middle_of_a_stream_with_identical_bytes(open_house, llm):
    llm.reply(Script.chunks(80, 22, delay=0.02))
    house = await open_house()
    async with house.person("alice") as phone, house.person("alice") as desk, phone.chat() as first:
        request = await first.send("chat", text="tell me a long story")
        began = await first.until("chunk")
        conversation = began[0]["conversation_id"]
        async with desk.chat() as second:
            await second.send("resume", conversation_id=conversation, after=0)
            caught_up = await second.until("complete")
            events = [f["event"] for f in caught_up if f["status"] == "event"]
            rest = await second.until("event")
            while rest[-1]["event"]["type"] != "run.completed":
                rest += await second.until("event")
        ending = began + await first.until("complete", request_id=request)
    heard_first = "".join(f["chunk"]["data"] for f in ending if f["status"] == "chunk")
    chunks = [f for f in rest if f["status"] == "chunk"]
    assert chunks[0]["replay"] is True
    assert chunks[0]["offset"] == 0
    assert len(chunks) > 1, "it was still being streamed"
    heard_second = ""
    for chunk in chunks:
        assert chunk["offset"] == len(heard_second)
        heard_second += chunk["chunk"]["data"]
    events += [f["event"] for f in rest if f["status"] == "event"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert heard_second == heard_first == stored_text(events, began[0]["run_id"])


@pytest.mark.promise("P5")
async def test_closing_the_tab_does_not_stop_the_run(open_house, llm, until):
    llm.reply(Script.chunks(30, 22, delay=0.02))
    house = await open_house()
    async with house.person("alice") as alice:
        async with alice.chat() as tab:
            await tab.send("chat", text="go on without me")
            began = await tab.until("chunk")
        conversation = began[0]["conversation_id"]

        async def completed():
            page = await alice.get(f"/sessions/{conversation}/events")
            return page["events"][-1]["type"] == "run.completed"

        await until(completed, what="the run to end without a reader")
        page = await alice.get(f"/sessions/{conversation}/events")
    assert len(stored_text(page["events"], began[0]["run_id"])) == 30 * 22


@pytest.mark.promise("P5")
async def test_stop_ends_a_run_within_a_second_and_keeps_what_was_shown(open_house, llm):
    llm.reply(Script.chunks(500, 22, delay=0.02))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        request = await chat.send("chat", text="talk for ever")
        began = await chat.until("chunk")
        conversation = began[0]["conversation_id"]
        started = time.monotonic()
        stop = await chat.send("stop", conversation_id=conversation)
        frames = await chat.until("complete", request_id=stop)
        took = time.monotonic() - started
        page = await alice.get(f"/sessions/{conversation}/events")
    end = next(f for f in frames if f["request_id"] == request and f["status"] == "complete")
    assert took < 1
    assert end["metadata"]["finish_reason"] == "cancelled"
    assert frames[-1]["metadata"]["result"] == "stopped"
    shown = "".join(f["chunk"]["data"] for f in began + frames if f["status"] == "chunk")
    partial = next(e for e in page["events"] if e["type"] == "model.replied")
    assert partial["extra"]["partial"] is True
    assert partial["content"].startswith(shown)
    assert await llm.until(lambda: llm.open_streams == 0), "the provider was told"


@pytest.mark.promise("P6")
async def test_messages_sent_while_a_run_is_active_are_answered_in_order(open_house, llm):
    llm.reply(Script.chunks(10, 5, delay=0.02), Script.text("two"), Script.text("three"))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        first = await chat.send("chat", text="one")
        conversation = (await chat.until("accepted"))[0]["conversation_id"]
        second = await chat.send("chat", text="two?", conversation_id=conversation)
        third = await chat.send("chat", text="three?", conversation_id=conversation)
        frames = await chat.until("complete", request_id=third)
    queued = {f["request_id"]: f["queued"] for f in frames if f["status"] == "accepted"}
    assert queued == {second: 1, third: 2}
    ended = [f["request_id"] for f in frames if f["status"] == "complete"]
    assert ended == [first, second, third]
    assert [m["content"] for m in llm.requests[2].messages if m["role"] == "user"] == ["one", "two?", "three?"]


@pytest.mark.promise("P3")
async def test_a_storm_of_the_same_request_makes_one_run_and_one_model_call(open_house, llm):
    llm.otherwise(Script.chunks(10, 5, delay=0.01))
    house = await open_house()
    async with house.person("alice") as alice:

        async def submit():
            async with alice.chat() as chat:
                return await chat.say("only once", request_id="storm-1", conversation_id="stormy")

        answers = await asyncio.gather(*(submit() for _ in range(25)))
        page = await alice.get("/sessions/stormy/events")
    assert {answer.accepted["run_id"] for answer in answers} == {answers[0].accepted["run_id"]}
    assert {answer.text for answer in answers} == {answers[0].text}
    assert llm.calls == 1
    assert [e["type"] for e in page["events"]].count("message.received") == 1


async def test_the_scripted_model_makes_a_fresh_house_useful_without_a_key(open_house, time_service):
    house = await open_house(time_service, **{"global": {"llm": "scripted"}})
    async with house.person("alice") as alice:
        helped = await alice.say("help")
        told = await alice.say("What time is it in Tokyo?")
        called = await alice.say('/tool get_current_time {"timezone": "Europe/Paris"}')
    assert "not a language model" in helped.text
    assert "Asia/Tokyo" in told.text
    assert "Europe/Paris" in called.text
