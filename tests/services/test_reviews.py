"""A review accepts what a person has seen, whatever the service says meanwhile; and looking costs little."""

import asyncio
import json
import os
import random
import time

import pytest

from tom.errors import ToolNotFound
from tom.services.definition import LARGEST, canonical, difference, pretty
from tom.services.kept import MemoryKept
from tom.services.reviewing import ChangedAgain, Review, TooLargeToReview
from tom.testing.hostile_services import played
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio

MAIL = {"name": "get_mail", "inputSchema": {"type": "object"}}
OTHER = {"name": "get_note", "inputSchema": {"type": "object"}}


@pytest.fixture
def service(tmp_path):
    """A service whose tools are those of a file, and that a test can make wait for its list."""

    class Played:
        def __init__(self):
            self.script, self.tools = tmp_path / "script", tmp_path / "tools"
            self.script.write_text(json.dumps({"tools_from": str(self.tools)}))
            self.show(MAIL, OTHER)

        def show(self, *tools):
            fresh = self.tools.with_suffix(".new")
            fresh.write_text(json.dumps(tools))
            fresh.replace(self.tools)

        def hold_back(self):
            self.tools.unlink()
            os.mkfifo(self.tools)

        async def asked(self):
            """The end at which the list is written that the service has been asked for."""
            return await asyncio.to_thread(self.tools.open, "w")

        @property
        def entry(self):
            return played(self.script, name="mail")

    return Played()


async def held(registry, service, clock, description="v1"):
    """Show another definition of get_mail and have it held; how it differs."""
    (tool,) = (one for one in (await registry.tools()).tools if one.tool == "get_mail")
    await changed(registry, service, clock, tool, {**MAIL, "description": description})
    return tool, (await registry.differences("mail"))["changes"]


async def changed(registry, service, clock, tool, *tools):
    service.show(*tools, OTHER)
    clock.advance(60)
    assert (await registry.call(tool, {})).is_error


@pytest.mark.promise("P15")
@pytest.mark.parametrize("told", [True, False], ids=["with the hash", "without a hash"])
@pytest.mark.parametrize(
    ("listed", "refusal"), [([{**MAIL, "description": "v2, hostile"}, OTHER], ChangedAgain), ([OTHER], ToolNotFound)]
)
async def test_what_is_listed_while_a_review_waits_is_not_what_was_reviewed(service, quick, told, listed, refusal):
    clock = ManualClock()
    async with quick(service.entry, clock=clock) as registry:
        tool, (change,) = await held(registry, service, clock)
        service.hold_back()
        clock.advance(60)
        async with asyncio.TaskGroup() as group:
            listing = group.create_task(registry.call(tool, {}))
            pipe = await service.asked()
            seen = change["seen"] if told else ""
            review = group.create_task(refused(registry, Review(tools={"get_mail": seen}), refusal))
            await asyncio.sleep(0)
            with pipe:
                pipe.write(json.dumps(listed))
        assert listing.result().is_error
        assert review.result()
        assert "get_mail" not in {one.tool for one in (await registry.tools()).tools}
        assert not any(one["reviewed_by"] for one in (await registry.overview())[0]["tools"])


async def refused(registry, review, refusal):
    with pytest.raises(refusal):
        await registry.review("mail", review, by="alice")
    return True


async def test_a_definition_too_large_to_look_at_is_held_and_cannot_be_accepted(service, quick):
    clock, kept = ManualClock(), MemoryKept()
    async with quick(service.entry, clock=clock, kept=kept) as registry:
        _, (change,) = await held(registry, service, clock, "x" * LARGEST)
        assert (change["too_large"], change["now"], change["diff"]) == (True, "", [])
        with pytest.raises(TooLargeToReview):
            await registry.review("mail", Review(tools={"get_mail": change["seen"]}), by="alice")
        assert "get_mail" not in await registry.review("mail", Review(), by="alice")
        assert "mail.get_mail" in (await registry.tools()).held
    assert not any(len(written) > LARGEST for one in (await kept.load()).lists.values() for written in one.tools)


def test_no_definition_that_can_be_looked_at_takes_long_to_compare():
    source = random.Random(1)

    def definition():
        return pretty(canonical({"name": "t", "enum": [source.randrange(300) for _ in range(13_000)]}))

    before, now = definition(), definition()
    started = time.monotonic()
    lines = difference(before, now)
    assert time.monotonic() - started < 1
    assert [line[1:] for line in lines[3:] if line.startswith("+")][-1] in now
    assert len(pretty("[" * 30_000 + "]" * 30_000)) < LARGEST * 2


@pytest.mark.parametrize("seed", range(20))
def test_a_difference_is_complete(seed):
    source = random.Random(seed)
    before, now = ([source.choice("abc") for _ in range(source.randrange(40))] for _ in range(2))
    lines = difference("\n".join(before), "\n".join(now))[2:]
    assert sorted(before + [one[1:] for one in lines if one[0] == "+"]) == sorted(
        now + [one[1:] for one in lines if one[0] == "-"]
    )
