"""B7: time to first token with ten cold services configured, against none.

Each service is a program of five tools that was used before and has not been started since: its list is kept. Two
houses take turns; in each round a person whose agent runs, but none of whose services does, sends their first message.
No triage: all fifty tools go with the prompt.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from clients import client, session
from measure import Result, finish, median, options, percentile
from servers import Server, settings, upstream
from tom.testing.hostile_services import PLAYED
from tom.testing.house import House

SERVICES, TOOLS = 10, 5
MUST = 1.1


def services(folder: Path) -> dict[str, Any]:
    """Ten programs."""
    schema = {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for"}, "limit": {"type": "integer"}},
        "required": ["query"],
    }
    found: dict[str, Any] = {}
    for number in range(SERVICES):
        tools = [
            {"name": f"search_{number}_{which}", "description": "Searches a list of things.", "inputSchema": schema}
            for which in range(TOOLS)
        ]
        script = folder / f"service{number}.json"
        script.write_text(json.dumps({"tools": tools, "name": f"service{number}"}))
        found[f"service{number}"] = {"command": sys.executable, "args": ["-S", "-E", PLAYED, str(script)]}
    return found


@asynccontextmanager
async def house(model: Server, folder: Path, people: tuple[str, ...], more: dict[str, Any]) -> AsyncGenerator[Server]:
    """A house whose people have used their services before, and that has been started anew."""
    opened = House(folder, settings={**settings(f"{model.url}/v1"), **more}, people=people)
    await opened.start()
    try:
        for person in people:
            await first_message(Server("tom", 0, opened.url, opened.tls()), person)
        await opened.stop()
        await opened.start()
        yield Server("tom", opened.process.pid, opened.url, opened.tls())
    except BaseException:
        sys.stderr.write(opened.log[-3000:])
        raise
    finally:
        await opened.stop()


async def first_message(server: Server, person: str) -> float:
    """Milliseconds to the first token of the first message to an agent that runs."""
    async with session(server, person) as http:
        async with http.get(f"{server.url}/sessions") as answer:  # the agent is up, and has read what it keeps
            await answer.read()
        async with client(server, http, 0) as one:
            await asyncio.sleep(0.2)  # the other house's agent has come to rest
            return (await one.ask()).first * 1000


async def measure(rounds: int) -> Result:
    """Take turns."""
    people = tuple(f"person-{number}" for number in range(rounds))
    first: dict[str, list[float]] = {"none": [], "ten cold": []}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with_ten = {"services": services(folder), "triage": {"skip_below": SERVICES}}
        async with (
            upstream(chunks=8, pause_ms=2) as model,
            house(model, folder / "none", people, {}) as none,
            house(model, folder / "ten", people, with_ten) as ten,
        ):
            houses = [("none", none), ("ten cold", ten)]
            for person in people:
                for name, server in houses:
                    first[name].append(await first_message(server, person))
                houses.reverse()  # whoever comes second finds the model warmer, and the other's services starting
    return table(first)


def table(first: dict[str, list[float]]) -> Result:
    """Medians and their ratio."""
    ratio = median(first["ten cold"]) / median(first["none"])
    result = Result(
        "B7", "time to first token, first message (ms)", ("services", "median", "p95", "against none"), unit="ms"
    )
    for name, values in first.items():
        result.add(name, median(values), percentile(values, 0.95), median(values) / median(first["none"]))
    result.numbers = {"none_ms": median(first["none"]), "ten_cold_ms": median(first["ten cold"]), "ratio": ratio}
    result.must[f"ten cold services cost at most {MUST} times"] = ratio <= MUST
    result.series = first
    return result


if __name__ == "__main__":
    given = options(__doc__, rounds=16)
    finish(asyncio.run(measure(given.rounds)), plot=given.plot)
