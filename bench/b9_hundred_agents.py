"""B9: memory of a house with a hundred agents after one run each: gateway, warm parent and agents, shared pages once."""

import asyncio
import tempfile
from pathlib import Path

from b8_cold_agent import until_quiet
from measure import Result, finish, median, options, pss_mib, tree_of
from tom.gateway.controlclient import ask_gateway
from tom.testing.house import House

MUST_MIB = 900.0
AIM_MIB = 500.0
PER_HUNDRED = 100
AT_ONCE = 4
QUESTION = "help"


async def measure(agents: int) -> Result:
    """Everybody says one thing; then the memory is read."""
    names = tuple(f"user{number}" for number in range(agents))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"spawner": {"max_agents": agents}, "global": {"log_level": "WARNING"}}
        house = House(Path(folder) / "data", settings=settings, people=names)
        await house.start()
        try:
            await until_quiet(house)
            alone = pss_mib(house.process.pid)
            await everybody_speaks(house, names)
            running = (await ask_gateway(house.directory, "GET", "/agents"))[1]["agents"]
            return table(house.process.pid, alone, [agent["pid"] for agent in running])
        finally:
            await house.stop()


async def everybody_speaks(house: House, names: tuple[str, ...]) -> None:
    """One run each, a few at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def speak(name: str) -> None:
        async with gate, house.person(name) as person:
            answer = await person.post("/process", {"request": QUESTION})
            if answer.get("status") != "OK":
                message = f"{name}: {answer}"
                raise RuntimeError(message)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(speak(name))


def table(house: int, alone: float, agents: list[int]) -> Result:
    """Sums of proportional set sizes."""
    result = Result("B9", "memory after one run each (MiB, PSS)", ("part", "processes", "MiB", "each"), unit="MiB")
    each = [own_pss(pid) for pid in agents]
    total = pss_mib(house)
    others = tree_of(house)
    result.add("gateway and warm parent, before", 2, alone, "")
    result.add("gateway and warm parent, with agents", len(others) - len(agents), total - sum(each), "")
    result.add("agents", len(agents), sum(each), median(each))
    result.add("everything", len(others), total, total / len(agents))
    result.numbers = {"agents": len(agents), "total_mib": total, "per_agent_mib": median(each), "aim_mib": AIM_MIB}
    bound = MUST_MIB * len(agents) / PER_HUNDRED
    result.must[f"{len(agents)} agents take no more than {bound:.0f} MiB"] = total <= bound
    return result


def own_pss(pid: int) -> float:
    """MiB of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    given = options(__doc__, agents=100)
    finish(asyncio.run(measure(given.agents)), plot=given.plot)
