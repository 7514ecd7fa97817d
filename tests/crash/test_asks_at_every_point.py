"""Killed at every point of asking and being answered: one ask, one answer, one effect (or an honest doubt)."""

import asyncio
import sys

import pytest
from websockets.exceptions import WebSocketException

from tom.config.agent import ServiceEntry
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P1"), pytest.mark.promise("P4"), pytest.mark.promise("P15")]

WRITE = Script.tool_calls(("write_note", {"text": "milk"}))

# moment -> (effects, whether the call is told to be unresolved)
MOMENTS = {
    "before approval.requested 1": (1, False),
    "after run.waiting 1": (1, False),
    "before approval.answered 1": (1, False),
    "after approval.answered 1": (1, False),
    "before run.resumed 1": (1, False),
    "after run.resumed 1": (1, False),
    "before tool.called 1": (1, False),
    "after tool.called 1": (0, True),
    "before tool.returned 1": (1, True),
    "after tool.returned 1": (1, False),
}
QUICK = {"after run.waiting 1", "after approval.answered 1"}
POINTS = [moment if moment in QUICK else pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS]


def service(directory):
    return ServiceEntry(
        name="ledger",
        command=sys.executable,
        args=("-m", "tom.testing.ledger_service", str(directory)),
        classes={"write_note": "write_external"},
    )


async def once(agent):
    """One try on one connection: say it (again), allow what is asked; the end of the run."""
    async with agent.chat() as chat:
        await chat.send("chat", "q1", text="please", conversation_id="c1")
        await chat.send("resume", "r1", conversation_id="c1")
        while True:
            frame = await chat.receive()
            chunk = frame.get("chunk", {})
            if chunk.get("type") == "waiting":
                ask = chunk["metadata"]
                await chat.send(
                    "approve", approval_id=ask["approval_id"], decision="allow",
                    arguments_digest=ask["arguments_digest"],
                )  # fmt: skip
            ended = frame.get("event", {}).get("type", "") in {"run.completed", "run.failed"}
            if ended or (frame["request_id"] == "q1" and frame["status"] in {"complete", "error"}):
                return frame


async def until_over(agent):
    async with asyncio.timeout(60):
        while True:
            try:
                return await once(agent)
            except (WebSocketException, OSError):
                await asyncio.sleep(0.005)  # a refused connection yields to nobody
                if await agent.spawner.poll(agent.handle) is not None:
                    await agent.start()


@pytest.mark.parametrize("moment", POINTS)
async def test_what_was_asked_is_asked_once_and_runs_once(mortal, llm, tmp_path, moment):
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    llm.otherwise(lambda request: WRITE if request.last_role == "user" else Script.text("done"))
    agent = await mortal(service(ledger))
    agent.kill_at(moment)
    await agent.start()
    await until_over(agent)
    assert not (agent.home / "kill-at").exists(), "it was killed"
    assert await agent.stop() == 0
    events = agent.events()
    types = [event["type"] for event in events]
    effects, unresolved = MOMENTS[moment]
    path = ledger / "effects.jsonl"
    assert len(path.read_text().splitlines() if path.exists() else []) == effects
    assert types.count("approval.requested") == types.count("approval.answered") == types.count("tool.called") == 1
    assert ("tool.unresolved" in types) is unresolved
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert types[-1] in {"run.completed", "conversation.changed"}
    called = next(event for event in events if event["type"] == "tool.called")
    answered = next(event for event in events if event["type"] == "approval.answered")
    assert called["extra"]["digest"] == answered["extra"]["arguments_digest"]
    assert agent.rows("SELECT state FROM approvals") == [("allowed",)]
    assert agent.rows("PRAGMA integrity_check") == [("ok",)]
