"""`kill -9` again and again under load: nothing acknowledged is lost, nothing is done twice."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from websockets.exceptions import WebSocketException

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P1"), pytest.mark.promise("P3")]

WORKERS = 8


@dataclass
class Ledger:
    """What the clients were promised."""

    accepted: dict[str, dict] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    ended: bool = False

    def note(self, frame, text):
        request = frame["request_id"]
        if frame["status"] == "accepted":
            earlier = self.accepted.setdefault(request, frame | {"text": text})
            assert earlier["run_id"] == frame["run_id"], "one run per request"
            assert earlier["seq"] == frame["seq"]


async def client(agent, ledger, number, chance):
    """Send message after message; whatever was not acknowledged is sent again with its id, sometimes many times."""
    count = 0
    while not ledger.ended:
        request, text = f"w{number}-{count}", f"message {count} of {number}"
        while request not in ledger.accepted and not ledger.ended:
            copies = chance.choice([1, 1, 1, 2, 5])
            await asyncio.gather(
                *(submit(agent, ledger, request, text, f"conversation-{number}") for _ in range(copies))
            )
        count += 1


async def submit(agent, ledger, request, text, conversation):
    try:
        async with asyncio.timeout(5), agent.chat() as chat:
            await chat.send("chat", request, text=text, conversation_id=conversation)
            while True:
                frame = await chat.receive()
                if frame["request_id"] != request:
                    continue
                if frame["status"] == "error" and frame["error"]["code"] == "queue_full":
                    return
                ledger.note(frame, text)
                if frame["status"] in {"complete", "error"}:
                    return
    except (WebSocketException, OSError, TimeoutError):
        await asyncio.sleep(0.005)


async def storm(agent, llm, kills, seed):
    chance = random.Random(seed)
    llm.otherwise(Script.chunks(8, 10, delay=0.002))
    ledger = Ledger()
    await agent.start()
    async with asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(client(agent, ledger, number, random.Random(seed + number)))
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.02, 0.25))
            await agent.kill()
            await agent.start()
        ledger.ended = True
    return ledger


async def settle(agent, until):
    """Wait until every run has ended."""
    await until(
        lambda: agent.rows("SELECT count(*) FROM runs WHERE state IN ('queued','running','waiting')") == [(0,)],
        60,
        what="every run to end",
    )
    assert await agent.stop() == 0


def check(agent, ledger):
    assert agent.rows("PRAGMA integrity_check") == [("ok",)]
    received = agent.rows(
        "SELECT request_id, conversation_id, seq, content FROM chat_events WHERE type = 'message.received'"
    )
    stored = {request: (conversation, seq, content) for request, conversation, seq, content in received}
    assert len(stored) == len(received), "a message was stored twice"
    for request, frame in ledger.accepted.items():
        assert stored[request] == (frame["conversation_id"], frame["seq"], frame["text"])
    assert agent.rows("SELECT count(*) FROM runs GROUP BY conversation_id, request_id HAVING count(*) > 1") == []
    assert (
        agent.rows(
            "SELECT conversation_id FROM chat_events GROUP BY conversation_id HAVING count(*) != max(seq) OR min(seq) != 1"
        )
        == []
    )
    ends = agent.rows("SELECT count(*) FROM chat_events WHERE type IN ('run.completed','run.failed','run.cancelled')")
    assert ends == [(len(received),)], "every run ends once"


@pytest.mark.parametrize(
    "kills",
    [
        20,
        pytest.param(200, marks=pytest.mark.slow),
        pytest.param(1000, marks=[pytest.mark.trust, pytest.mark.timeout(1800)]),
    ],
)
@pytest.mark.timeout(400)
async def test_no_acknowledged_message_is_lost_and_no_request_runs_twice(mortal, llm, until, kills):
    agent = await mortal()
    ledger = await storm(agent, llm, kills, seed=kills)
    await settle(agent, until)
    check(agent, ledger)
    assert len(ledger.accepted) >= kills / 2, "there was load"


@pytest.mark.parametrize("copies", [2, 7, 50])
async def test_a_storm_of_copies_makes_one_run(mortal, llm, copies):
    llm.otherwise(Script.chunks(4, 10, delay=0.005))
    agent = await mortal()
    await agent.start()
    ledger = Ledger()
    await asyncio.gather(*(submit(agent, ledger, "same", "once", "c") for _ in range(copies)))
    await agent.stop()
    assert agent.rows("SELECT count(*) FROM runs") == [(1,)]
    assert llm.calls == 1
