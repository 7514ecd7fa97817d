"""A house on a real address, with a model that does as it is told and services from elsewhere."""

import json
import sys
from pathlib import Path

import pytest

from tom.testing.house import House
from tom.testing.simulated_llm import SimulatedLLM


@pytest.fixture
def llm():
    """The model of every house of this test."""
    with SimulatedLLM() as endpoint:
        yield endpoint


def settings_for(endpoint, services=None, **more):
    """A configuration whose only model is the simulated one."""
    return {
        "global": {
            "llm": "simulated",
            "llms": {
                "simulated": {
                    "api": "none",
                    "base_url": endpoint.url,
                    "models": ["compatible/small", "compatible/medium", "compatible/large"],
                    "timeout": 5,
                }
            },
        },
        "chat": {"service": {"context": {"max_tokens": 32000}}},
        "services": services or {},
        **more,
    }


@pytest.fixture
def time_service():
    """mcp-server-time, a third-party service from the Python package index."""
    program = Path(sys.executable).with_name("mcp-server-time")
    return {"time": {"command": str(program), "args": ["--local-timezone", "UTC"]}}


class Ledger:
    """What the ledger service did, and the gates that hold it."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()

    @property
    def service(self):
        module = ["-m", "tom.testing.ledger_service", str(self.directory)]
        classes = {"write_note": "write_own"}  # notes of one's own: a write that needs no yes
        return {"ledger": {"command": sys.executable, "args": module, "tools": {"classes": classes}}}

    def hold(self, gate):
        (self.directory / gate).touch()

    def release(self, gate):
        (self.directory / gate).unlink()

    @property
    def held(self):
        return (self.directory / "held").exists()

    def lines(self, name):
        path = self.directory / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def processes(self):
        """The pids of services that work on this directory."""
        found = set()
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and str(self.directory).encode() in (process / "cmdline").read_bytes():
                    found.add(int(process.name))
            except OSError:
                continue
        return found

    @property
    def effects(self):
        return self.lines("effects.jsonl")

    @property
    def reads(self):
        return self.lines("reads.jsonl")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


@pytest.fixture
async def open_house(tmp_path, llm):
    """``await open_house(services, **settings)`` starts a house; all of them are stopped at the end."""
    houses = []

    async def open_one(services=None, **more):
        house = House(tmp_path / f"house{len(houses)}", settings_for(llm, services, **more))
        houses.append(house)
        await house.start()
        return house

    yield open_one
    for house in houses:
        await house.stop()
