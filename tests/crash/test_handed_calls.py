"""Killed between Tom's own calls of a turn and those that a client of `/v1` makes itself: nothing of Tom's is done twice."""

import asyncio
import json
import sys

import aiohttp
import pytest

from tom.config.agent import ServiceEntry
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P4"), pytest.mark.slow]

HEADERS = {
    "X-Tom-User": "alice", "X-Tom-Door": "token", "X-Tom-Key": "user:alice", "X-Tom-Scopes": "chat openai",
    "X-Tom-Agent-Secret": "agent-secret-for-crash-tests", "X-Tom-Conversation": "c1",
}  # fmt: skip
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
BOTH = Script.tool_calls(("write_note", {"text": "milk"}), ("weather", {"city": "Oslo"}))

# moment -> (effects of Tom's own call, whether it is told to be unresolved)
MOMENTS = {
    "after model.replied 1": (1, False),
    "before tool.called 1": (1, False),
    "after tool.called 1": (0, True),
    "before tool.returned 1": (1, True),
    "after tool.returned 1": (1, False),
    "before run.completed 1": (1, False),
    "after run.completed 1": (1, False),
}


async def call(agent, key, messages):
    """A call of ``/v1``, sent again with its key after every crash."""
    asked = {"model": "tom", "messages": messages, "tools": [WEATHER]}
    async with asyncio.timeout(60):
        while True:
            try:
                connector = aiohttp.UnixConnector(agent.handle.socket)
                async with (
                    aiohttp.ClientSession("http://tom-agent", connector=connector, headers=HEADERS) as http,
                    http.post("/v1/chat/completions", json=asked, headers={"Idempotency-Key": key}) as given,
                ):
                    body = json.loads(await given.text())
                assert given.status == 200, body
                return body["choices"][0]
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.005)  # a refused connection yields to nobody
                if await agent.spawner.poll(agent.handle) is not None:
                    await agent.start()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_toms_own_call_is_not_repeated_and_the_clients_is_handed_out(mortal, llm, tmp_path, moment):
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    llm.otherwise(lambda request: BOTH if request.last_role == "user" else Script.text("It is cold."))
    agent = await mortal(
        ServiceEntry(
            name="ledger",
            command=sys.executable,
            args=("-m", "tom.testing.ledger_service", str(ledger)),
            classes={"write_note": "write_own"},
        )
    )
    agent.kill_at(moment)
    await agent.start()
    dialogue = [{"role": "user", "content": "please"}]
    choice = await call(agent, "k1", dialogue)
    assert not (agent.home / "kill-at").exists(), "it was killed"
    assert choice["finish_reason"] == "tool_calls"
    (handed,) = choice["message"]["tool_calls"]
    assert handed["function"]["name"] == "weather"
    result = {"role": "tool", "tool_call_id": handed["id"], "content": "-40 degrees"}
    answer = await call(agent, "k2", [*dialogue, choice["message"], result])
    assert (answer["finish_reason"], answer["message"]["content"]) == ("stop", "It is cold.")
    assert await agent.stop() == 0
    effects, unresolved = MOMENTS[moment]
    path = ledger / "effects.jsonl"
    assert len(path.read_text().splitlines() if path.exists() else []) == effects
    types = [event["type"] for event in agent.events()]
    assert types.count("tool.called") == 1
    assert ("tool.unresolved" in types) is unresolved
    assert types.count("run.completed") == 2
    assert len(llm.requests[-1].last_results) == 2, "Tom's own result and the client's"
