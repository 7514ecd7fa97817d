"""B1: added time to first token, one client, through TLS, gateway and agent, the message fsynced first.

Direct, naive and Tom take turns, round by round; a figure is the median of a server's rounds less the direct median.
"""

import asyncio

from clients import crowds
from measure import Result, finish, median, options, percentile
from servers import rivals


async def measure(rounds: int) -> Result:
    """Take turns."""
    first: dict[str, list[float]] = {"direct": [], "naive": [], "tom": []}
    accepted: list[float] = []
    async with rivals(chunks=8, pause_ms=2) as servers, crowds(servers, 1) as crowd:
        for _ in range(rounds):
            for server, (one,) in crowd:
                timing = await one.ask()
                first[server.name].append(timing.first * 1000)
                if server.name == "tom":
                    accepted.append(timing.accepted * 1000)
    return table(first, accepted)


def table(first: dict[str, list[float]], accepted: list[float]) -> Result:
    """Medians and what they add."""
    floor = median(first["direct"])
    result = Result("B1", "added time to first token, 1 client (ms)", ("server", "median", "p95", "added"), unit="ms")
    for name, values in first.items():
        result.add(name, median(values), percentile(values, 0.95), median(values) - floor)
    result.add("tom, acknowledged", median(accepted), percentile(accepted, 0.95), "")
    added = {name: median(first[name]) - floor for name in ("naive", "tom")}
    result.numbers = {
        "direct_ms": floor,
        "naive_added_ms": added["naive"],
        "tom_added_ms": added["tom"],
        "tom_acknowledged_ms": median(accepted),
    }
    result.must["added no more than the naive server adds"] = added["tom"] <= added["naive"]
    result.series = first
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=200)
    finish(asyncio.run(measure(given.rounds)), plot=given.plot)
