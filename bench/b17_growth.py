"""B17: what a run costs at message 10 and at message 10,000 of a conversation, and with 1 and with 100 tools configured.

The cost is the CPU time of gateway and agents for one answered message. The cases take turns in one house; a figure is
the median of blocks of runs, each in a conversation whose first run warms it up. A third size, just beyond the window,
tells what a fuller prompt costs from what Tom's own work would cost more of. The conversations are written through the
store before the house starts, and are named, as they would be.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from measure import Result, cpu_seconds, finish, median, options
from servers import settings, upstream
from tom import ids
from tom.conversation import event as happened
from tom.conversation import upkeep
from tom.conversation.usage import Usage
from tom.store.sqlite import SqliteEventStore
from tom.testing.house import PASSWORD, Chat, House

SMALL, FULL, LARGE = 10, 120, 10_000
"""Messages; `FULL` is twice what the window of a fresh install holds of them."""

FEW, MANY = 1, 100
BLOCK = 6
REST = 0.1
"""Seconds for what follows an answer: what is done in the background belongs to the run that it follows."""

RATIO_MUST = 1.1
OF = {
    "message 10": "message 10",
    "window full": "message 10",
    "message 10,000": "window full",
    "1 tool": "1 tool",
    "100 tools": "1 tool",
}
"""Each case, and the one that its row is held against."""

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
    await store.append([upkeep.conversation_changed(conversation, {"title": "Of old", "title_by": "model"})])


def histories(rounds: int) -> dict[str, int]:
    """The conversations: short ones are long after a few runs, so each block has its own; the long one stays long."""
    blocks = range(rounds + 1)
    return {
        **{f"small-{number}": SMALL for number in blocks},
        **{f"full-{number}": FULL for number in blocks},
        "large": LARGE,
    }


def services(tools: int) -> dict[str, object]:
    """One service with so many tools."""
    program = str(Path(__file__).with_name("baseline") / "many_tools.py")
    return {"toolshed": {"command": sys.executable, "args": [program, str(tools)]}}


async def cost(house: House, chat: Chat, conversation: str) -> float:
    """CPU milliseconds of the house per answered message, after a first one that warms the conversation up."""
    before = 0.0
    for number in range(BLOCK + 1):
        spoken = await chat.say("And now?", conversation_id=conversation)
        if not spoken.text:
            message = f"no answer: {spoken.end}"
            raise RuntimeError(message)
        if not number:
            await asyncio.sleep(REST)
            before = cpu_seconds(house.process.pid)
    await asyncio.sleep(REST)
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
            await write_history(house.home("alice") / "history.db", histories(rounds))
            await house.start()
            try:
                await in_turns(house, rounds, took)
            finally:
                await house.stop()
    return table(took)


async def in_turns(house: House, rounds: int, took: dict[str, list[float]]) -> None:
    """Block by block; the first round opens connections and fills caches."""
    async with house.person("alice") as alice, alice.chat() as hers, house.person("bob") as bob, bob.chat() as his:
        for number in range(rounds + 1):
            cases = {
                "message 10": (hers, f"small-{number}"),
                "window full": (hers, f"full-{number}"),
                "message 10,000": (hers, "large"),
                "1 tool": (hers, f"tools-{number}"),
                "100 tools": (his, f"tools-{number}"),
            }
            for name, (chat, conversation) in cases.items():
                spent = await cost(house, chat, conversation)
                if number:
                    took.setdefault(name, []).append(spent)


def table(took: dict[str, list[float]]) -> Result:
    """Medians and ratios."""
    result = Result("B17", "CPU of one run (ms)", ("run", "median", "ratio", "of"), unit="ms")
    middle = {name: median(values) for name, values in took.items()}
    for name, against in OF.items():
        result.add(name, middle[name], middle[name] / middle[against], against)
    for name, against in (("message 10,000", "message 10"), ("message 10,000", "window full"), ("100 tools", "1 tool")):
        ratio = result.numbers[f"{name} against {against}"] = middle[name] / middle[against]
        if against != "window full":
            result.must[f"{name}: {ratio:.2f} of {against} (at most {RATIO_MUST})"] = ratio <= RATIO_MUST
    result.series = took
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=10)
    finish(asyncio.run(measure(given.rounds)), plot=given.plot)
