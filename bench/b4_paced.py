"""B4: 200 paced streams at once: their length against the ideal, and memory per stream.

The ideal is what 200 clients of the model endpoint itself see in the same run.
"""

import asyncio

from clients import Client, crowds
from measure import Result, finish, median, options, percentile, pss_mib
from servers import Server, rivals

CHUNKS = 64
PAUSE_MS = 100


async def together(server: Server, made: list[Client]) -> tuple[list[float], float]:
    """Ask all at once; returns the streams' lengths, and the MiB that the server grew by half-way through."""
    before = pss_mib(server.pid)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(one.ask()) for one in made]
        await asyncio.sleep(CHUNKS * PAUSE_MS / 2000)
        grown = pss_mib(server.pid) - before
    return [task.result().total for task in asked], max(grown, 0.0)


async def measure(count: int) -> Result:
    """The endpoint, the baseline, Tom, each twice."""
    result = Result(
        "B4",
        f"{count} paced streams at once (s)",
        ("server", "p50", "p99", "p50/ideal", "p99/ideal", "MiB/stream"),
        unit="s",
    )
    lengths: dict[str, list[float]] = {"direct": [], "naive": [], "tom": []}
    memory: dict[str, list[float]] = {"direct": [], "naive": [], "tom": []}
    async with rivals(chunks=CHUNKS, pause_ms=PAUSE_MS) as servers, crowds(servers, count) as crowd:
        for _ in range(2):
            for server, made in crowd:
                taken, grown = await together(server, made)
                lengths[server.name] += taken
                memory[server.name].append(grown / count)
    ideal = {0.5: percentile(lengths["direct"], 0.5), 0.99: percentile(lengths["direct"], 0.99)}
    for name, values in lengths.items():
        half, most = percentile(values, 0.5), percentile(values, 0.99)
        result.add(name, half, most, half / ideal[0.5], most / ideal[0.99], median(memory[name]))
        result.numbers[name] = {"p50_s": half, "p99_s": most, "mib_per_stream": median(memory[name])}
    half, most = (percentile(lengths["tom"], share) / ideal[share] for share in (0.5, 0.99))
    result.must[f"p50 {half:.3f} of the ideal (at most 1.01)"] = half <= 1.01
    result.must[f"p99 {most:.3f} of the ideal (at most 1.03)"] = most <= 1.03
    result.must[f"{median(memory['tom']):.3f} MiB a stream (at most 0.05)"] = median(memory["tom"]) <= 0.05
    result.series = lengths
    return result


if __name__ == "__main__":
    given = options(__doc__, streams=200)
    finish(asyncio.run(measure(given.streams)), plot=given.plot)
