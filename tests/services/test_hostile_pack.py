"""The pack of hostile services: each case of ``cases/hostile/*.yml`` says what it attacks with and what holds all the same.

Beside each of them a service that behaves goes on answering, and when all is closed no process is left.
"""

import asyncio
import json
import resource
import socket
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tom.conversation.elicitation import ElicitationAnswer
from tom.services.service import Pace
from tom.testing.hostile_services import hostile, played
from tom.testing.manual_clock import ManualClock

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(Path(__file__).with_name("cases").joinpath("hostile").glob("*.yml"))
    for case in YAML(typ="safe", pure=True).load(path.read_text())
]
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.promise("P9"), pytest.mark.promise("P15")]


class Person:
    """Says yes to every question, and notes them."""

    def __init__(self):
        self.questions = []

    def progressed(self, done, total, message):
        pass

    async def elicit(self, question):
        self.questions.append(question)
        return ElicitationAnswer("accept", {})


class Played:
    """One case, as it is played."""

    def __init__(self, case, registry, clock, calls):
        self.holds, self.registry, self.clock, self._calls = case["holds"], registry, clock, calls
        self.person = Person()
        self.tools = {}

    async def offered(self):
        offered = await self.registry.tools(["played"])
        assert all(len(tool.description.encode()) <= 2048 for tool in offered.tools)
        assert len(offered.tools) <= 128
        return offered

    async def held(self):
        return [name.partition(".")[2] for name in (await self.offered()).held]

    @property
    def called(self):
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []

    async def call(self, tool, *, timeout=20.0, within=None, arguments=None, **expected):
        started = time.monotonic()
        definition = self.tools[tool]
        outcome = await self.registry.call(definition, arguments or {}, timeout=timeout, exchange=self.person)
        assert time.monotonic() - started < (within or timeout * 1.1 + 0.5)
        for name in ("is_error", "unknown", "truncated"):
            assert getattr(outcome, name) is expected.get(name, getattr(outcome, name)), outcome.content[:200]
        assert bool(outcome.extra.get("held")) is expected.get("held", False)
        check_text(outcome.content, {"at_most": 100_000, **expected})


def check_text(text, expected):
    assert len(text) <= expected.get("at_most", 2**30)
    assert text == expected.get("is", text)
    for part in expected.get("has", ()):
        assert part in text
    for part in expected.get("lacks", ()):
        assert part not in text


