"""B19: 2,500 idle sockets of four people: memory for each, and whether a house under light traffic grows.

With ``--minutes`` the sockets stay open that long while one message a second is answered and a socket is opened and closed;
the memory is read each half-minute, and growth is told as the slope from the second minute on.
"""

import asyncio
import time
from contextlib import AsyncExitStack

from clients import client, session
from measure import Result, finish, options, pss_mib
from servers import PEOPLE, Server, tom, upstream

READ_EVERY = 30.0
SETTLE_SECONDS = 3.0


async def open_idle(server: Server, count: int, stack: AsyncExitStack) -> None:
    """Open the sockets and leave them alone."""
    each = -(-count // len(PEOPLE))
    for number, person in enumerate(PEOPLE):
        http = await stack.enter_async_context(session(server, person))
        for _ in range(min(each, count - number * each)):
            await stack.enter_async_context(client(server, http, 0))


async def traffic(server: Server, minutes: int) -> list[tuple[float, float]]:
    """One message a second on a socket of its own; (seconds, MiB) each half-minute."""
    readings: list[tuple[float, float]] = []
    started = time.monotonic()
    async with session(server, PEOPLE[0]) as http:
        while (passed := time.monotonic() - started) < minutes * 60:
            async with client(server, http, 0) as one:
                await one.ask()
            if not readings or passed - readings[-1][0] >= READ_EVERY:
                readings.append((passed, pss_mib(server.pid)))
            await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - started - passed)))
    readings.append((time.monotonic() - started, pss_mib(server.pid)))
    return readings


def slope(readings: list[tuple[float, float]]) -> float:
    """MiB a minute, by least squares, from the second minute on."""
    late = [(at / 60, size) for at, size in readings if at >= 60]
    if len(late) < 2:
        return 0.0
    middle, mean = sum(at for at, _ in late) / len(late), sum(size for _, size in late) / len(late)
    spread = sum((at - middle) ** 2 for at, _ in late)
    return sum((at - middle) * (size - mean) for at, size in late) / spread


async def measure(count: int, minutes: int) -> Result:
    """Open, read, go on."""
    result = Result("B19", f"{count} idle sockets", ("figure", "value"), unit="MiB")
    limits = {"concurrency": {"max_connections": count + 100}, "max_connections_per_user": count + 100}
    async with upstream(chunks=16) as model, tom(model, **limits) as server, AsyncExitStack() as stack:
        await open_idle(server, len(PEOPLE) * 4, stack)  # agents are awake, pages are in place
        await asyncio.sleep(SETTLE_SECONDS)
        before = pss_mib(server.pid)
        started = time.monotonic()
        await open_idle(server, count, stack)
        opening = time.monotonic() - started
        await asyncio.sleep(SETTLE_SECONDS)
        each = (pss_mib(server.pid) - before) / count * 1024
        readings = await traffic(server, minutes) if minutes else []
    result.add("KiB a socket, gateway and agent together", each)
    result.add("sockets opened a second", count / opening)
    result.numbers = {"sockets": count, "kib_per_socket": each, "opened_per_s": count / opening}
    if readings:
        grown = slope(readings)
        result.add("MiB at the beginning, at the end", f"{readings[0][1]:.1f}, {readings[-1][1]:.1f}")
        result.add("growth from the second minute on, MiB a minute", grown)
        result.numbers |= {"growth_mib_per_minute": grown, "readings": readings}
        result.must[f"no growth: {grown:.3f} MiB a minute (at most 0.25)"] = grown <= 0.25
    return result


if __name__ == "__main__":
    given = options(__doc__, sockets=2500, minutes=0)
    finish(asyncio.run(measure(given.sockets, given.minutes)), plot=given.plot)
