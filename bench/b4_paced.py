"""B4: 200 paced streams at once: their length against the ideal, and memory per stream.

The ideal is what 200 clients of the model endpoint itself see in the same run.
"""

import asyncio

from clients import clients
from measure import Result, finish, options, percentile, pss_mib
from servers import PEOPLE, Server, rivals

CHUNKS = 64
PAUSE_MS = 100


async def together(server: Server, count: int) -> tuple[list[float], float]:
    """Ask all at once; returns the streams' lengths, and the MiB that the server grew by half-way through."""
    async with clients(server, len(PEOPLE), each=1):
        before = pss_mib(server.pid)
    async with clients(server, count, warm=False) as made, asyncio.TaskGroup() as group:
        asked = [group.create_task(one.ask()) for one in made]
        await asyncio.sleep(CHUNKS * PAUSE_MS / 2000)
        grown = pss_mib(server.pid) - before
    return [task.result().total for task in asked], max(grown, 0.0)


async def measure(count: int, turns: int) -> Result:
    """The endpoint, the baseline, Tom, in turns. Memory is that of the first turn: later ones find it in place."""
    columns = ("server", "p50", "p99", "p50/ideal", "p99/ideal", "MiB/stream")
    result = Result("B4", f"{count} paced streams at once (s)", columns, unit="s")
    lengths: dict[str, list[float]] = {"direct": [], "naive": [], "tom": []}
    memory: dict[str, float] = {}
    async with rivals(chunks=CHUNKS, pause_ms=PAUSE_MS) as servers:
        for _ in range(turns):
            for server in servers:
                taken, grown = await together(server, count)
                lengths[server.name] += taken
                memory.setdefault(server.name, grown / count)
    ideal = {0.5: percentile(lengths["direct"], 0.5), 0.99: percentile(lengths["direct"], 0.99)}
    for name, values in lengths.items():
        half, most = percentile(values, 0.5), percentile(values, 0.99)
        result.add(name, half, most, half / ideal[0.5], most / ideal[0.99], memory[name])
        result.numbers[name] = {"p50_s": half, "p99_s": most, "mib_per_stream": memory[name]}
    half, most = (percentile(lengths["tom"], share) / ideal[share] for share in (0.5, 0.99))
    result.must[f"p50 {half:.3f} of the ideal (at most 1.01)"] = half <= 1.01
    result.must[f"p99 {most:.3f} of the ideal (at most 1.03)"] = most <= 1.03
    result.must[f"{memory['tom']:.3f} MiB a stream (at most 0.05)"] = memory["tom"] <= 0.05
    result.series = lengths
    return result


if __name__ == "__main__":
    given = options(__doc__, streams=200, turns=2)
    finish(asyncio.run(measure(given.streams, given.turns)), plot=given.plot)