@pytest.fixture
def listener():
    """A port on which nobody should knock."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("case", CASES)
async def test_what_holds(case, tmp_path, quick, listener, children, alive, until):
    script, calls, clock = tmp_path / "script.json", tmp_path / "calls", ManualClock()
    script.write_text(json.dumps(case["service"]).replace("$port", str(listener.getsockname()[1])))
    entry = played(script, calls=calls, connect_timeout=case.get("connect_timeout", 30.0))
    before, memory = children(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with quick(entry, hostile("sample"), clock=clock, pace=Pace(rest=0.3)) as registry:
        it = Played(case, registry, clock, calls)
        beside = next(tool for tool in (await registry.tools(["sample"])).tools if tool.tool == "add")
        await definitions_hold(it)
        await calls_hold(it)
        await reading_holds(it)
        await later_holds(it)
        async with asyncio.timeout(5):
            assert (await registry.call(beside, {"a": 1, "b": 2})).content == "3"
        left = await leftovers(it)
    if it.holds.get("no_connection"):
        with pytest.raises(BlockingIOError):
            listener.accept()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    assert grown < it.holds.get("memory", 300)
    await until(lambda: children() == before)
    await until(lambda: not any(alive(pid) for pid in left))


async def definitions_hold(it):
    holds, started = it.holds, time.monotonic()
    offered = await it.offered()
    assert time.monotonic() - started < holds.get("within", 15)
    it.tools = {tool.tool: tool for tool in offered.tools}
    assert list(it.tools) == holds.get("offered", list(it.tools))
    assert len(it.tools) == holds.get("offered_count", len(it.tools))
    assert bool(offered.unavailable) is holds.get("unavailable", False)
    (seen,) = (one for one in await it.registry.overview() if one["name"] == "played")
    assert set(holds.get("skipped", ())) <= set(seen["skipped"])
    for tool, wanted in holds.get("class", {}).items():
        assert it.tools[tool].tool_class == wanted
    for name in holds.get("proposed", ()):
        assert it.tools[name].proposed
    for name in holds.get("untrusted", ()):
        assert not it.tools[name].trusted
    if "honours_key" in holds:
        assert [tool.tool for tool in offered.tools if tool.honours_key] == holds["honours_key"]
    for tool, wanted in holds.get("description", {}).items():
        check_text(it.tools[tool].description, wanted)
    for tool, wanted in holds.get("parameters", {}).items():
        check_text(json.dumps(it.tools[tool].parameters, ensure_ascii=False), wanted)
    for tool, arguments in holds.get("valid", {}).items():
        assert it.registry.check(it.tools[tool], arguments) is None
    if "checked_within" in holds:
        wanted, started = holds["checked_within"], time.monotonic()
        it.registry.check(it.tools[wanted["tool"]], wanted["arguments"])
        assert time.monotonic() - started < wanted["seconds"]
    if "about" in holds:
        (status,) = (one for one in it.registry.status() if one.name == "played")
        check_text(status.description, holds["about"])
    await names_hold(it)


async def names_hold(it):
    everything = (await it.registry.tools()).tools
    names = {tool.full_name: tool.name for tool in everything}
    assert len(set(names.values())) == len(everything)
    for tool, name in it.holds.get("named", {}).items():
        assert names[f"played.{tool}"] == name
    if it.holds.get("own_names"):  # what the model calls is what is dispatched, whoever has similar names
        it.tools |= {tool.tool: tool for tool in everything if tool.service == "played"}
        for tool in it.tools.values():
            assert (await it.registry.call(tool, {}, timeout=5)).content == f"{tool.tool} was called"
        (real,) = (tool for tool in everything if tool.full_name == "sample.add")
        assert (await it.registry.call(real, {"a": 2, "b": 2}, timeout=5)).content == "4"


async def calls_hold(it):
    for which in ("call", "again"):
        if which in it.holds:
            await it.call(**it.holds[which])
    assert len(it.person.questions) == it.holds.get("asked", len(it.person.questions))
    assert len(it.person.questions) <= it.holds.get("asked_at_most", 10)
    if "question" in it.holds:
        (question,) = it.person.questions
        check_text(question.message + json.dumps(question.schema, ensure_ascii=False), it.holds["question"])
    assert it.called == it.holds.get("called", it.called)


async def reading_holds(it):
    holds = it.holds
    if "resources" in holds:
        listed = await it.registry.resources(["played"])
        assert [one.uri for one in listed] == holds["resources"]
        check_text("".join(one.name + one.title + one.description for one in listed), holds["resource_texts"])
    if "read" in holds:
        content = await it.registry.read("played", holds["read"]["uri"], timeout=20)
        assert content.truncated is holds["read"]["truncated"]
        check_text(content.text, holds["read"])
    if "prompts" in holds:
        assert [one.prompt for one in await it.registry.prompts(["played"])] == holds["prompts"]
        messages = await it.registry.prompt("played", holds["prompt"]["name"], {})
        assert [message.role for message in messages] == holds["prompt"]["roles"]
        check_text("".join(part.text for message in messages for part in message.parts), holds["prompt"])
    if "consign" in holds:
        text = await it.registry.description("played", "response_consign", timeout=5)
        assert len(text.encode()) <= holds["consign"]["at_most"]
        check_text(text, holds["consign"])


async def later_holds(it):
    """What is so after the service has been listed again, as a call that writes does."""
    later = it.holds.get("later")
    if later is None:
        return
    for _ in range(it.holds.get("turns", 1)):
        it.clock.advance(2)
        await it.registry.call(next(iter(it.tools.values())), {}, timeout=5)
    async with asyncio.timeout(10):
        while sorted(await it.held()) != later.get("held", []):
            await asyncio.sleep(0.01)
    offered = await it.offered()
    assert [tool.tool for tool in offered.tools] == later.get("offered", [tool.tool for tool in offered.tools])
    assert len(offered.tools) == later.get("offered_count", len(offered.tools))
    if "call" in later:
        await it.call(**later["call"])
    assert not set(it.called) & set(it.holds.get("uncalled", ()))


async def leftovers(it):
    """The processes that a tool says it has left behind."""
    tool = it.holds.get("leaves_nothing_of")
    if tool is None:
        return []
    outcome = await it.registry.call(it.tools[tool], {}, timeout=5)
    return json.loads(outcome.content)
