"""B18: B1 to B4 through each of Tom's doors: the socket, a REST session as server-sent events, and the OpenAI door.

The model endpoint, the naive server and the three doors take turns in one run; figures are medians.
"""

import asyncio
from contextlib import AsyncExitStack

from clients import Client, clients
from doors import DOORS, at_door
from measure import Result, cpu_seconds, finish, median, options, percentile, pss_mib
from servers import Server, rivals

PACED_CHUNKS = 64
PACED_MS = 100


async def first_token(rounds: int, result: Result) -> None:
    """B1: one client at each door, the message fsynced first, TLS on."""
    first: dict[str, list[float]] = {}
    async with rivals(chunks=8, pause_ms=2) as (direct, naive, tom), AsyncExitStack() as stack:
        crowd: list[tuple[str, Client]] = []
        for server in (direct, naive):
            crowd.append((server.name, (await stack.enter_async_context(clients(server, 1)))[0]))
        for door in DOORS:
            crowd.append((door, (await stack.enter_async_context(at_door(tom, door, 1)))[0]))
        for _ in range(rounds):
            for name, one in crowd:
                first.setdefault(name, []).append((await one.ask()).first * 1000)
    floor = median(first["direct"])
    for name, values in first.items():
        result.add("B1 added ms", name, median(values) - floor, percentile(values, 0.95) - floor)
        result.numbers.setdefault("b1_added_ms", {})[name] = median(values) - floor


async def streams(seconds: int, result: Result) -> None:
    """B2 and B3: 16 clients at once, as fast as they go; the CPU of the whole tree for 1,000 chunks."""
    async with rivals(chunks=64, pause_ms=0) as (_, naive, tom):
        for name, server in (("naive", naive), *((door, tom) for door in DOORS)):
            made = clients(server, 16) if name == "naive" else at_door(server, name, 16)
            async with made as crowd:
                done, spent, taken = await busy(server, crowd, seconds)
            rate, cpu = done / taken, spent / (done * 64) * 1000
            result.add("B2 streams/s, B3 CPU s/1,000 chunks", name, rate, cpu)
            result.numbers.setdefault("b2_streams_per_s", {})[name] = rate
            result.numbers.setdefault("b3_cpu_s_per_1000", {})[name] = cpu


async def busy(server: Server, crowd: list[Client], seconds: int) -> tuple[int, float, float]:
    """Ask again and again: complete streams, CPU seconds of the server, seconds taken."""
    clock = asyncio.get_running_loop().time
    before, started, done = cpu_seconds(server.pid), clock(), 0

    async def ask(one: Client) -> int:
        count = 0
        while clock() - started < seconds:
            await one.ask()
            count += 1
        return count

    done = sum(await asyncio.gather(*map(ask, crowd)))
    return done, cpu_seconds(server.pid) - before, clock() - started


async def paced(count: int, result: Result) -> None:
    """B4: so many paced streams at once at each door, against what the clients of the endpoint itself see."""
    async with rivals(chunks=PACED_CHUNKS, pause_ms=PACED_MS) as (direct, _, tom):
        async with clients(direct, count, warm=False) as made:
            ideal = [timing.total for timing in await asyncio.gather(*(one.ask() for one in made))]
        half, most = percentile(ideal, 0.5), percentile(ideal, 0.99)
        for door in DOORS:
            async with at_door(tom, door, count, warm=False) as made, asyncio.TaskGroup() as group:
                before = pss_mib(tom.pid)
                asked = [group.create_task(one.ask()) for one in made]
                await asyncio.sleep(PACED_CHUNKS * PACED_MS / 2000)
                grown = max(0.0, pss_mib(tom.pid) - before) / count
            totals = [task.result().total for task in asked]
            shares = (percentile(totals, 0.5) / half, percentile(totals, 0.99) / most)
            result.add("B4 p50, p99 of the ideal", door, *shares)
            result.add("B4 MiB a stream", door, grown, "")
            result.numbers.setdefault("b4", {})[door] = {"p50": shares[0], "p99": shares[1], "mib": grown}
            result.must[f"{door}: p99 of {count} paced streams {shares[1]:.3f} of the ideal (at most 1.03)"] = (
                shares[1] <= 1.03
            )


async def measure(rounds: int, seconds: int, count: int) -> Result:
    """All four, one after the other."""
    result = Result("B18", "each door", ("figure", "door", "value", "second value"))
    await first_token(rounds, result)
    await streams(seconds, result)
    await paced(count, result)
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=100, seconds=5, streams=200)
    finish(asyncio.run(measure(given.rounds, given.seconds, given.streams)), plot=given.plot)
