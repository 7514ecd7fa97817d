"""B2 and B3: complete streams a second at 16 clients, and server CPU per 1,000 chunks.

The servers run at the same time but are loaded in turns, A B A B; each figure is the median of its turns.
"""

import asyncio

from clients import Client, crowds
from measure import Result, cpu_seconds, finish, median, options
from servers import Server, rivals

CHUNKS = 64
STREAMS_TIMES = 5.0
CPU_SHARE = 0.2


async def load(server: Server, made: list[Client], seconds: float) -> tuple[float, float]:
    """Load one server for ``seconds``; returns streams a second and CPU seconds per 1,000 chunks."""
    clock = asyncio.get_running_loop().time
    before, started, done = cpu_seconds(server.pid), clock(), 0

    async def keep_asking(one: Client) -> None:
        nonlocal done
        while clock() - started < seconds:
            await one.ask()
            done += 1

    async with asyncio.TaskGroup() as group:
        for one in made:
            group.create_task(keep_asking(one))
    return done / (clock() - started), (cpu_seconds(server.pid) - before) / (done * CHUNKS / 1000)


async def measure(count: int, turns: int, seconds: float) -> Result:
    """Load the servers in turns."""
    rates: dict[str, list[float]] = {"direct": [], "naive": [], "tom": []}
    cpu: dict[str, list[float]] = {"direct": [], "naive": [], "tom": []}
    async with rivals(chunks=CHUNKS) as servers, crowds(servers, count) as crowd:
        for _ in range(turns):
            for server, made in crowd:
                rate, spent = await load(server, made, seconds)
                rates[server.name].append(rate)
                cpu[server.name].append(spent)
    return table(count, rates, cpu)


def table(count: int, rates: dict[str, list[float]], cpu: dict[str, list[float]]) -> Result:
    """Medians and ratios."""
    title = f"complete streams of {CHUNKS} chunks a second at {count} clients; CPU s per 1,000 chunks"
    result = Result("B2-B3", title, ("server", "streams/s", "CPU s / 1,000 chunks"), unit="streams/s")
    for name, values in rates.items():
        result.add(name, median(values), median(cpu[name]))
    faster = median(rates["tom"]) / median(rates["naive"])
    share = median(cpu["tom"]) / median(cpu["naive"])
    result.numbers = {f"{name}_streams_per_second": median(values) for name, values in rates.items()}
    result.numbers |= {f"{name}_cpu_per_1000_chunks": median(values) for name, values in cpu.items()}
    result.numbers |= {"streams_ratio": faster, "cpu_ratio": share}
    result.must[f"B2: {faster:.1f} × the naive server's streams (at least {STREAMS_TIMES:.0f} ×)"] = (
        faster >= STREAMS_TIMES
    )
    result.must[f"B3: 1/{1 / share:.1f} of the naive server's CPU (at most 1/{1 / CPU_SHARE:.0f})"] = share <= CPU_SHARE
    result.series = rates
    return result


if __name__ == "__main__":
    given = options(__doc__, clients=16, turns=5, seconds=4)
    finish(asyncio.run(measure(given.clients, given.turns, given.seconds)), plot=given.plot)
