"""`kill -9` of the agent at five points around a tool call: what is promised is what happens."""

import asyncio

import pytest

from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WRITE = Script.tool_calls(("write_note", {"text": "buy milk"}))
READ = Script.tool_calls(("read_notes", {}))


async def kill_and_finish(house, alice, conversation, request_id, text):
    """Kill alice's agent, come back with the same request, and give what came of it."""
    await house.kill_agent("alice")
    async with asyncio.timeout(20):
        spoken = await alice.say(text, request_id=request_id, conversation_id=conversation)
    page = await alice.get(f"/sessions/{conversation}/events")
    types = [e["type"] for e in page["events"]]
    assert [e["seq"] for e in page["events"]] == list(range(1, len(types) + 1))
    assert types.count("message.received") == 1
    return spoken, page["events"], types


async def begin(alice, chat, text):
    request = await chat.send("chat", text=text)
    accepted = (await chat.until("accepted"))[-1]
    return request, accepted["conversation_id"]


@pytest.mark.promise("P2")
async def test_killed_while_a_reply_streams_the_turn_is_asked_again_as_a_new_attempt(open_house, llm):
    llm.reply(Script.chunks(200, 22, delay=0.02), Script.text("the whole answer"))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        request, conversation = await begin(alice, chat, "tell me")
        await chat.until("chunk")
        spoken, events, types = await kill_and_finish(house, alice, conversation, request, "tell me")
    assert spoken.text == "the whole answer"
    assert "run.resumed" in types
    reply = next(e for e in events if e["type"] == "model.replied")
    assert (reply["content"], reply["extra"]["attempt"]) == ("the whole answer", 2)
    assert llm.calls == 2


@pytest.mark.promise("P4")
async def test_killed_during_a_writing_call_before_its_effect_the_call_is_unresolved_and_not_made_again(
    open_house, llm, ledger, until
):
    llm.reply(WRITE, Script.text("I cannot tell whether it was written."))
    ledger.hold("hold-before")
    house = await open_house(ledger.service)
    async with house.person("alice") as alice, alice.chat() as chat:
        request, conversation = await begin(alice, chat, "write")
        await until(lambda: ledger.held)
        spoken, events, types = await kill_and_finish(house, alice, conversation, request, "write")
    ledger.release("hold-before")
    assert spoken.end["status"] == "complete"
    assert types.count("tool.called") == 1
    unresolved = next(e for e in events if e["type"] == "tool.unresolved")
    assert "ledger.write_note" in unresolved["content"]
    assert "may have happened" in unresolved["content"]
    assert "may have happened" in llm.requests[1].messages[-1]["content"], "the model was told"
    assert len(ledger.effects) <= 1


async def say_no(alice):
    """Wait until one ask is open and decline it; returns why it was asked."""
    async with asyncio.timeout(20):
        while not (asks := (await alice.get("/approvals")).get("approvals")):
            await asyncio.sleep(0.02)
    (ask,) = asks
    answer = {"decision": "deny", "arguments_digest": ask["arguments_digest"]}
    assert (await alice.post(f"/approvals/{ask['approval_id']}", answer))["decision"] == "deny"
    return ask["reason"]


@pytest.mark.promise("P4")
async def test_killed_after_the_effect_it_has_happened_once_and_a_repetition_needs_a_yes(
    open_house, llm, ledger, until
):
    llm.reply(WRITE, WRITE, Script.text("I did not repeat it."))
    ledger.hold("hold-after")
    house = await open_house(ledger.service)
    async with house.person("alice") as alice, alice.chat() as chat:
        request, conversation = await begin(alice, chat, "write")
        await until(lambda: ledger.held)
        async with asyncio.TaskGroup() as group:
            reason = group.create_task(say_no(alice))
            finished = group.create_task(kill_and_finish(house, alice, conversation, request, "write"))
    ledger.release("hold-after")
    spoken, _, types = finished.result()
    assert spoken.text == "I did not repeat it."
    assert "may or may not have happened" in reason.result()
    assert [effect["text"] for effect in ledger.effects] == ["buy milk"]
    assert types.count("tool.called") == 1
    assert types.count("tool.unresolved") == 1


