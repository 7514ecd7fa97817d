"""B8: a cold agent, from a request at the gateway to the first byte of its answer, over TLS.

Several people take turns: each asks while their agent is stopped, then once more while it runs. Between rounds the
house stops all idle agents. What the other way would cost, an interpreter that starts and imports the same modules
and the MCP SDK for every agent, is measured in the same rounds.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from measure import Result, cpu_seconds, finish, median, options, percentile, tree_of
from tom.testing.house import House, Person

IDLE_SECONDS = 2
QUIET_SECONDS = 1.5
GATEWAY_AND_PARENT = 2
MUST_MS = 60.0
AIM_MS = 12.0
EXEC = "import mcp, mcp.client.stdio, mcp.client.streamable_http, tom.agent.bootstrap, uvloop, uvicorn"


async def measure(people: int, rounds: int) -> Result:
    """Take turns."""
    names = tuple(f"user{number}" for number in range(people))
    figures: dict[str, list[float]] = {"first start": [], "wake": [], "awake": [], "exec with MCP": []}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"spawner": {"idle_stop": IDLE_SECONDS, "max_agents": people}, "global": {"log_level": "WARNING"}}
        house = House(Path(folder) / "data", settings=settings, people=names)
        await house.start()
        try:
            await until_quiet(house)
            for number in range(rounds + 1):
                for name in names:
                    await one_turn(house, name, figures, first=number == 0)
                figures["exec with MCP"].append(await exec_milliseconds())
                await until_alone(house)
        finally:
            await house.stop()
    return table(figures)


async def one_turn(house: House, name: str, figures: dict[str, list[float]], *, first: bool) -> None:
    """Ask a stopped agent, then the same one running, on one connection that is open already."""
    async with house.person(name) as person:
        await person.get("/health")
        figures["first start" if first else "wake"].append(await milliseconds(person))
        figures["awake"].append(await milliseconds(person))


async def milliseconds(person: Person) -> float:
    """Until the head of the answer is there."""
    began = time.perf_counter()
    async with person.http.get("/tasks") as answer:
        elapsed = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            message = f"/tasks: {answer.status} {await answer.text()}"
            raise RuntimeError(message)
    return elapsed


async def until_alone(house: House) -> None:
    """Wait until no agent's process is left: an agent that is still stopping would be waited for."""
    async with asyncio.timeout(60):
        while len(tree_of(house.process.pid)) > GATEWAY_AND_PARENT:
            await asyncio.sleep(0.05)


async def until_quiet(house: House) -> None:
    """Wait until the warm parent has prepared all it can, which it does while nothing is asked."""
    async with asyncio.timeout(120):
        before = -1.0
        while (now := cpu_seconds(house.process.pid)) > before:
            before = now
            await asyncio.sleep(QUIET_SECONDS)


async def exec_milliseconds() -> float:
    """A fresh interpreter that imports what an agent with MCP needs."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", EXEC)
    await process.wait()
    return (time.perf_counter() - began) * 1000


def table(figures: dict[str, list[float]]) -> Result:
    """Medians."""
    title = "cold agent, request to first answer (ms)"
    result = Result("B8", title, ("agent", "median", "p95", "worst", "samples"), unit="ms")
    for name, values in figures.items():
        result.add(name, median(values), percentile(values, 0.95), max(values), len(values))
    wake, fresh = median(figures["wake"]), median(figures["exec with MCP"])
    result.numbers = {
        "wake_ms": wake,
        "wake_p95_ms": percentile(figures["wake"], 0.95),
        "first_start_ms": median(figures["first start"]),
        "awake_ms": median(figures["awake"]),
        "exec_ms": fresh,
        "exec_ratio": fresh / wake,
        "aim_ms": AIM_MS,
    }
    result.must[f"a wake takes no more than {MUST_MS:.0f} ms"] = wake <= MUST_MS
    result.series = {name: figures[name] for name in ("first start", "wake", "awake")}
    return result


if __name__ == "__main__":
    given = options(__doc__, people=10, rounds=4)
    finish(asyncio.run(measure(given.people, given.rounds)), plot=given.plot)
