"""B5: one tool turn: two model calls and one MCP call over warm stdio, everything of Tom on.

Tom, pydantic-ai, openai-agents and LiteLLM ask the same simulated endpoint and call the same service, turn by turn. Tom is asked
through TLS and its gateway and stores every event; the others run in their own process, without a server. Each of them
is installed into an environment of its own below `.tools/` the first time. Every turn begins a conversation, and what
Tom does after an answer (a title is another question to the model) is over before the next one is asked. `bare` is the
floor of this machine and endpoint: the same two questions and one call without any framework.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from measure import Result, finish, median, options, percentile
from servers import ROOT, Server, program, settings
from tom import ids
from tom.testing.house import House, free_port

RIVALS = {
    "bare": ("bare_turn",),
    "pydantic-ai": ("pydantic_turn", "pydantic-ai-slim[openai,mcp]==2.68.0"),
    "openai-agents": ("agents_turn", "openai-agents==0.24.0"),
    "litellm": ("litellm_turn", "litellm==1.106.0", "mcp==2.3.0"),
}
"""Who is measured beside Tom: the program in `baseline/`, and what its own environment is made of.

LiteLLM stays pinned: 1.82.7 and 1.82.8, uploaded on 24 March 2026 with stolen credentials, read the secrets of whoever
installed them. Wheels only: nothing of theirs runs while it is installed.
"""

TURN = "Please look at my notes."
SECONDS = 60.0
REST = 0.05
"""Seconds for what Tom does after an answer, so that it slows nobody else's turn."""


@asynccontextmanager
async def model() -> AsyncGenerator[Server]:
    """The simulated endpoint: to a question with tools it answers with a call, to a result with 8 fragments of text."""
    port = free_port()
    arguments = ("-m", "tom.testing.simulated_llm", "--port", port, "--chunks", 8, "--tool-first", "read_notes:{}")
    async with program("model", *arguments, port=port, health="/v1/models") as server:
        yield server


def service(folder: Path) -> tuple[str, list[str]]:
    """The stdio service that all of them call: `read_notes` over an empty ledger."""
    folder.mkdir(exist_ok=True)
    return sys.executable, ["-m", "tom.testing.ledger_service", str(folder)]


@asynccontextmanager
async def rival(name: str, python: Path, url: str, folder: Path) -> AsyncGenerator[Any]:
    """A program that runs one turn for each line it is sent and says how many seconds it took."""
    command, arguments = service(folder / name)
    child = await asyncio.create_subprocess_exec(
        str(python), str(ROOT / "bench" / "baseline" / f"{RIVALS[name][0]}.py"), url, command, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, "OPENAI_API_KEY": "none"},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None

    async def turn() -> float:
        child.stdin.write(b"go\n")
        async with asyncio.timeout(SECONDS):
            line = await child.stdout.readline()
        if not line:
            message = f"{name} ended"
            raise RuntimeError(message)
        return float(line)

    try:
        yield turn
    finally:
        child.stdin.close()
        try:
            async with asyncio.timeout(10):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


@asynccontextmanager
async def tom(url: str, folder: Path) -> AsyncGenerator[Any]:
    """`tom up` with the service, one socket; a turn is from sending to the complete frame."""
    command, arguments = service(folder / "tom")
    config = settings(f"{url}/v1")
    classes = {"read_notes": "read_private", "write_note": "write_own"}
    config["services"] = {"ledger": {"command": command, "args": arguments, "tools": {"classes": classes}}}
    house = House(folder / "house", settings=config)
    await house.start()
    try:
        async with house.person("alice") as alice, alice.chat() as chat:

            async def turn() -> float:
                loop = asyncio.get_running_loop()
                started = loop.time()
                spoken = await chat.say(TURN, conversation_id=ids.ulid())
                took = loop.time() - started
                if not spoken.text:
                    message = f"no answer: {spoken.end}"
                    raise RuntimeError(message)
                await asyncio.sleep(REST)
                return took

            yield turn
    finally:
        await house.stop()


async def environment(who: str) -> Path:
    """The interpreter that has the rival: this one for what needs nothing more."""
    if not RIVALS[who][1:]:
        return Path(sys.executable)
    folder = ROOT / ".tools" / f"bench-{who}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        install = (python, "-m", "pip", "install", "-q", "--only-binary", ":all:", *RIVALS[who][1:])
        for command in ((sys.executable, "-m", "venv", folder), install):
            child = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.DEVNULL)
            if await child.wait():
                message = f"{command[0]} failed"
                raise RuntimeError(message)
        (folder / "complete").touch()
    return python


async def measure(rounds: int) -> Result:
    """Take turns."""
    took: dict[str, list[float]] = {}
    pythons = {who: await environment(who) for who in RIVALS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(model())
            turns = {"tom": await stack.enter_async_context(tom(endpoint.url, folder))}
            for who, python in pythons.items():
                turns[who] = await stack.enter_async_context(rival(who, python, f"{endpoint.url}/v1", folder))
            for number in range(rounds + 5):
                for who, turn in turns.items():
                    seconds = await turn()
                    if number >= 5:  # the first ones open connections
                        took.setdefault(who, []).append(seconds * 1000)
    return table(took)


def table(took: dict[str, list[float]]) -> Result:
    """Medians and ratios."""
    columns = ("who", "median", "p95", "of openai-agents", "above bare, of openai-agents")
    result = Result("B5", "one tool turn (ms)", columns, unit="ms")
    slowest, floor = median(took["openai-agents"]), median(took["bare"])
    for name, values in took.items():
        above = (median(values) - floor) / (slowest - floor)
        result.add(name, median(values), percentile(values, 0.95), median(values) / slowest, above)
    result.numbers = {f"{name}_ms": median(values) for name, values in took.items()}
    ratio = result.numbers["ratio"] = median(took["tom"]) / slowest
    result.must[f"{ratio:.2f} of openai-agents (at most 1/8)"] = ratio <= 1 / 8
    result.series = took
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=60)
    finish(asyncio.run(measure(given.rounds)), plot=given.plot)
