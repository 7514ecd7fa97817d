"""B17: what a run costs at message 10 and at message 10,000 of a conversation, and with 1 and with 100 tools configured.

The cost is the CPU time of gateway and agents for one answered message. The two sizes take turns in one house; a figure is
the median of blocks of runs. The conversations are written through the store before the house starts.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from measure import Result, cpu_seconds, finish, median, options
from servers import settings, upstream
from tom import ids
from tom.conversation import event as happened
from tom.conversation.usage import Usage
from tom.store.sqlite import SqliteEventStore
from tom.testing.house import PASSWORD, Chat, House

SMALL, LARGE = 10, 10_000
FEW, MANY = 1, 100
BLOCK = 10
RATIO_MUST = 1.1
TEXT = "A sentence of the length that people write, more or less. " * 3


async def write_history(path: Path, conversations: dict[str, int]) -> None:
    """Conversations of so many messages of their person and answers, as Tom would have written them."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await SqliteEventStore.open(path)
    for conversation, messages in conversations.items():
        await write_conversation(store, conversation, messages)
    await store.close()


async def write_conversation(store: SqliteEventStore, conversation: str, messages: int) -> None:
    """One of them."""
    opened = happened.conversation_opened(conversation, surface="ws")
    for number in range(messages // 2):
        run = ids.ulid()
        events = (
            *((opened,) if number == 0 else ()),
            happened.message_received(
                conversation, TEXT, run_id=run, request_id=f"old-{number}", payload_digest="", surface="ws"
            ),
            happened.run_started(conversation, run_id=run, level=1, services=()),
            happened.model_replied(
                conversation, TEXT, run_id=run, turn=0, attempt=1, finish_reason="stop", model="m", usage=Usage(100, 60)
            ),
            happened.run_completed(conversation, run_id=run, usage=Usage(100, 60), finish_reason="stop", hops=1),
        )
        await store.append(events)


def services(tools: int) -> dict[str, object]:
    """One service with so many tools."""
    program = str(Path(__file__).with_name("baseline") / "many_tools.py")
    return {"toolshed": {"command": sys.executable, "args": [program, str(tools)]}}


async def cost(house: House, chat: Chat, conversation: str) -> float:
    """CPU milliseconds of the house per answered message."""
    before = cpu_seconds(house.process.pid)
    for _ in range(BLOCK):
        spoken = await chat.say("And now?", conversation_id=conversation)
        if not spoken.text:
            message = "no answer"
            raise RuntimeError(message)
    return (cpu_seconds(house.process.pid) - before) * 1000 / BLOCK


async def measure(rounds: int) -> Result:
    """Take turns."""
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with upstream(chunks=8) as model:
            config = settings(f"{model.url}/v1")
            config["users"] = [
                {"username": name, "password": PASSWORD, "services": services(tools)}
                for name, tools in (("alice", FEW), ("bob", MANY))
            ]
            house = House(Path(folder) / "house", settings=config)
            await write_history(house.home("alice") / "history.db", {"small": SMALL, "large": LARGE})
            await house.start()
            try:
                await in_turns(house, rounds, took)
            finally:
                await house.stop()
    return table(took)


async def in_turns(house: House, rounds: int, took: dict[str, list[float]]) -> None:
    """Block by block; the first round opens connections and fills caches."""
    async with house.person("alice") as alice, alice.chat() as hers, house.person("bob") as bob, bob.chat() as his:
        cases = {"message 10": (hers, "small"), "message 10,000": (hers, "large"), "100 tools": (his, "tools")}
        cases |= {"1 tool": (hers, "tools")}
        for number in range(rounds + 1):
            for name, (chat, kind) in cases.items():
                # A further conversation of the same size would have to be written; with tools any will do.
                conversation = kind if kind != "tools" else f"tools-{number}"
                spent = await cost(house, chat, conversation)
                if number:
                    took.setdefault(name, []).append(spent)


def table(took: dict[str, list[float]]) -> Result:
    """Medians and ratios."""
    result = Result("B17", "CPU of one run (ms)", ("run", "median", "ratio"), unit="ms")
    for small, large in (("message 10", "message 10,000"), ("1 tool", "100 tools")):
        ratio = median(took[large]) / median(took[small])
        result.add(small, median(took[small]), 1.0)
        result.add(large, median(took[large]), ratio)
        result.numbers[f"{large} against {small}"] = ratio
        result.must[f"{large}: at most {RATIO_MUST} of {small}"] = ratio <= RATIO_MUST
    result.series = took
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=10)
    finish(asyncio.run(measure(given.rounds)), plot=given.plot)
