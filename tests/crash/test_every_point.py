"""Killed at every point of a run, before and after each of its commits: what is promised is what is found."""

import json
import sys

import pytest

from tom.config.agent import ServiceEntry
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P1"), pytest.mark.promise("P4")]

WRITE = Script.tool_calls(("write_note", {"text": "milk"}))
READ = Script.tool_calls(("read_notes", {}))

# moment -> (made at most once more, effects that are allowed, whether the call is told to be unresolved)
WRITING = {
    "before message.received 1": ({1}, False),
    "after message.received 1": ({1}, False),
    "before run.started 1": ({1}, False),
    "after run.started 1": ({1}, False),
    "before model.replied 1": ({1}, False),
    "after model.replied 1": ({1}, False),
    "before tool.called 1": ({1}, False),
    "after tool.called 1": ({0}, True),
    "before tool.returned 1": ({1}, True),
    "after tool.returned 1": ({1}, False),
    "before model.replied 2": ({1}, False),
    "before run.completed 1": ({1}, False),
    "after run.completed 1": ({1}, False),
}


def service(directory):
    return ServiceEntry(
        name="ledger",
        command=sys.executable,
        args=("-m", "tom.testing.ledger_service", str(directory)),
        classes={"write_note": "write_own"},
    )


def effects(directory):
    path = directory / "effects.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def tell(mortal, llm, tmp_path, moment, call):
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    llm.otherwise(lambda request: call if request.last_role == "user" else Script.text("done"))
    agent = await mortal(service(ledger))
    agent.kill_at(moment)
    await agent.start()
    spoken = await agent.say("please", "q1")
    assert not (agent.home / "kill-at").exists()
    assert await agent.stop() == 0
    return agent, spoken, ledger


QUICK = {"after tool.called 1", "before tool.returned 1"}
POINTS = [moment if moment in QUICK else pytest.param(moment, marks=pytest.mark.slow) for moment in WRITING]


@pytest.mark.parametrize("moment", POINTS)
async def test_a_writing_call_happens_at_most_once_and_an_unknown_one_is_told(mortal, llm, tmp_path, moment):
    allowed, unresolved = WRITING[moment]
    agent, spoken, ledger = await tell(mortal, llm, tmp_path, moment, WRITE)
    events = agent.events()
    types = [event["type"] for event in events]
    assert spoken.end["status"] == "complete", spoken.end
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert types.count("message.received") == 1
    assert types.count("tool.called") == 1
    assert len(effects(ledger)) in allowed
    assert ("tool.unresolved" in types) is unresolved
    assert types.count("tool.returned") == (0 if unresolved else 1)
    assert types[-1] == "run.completed"
    assert agent.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("moment", ["after tool.called 1", "before tool.returned 1"])
async def test_a_reading_call_is_made_again_with_the_same_key(mortal, llm, tmp_path, moment):
    agent, spoken, ledger = await tell(mortal, llm, tmp_path, moment, READ)
    types = [event["type"] for event in agent.events()]
    assert spoken.end["status"] == "complete"
    assert types.count("tool.called") == types.count("tool.returned") == 1
    keys = {json.loads(line)["key"] for line in (ledger / "reads.jsonl").read_text().splitlines()}
    called = next(event for event in agent.events() if event["type"] == "tool.called")
    assert keys == {called["extra"]["key"]}


async def test_a_message_that_kills_the_agent_each_time_is_given_up_and_others_are_answered(mortal, llm):
    llm.when("poison", Script.text("x"))
    llm.otherwise(Script.text("fine"))
    agent = await mortal()
    for _ in range(4):
        agent.kill_at("before model.replied 1")
        await agent.start()
        if _ == 0:
            async with agent.chat() as chat:
                await chat.send("chat", "q1", text="poison", conversation_id="bad")
                await chat.until("accepted")
        await agent.ended()
    await agent.start()
    spoken = await agent.say("poison", "q1", "bad")
    assert spoken.end["error"]["code"] == "crash_loop"
    assert (await agent.say("hello", "q2", "good")).text == "fine"
    await agent.stop()