@pytest.mark.promise("P4")
async def test_killed_during_a_call_that_only_reads_it_is_made_again_with_the_same_key(open_house, llm, ledger, until):
    llm.reply(READ, Script.text("There are no notes."))
    ledger.hold("hold-after")
    house = await open_house(ledger.service)
    async with house.person("alice") as alice, alice.chat() as chat:
        request, conversation = await begin(alice, chat, "read")
        await until(lambda: ledger.held)
        await house.kill_agent("alice")
        ledger.release("hold-after")
        spoken = await alice.say("read", request_id=request, conversation_id=conversation)
        page = await alice.get(f"/sessions/{conversation}/events")
    types = [e["type"] for e in page["events"]]
    assert spoken.text == "There are no notes."
    assert types.count("tool.called") == types.count("tool.returned") == 1
    keys = [read["key"] for read in ledger.reads]
    assert len(keys) >= 1
    assert len(set(keys)) == 1
    assert keys[0]


@pytest.mark.promise("P4")
async def test_killed_after_the_result_the_next_turn_goes_on_and_the_effect_stays_single(
    open_house, llm, ledger, until
):
    llm.reply(WRITE, Script.fault(Fault.SILENCE), Script.text("Written."))
    house = await open_house(ledger.service)
    async with house.person("alice") as alice, alice.chat() as chat:
        request, conversation = await begin(alice, chat, "write")
        await until(lambda: llm.calls == 2)
        spoken, _, types = await kill_and_finish(house, alice, conversation, request, "write")
    assert spoken.text == "Written."
    assert types.count("tool.called") == types.count("tool.returned") == 1
    assert len(ledger.effects) == 1
    assert "tool.unresolved" not in types


@pytest.mark.promise("P1")
async def test_a_run_whose_agent_was_killed_ends_without_anybody_coming_back(open_house, llm, until):
    llm.reply(Script.chunks(200, 22, delay=0.02), Script.text("finished alone"))
    house = await open_house()
    async with house.person("alice") as alice:
        async with alice.chat() as chat:
            _, conversation = await begin(alice, chat, "tell me")
            await chat.until("chunk")
            await house.kill_agent("alice")
        await until(lambda: llm.calls == 2, what="the run to be taken up by itself")

        async def completed():
            page = await alice.get(f"/sessions/{conversation}/events")
            return page["events"][-1]["type"] == "run.completed"

        await until(completed)


@pytest.mark.promise("P1")
async def test_a_house_that_was_killed_goes_on_with_unfinished_runs_at_its_next_start(open_house, llm, until):
    llm.reply(Script.chunks(200, 22, delay=0.02), Script.text("finished after all"))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        _, conversation = await begin(alice, chat, "tell me")
        await chat.until("chunk")
        await house.kill()
    await house.start()
    async with house.person("alice") as alice:

        async def completed():
            page = await alice.get(f"/sessions/{conversation}/events")
            return "events" in page and page["events"][-1]["type"] == "run.completed"

        await until(completed, 40, what="the run to end")
        page = await alice.get(f"/sessions/{conversation}/events")
    types = [event["type"] for event in page["events"]]
    assert types.count("model.replied") == types.count("run.completed") == 1


@pytest.mark.promise("P8")
async def test_a_graceful_stop_lets_a_short_run_end_and_loses_nothing(open_house, llm):
    llm.reply(Script.chunks(20, 22, delay=0.02))
    house = await open_house()
    async with house.person("alice") as alice, alice.chat() as chat:
        request, conversation = await begin(alice, chat, "tell me")
        await chat.until("chunk")
        stopping = asyncio.ensure_future(house.stop())
        frames = await chat.until("complete", request_id=request)
        assert frames[-1]["metadata"]["finish_reason"] == "stop"
        assert await stopping == 0
    await house.start()
    async with house.person("alice") as alice:
        page = await alice.get(f"/sessions/{conversation}/events")
    assert page["events"][-1]["type"] == "run.completed"


async def test_a_killed_agent_leaves_no_process_of_its_services_behind(open_house, llm, ledger, until):
    llm.reply(WRITE, Script.text("ok"))
    ledger.hold("hold-before")
    house = await open_house(ledger.service)
    async with house.person("alice") as alice, alice.chat() as chat:
        await begin(alice, chat, "write")
        await until(lambda: ledger.held)
        before = ledger.processes()
        assert len(before) == 1
        await house.kill_agent("alice")
        await until(lambda: not before & ledger.processes(), what="the service of the killed agent to end")
    ledger.release("hold-before")
