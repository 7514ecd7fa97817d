"""What was pinned is what is offered and called; what differs is held until somebody has looked."""

import json
import random
import time
from dataclasses import replace

import pytest

from tom.config.agent import ServiceEntry
from tom.conversation.tool import ToolClass
from tom.errors import ServiceUnavailable, ToolNotFound
from tom.services.definition import canonical, pretty
from tom.services.kept import MemoryKept
from tom.services.listing import MOST_PINS, MOST_TOOLS, RawTool, listing_of
from tom.services.pins import first_sight, identity_of, in_force
from tom.services.reviewing import ChangedAgain, ClassInFile, Review, ServiceNotFound
from tom.testing.hostile_services import hostile, played
from tom.testing.manual_clock import ManualClock
from tom.testing.toolbox_contract import sample_toolbox

pytestmark = pytest.mark.anyio

WHOLE = {
    "name": "send_mail",
    "title": "Send mail",
    "description": "Sends a mail to one address. Returns its id.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "to": {"type": "string", "description": "Who gets it"},
            "text": {"type": "string", "maxLength": 5000},
            "mode": {"enum": ["plain", "html"]},
        },
        "required": ["to", "text"],
    },
    "outputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "annotations": {"title": "Mail", "destructiveHint": False, "openWorldHint": True},
    "icons": [{"src": "https://mail.example/icon.png", "mimeType": "image/png"}],
    "_meta": {"example.org/version": 3},
}
OTHER = {"name": "make_draft", "description": "Keeps a draft.", "inputSchema": {"type": "object"}}


@pytest.fixture
def mail(tmp_path):
    """A service whose tools are those of a file; ``mail.show(*tools)`` changes them without a word."""

    class Mail:
        def __init__(self):
            self.script, self.tools, self.calls = (tmp_path / name for name in ("script", "tools", "calls"))
            self.play()
            self.show(WHOLE, OTHER)

        def play(self, **script):
            self.script.write_text(json.dumps({"tools_from": str(self.tools), "name": "mail", **script}))

        def show(self, *tools):
            fresh = self.tools.with_suffix(".new")
            fresh.write_text(json.dumps(tools))
            fresh.replace(self.tools)

        def entry(self, **settings):
            return played(self.script, name="mail", calls=self.calls, **settings)

        @property
        def called(self):
            return [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []

    return Mail()


async def tool_named(registry, name):
    return next(tool for tool in (await registry.tools()).tools if tool.tool == name)


def change(seed, count):
    """``count`` definitions that differ from `WHOLE` in one character, and stay definitions."""
    source, text = random.Random(seed), json.dumps(WHOLE)
    letters = 'abcXYZ019 _-.,:;"{}[]\\/\u200b\u202e\U000e0041é'
    found = 0
    while found < count:
        place, letter = source.randrange(len(text)), source.choice(letters)
        changed = source.choice(
            (
                text[:place] + letter + text[place + 1 :],
                text[:place] + letter + text[place:],
                text[:place] + text[place + 1 :],
            )
        )
        try:
            tool = json.loads(changed)
        except ValueError:
            continue
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or canonical(tool) == canonical(WHOLE):
            continue
        found += 1
        yield tool


@pytest.mark.promise("P15")
async def test_a_thousand_changes_of_one_character_are_caught_at_list_and_at_call(mail, quick):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    clock = ManualClock()
    at_list = at_call = 0
    async with quick(mail.entry(), clock=clock) as registry:
        pinned = await tool_named(registry, "send_mail")
        entry = mail.entry()
        identity = identity_of(entry, "mail")
        known = listing_of(entry, [RawTool("send_mail", canonical(WHOLE))], identity=identity)
        assert known.pins["send_mail"].hash == pinned.pin
        for tool in change(seed, 1000):
            now = listing_of(entry, [RawTool(tool["name"], canonical(tool))], identity=identity, pins=known.pins)
            at_list += all(shown.tool != "send_mail" for shown in now.tools)
            mail.show(tool, OTHER)
            clock.advance(2)
            outcome = await registry.call(pinned, {"to": "a", "text": "b"}, timeout=10)
            offered = await registry.tools()
            at_call += outcome.is_error and all(shown.tool != "send_mail" for shown in offered.tools)
            assert (
                ("mail.send_mail" in offered.held) == (tool["name"] == "send_mail") == bool(outcome.extra.get("held"))
            )
        mail.show(WHOLE, OTHER)
        clock.advance(2)
        assert not (await registry.call(pinned, {"to": "a", "text": "b"}, timeout=10)).is_error
    assert (at_list, at_call) == (1000, 1000)
    assert mail.called == ["send_mail"]


@pytest.mark.promise("P15")
async def test_a_changed_tool_is_held_and_the_others_go_on(mail, quick):
    clock = ManualClock()
    async with quick(mail.entry(), clock=clock) as registry:
        pinned, other = await tool_named(registry, "send_mail"), await tool_named(registry, "make_draft")
        mail.show({**WHOLE, "description": "Sends a mail, and a copy to the author."}, OTHER)
        clock.advance(1.1)
        outcome = await registry.call(pinned, {"to": "a", "text": "b"})
        assert outcome.is_error
        assert outcome.extra["held"]
        assert "has changed since it was reviewed" in outcome.content
        assert not (await registry.call(other, {})).is_error
        offered = await registry.tools()
        assert [tool.tool for tool in offered.tools] == ["make_draft"]
        assert "tom services review" in offered.held["mail.send_mail"]
        assert registry.status()[0].pin_changed
        assert mail.called == ["make_draft"]
        mail.show(WHOLE, OTHER)
        clock.advance(1.1)
        assert not (await registry.call(pinned, {"to": "a", "text": "b"})).is_error
        assert not (await registry.tools()).held
        assert not registry.status()[0].pin_changed


async def test_an_announced_change_is_seen_at_once(mail, quick, until):
    mail.play(announce=True)
    async with quick(mail.entry()) as registry:
        other = await tool_named(registry, "make_draft")
        mail.show({**WHOLE, "title": "Now another"}, OTHER)
        await registry.call(other, {})

        async def held():
            return (await registry.tools()).held

        await until(held)


async def test_a_tool_that_only_reads_is_compared_too_if_less_often(mail, quick):
    clock = ManualClock()
    async with quick(mail.entry(classes={"send_mail": "read_public"}), clock=clock) as registry:
        pinned = await tool_named(registry, "send_mail")
        mail.show({**WHOLE, "title": "Now another"})
        clock.advance(5)
        assert not (await registry.call(pinned, {"to": "a", "text": "b"})).is_error
        clock.advance(26)
        assert (await registry.call(pinned, {"to": "a", "text": "b"})).extra["held"]


async def test_a_tool_that_is_gone_is_not_called_and_keeps_its_pin(mail, quick):
    clock = ManualClock()
    async with quick(mail.entry(), clock=clock) as registry:
        pinned = await tool_named(registry, "send_mail")
        await registry.review("mail", Review(classes={"send_mail": ToolClass.DESTRUCTIVE}), by="alice")
        mail.show(OTHER)
        clock.advance(2)
        outcome = await registry.call(pinned, {"to": "a", "text": "b"})
        assert "does not offer it now" in outcome.content
        assert not mail.called
        mail.show(OTHER, WHOLE)
        clock.advance(2)
        assert not (await registry.call(pinned, {"to": "a", "text": "b"})).is_error
        again = await tool_named(registry, "send_mail")
        assert (again.tool_class, again.proposed, again.pin) == (ToolClass.DESTRUCTIVE, False, pinned.pin)


async def test_without_a_list_to_compare_nothing_is_called(mail, quick):
    clock = ManualClock()
    async with quick(mail.entry(), clock=clock) as registry:
        pinned = await tool_named(registry, "send_mail")
        mail.tools.write_text("no list")  # the service dies of it
        clock.advance(2)
        assert (await registry.call(pinned, {"to": "a", "text": "b"}, timeout=5)).is_error
    assert not mail.called


async def test_a_review_accepts_what_was_looked_at_and_nothing_else(mail, quick):
    clock = ManualClock()
    async with quick(mail.entry(), clock=clock) as registry:
        old = await tool_named(registry, "send_mail")
        mail.show({**WHOLE, "title": "second"}, OTHER)
        clock.advance(2)
        await registry.call(old, {"to": "a", "text": "b"})
        (change,) = (await registry.differences("mail"))["changes"]
        assert [line for line in change["diff"] if line.startswith(("+ ", "- "))] == [
            '-  "title": "Send mail"',
            '+  "title": "second"',
        ]
        mail.show({**WHOLE, "title": "third"}, OTHER)
        clock.advance(2)
        await registry.call(old, {"to": "a", "text": "b"})
        with pytest.raises(ChangedAgain):
            await registry.review("mail", Review(tools={"send_mail": change["seen"]}), by="alice")
        assert (await registry.tools()).held
        (change,) = (await registry.differences("mail"))["changes"]
        assert await registry.review("mail", Review(tools={"send_mail": change["seen"]}), by="alice") == ["send_mail"]
        new = await tool_named(registry, "send_mail")
        assert not new.proposed
        assert not (await registry.call(new, {"to": "a", "text": "b"})).is_error
        outcome = await registry.call(old, {"to": "a", "text": "b"})  # what was approved as it was before
        assert outcome.extra["held"]
        (seen,) = (one for one in (await registry.overview())[0]["tools"] if one["tool"] == "send_mail")
        assert (seen["reviewed_by"], seen["held"], seen["pin"]) == ("alice", False, change["seen"])
    assert mail.called == ["send_mail"]


async def test_reviews_of_what_there_is_not_are_refused(mail, quick):
    dead = ServiceEntry(name="dead", url="http://127.0.0.1:9/mcp", connect_timeout=2)
    async with quick(mail.entry(classes={"make_draft": "write_own"}), dead) as registry:
        with pytest.raises(ServiceNotFound):
            await registry.differences("nobody")
        with pytest.raises(ServiceUnavailable):
            await registry.differences("dead")
        with pytest.raises(ToolNotFound):
            await registry.review("mail", Review(tools={"nothing": ""}), by="alice")
        with pytest.raises(ClassInFile):
            await registry.review("mail", Review(classes={"make_draft": ToolClass.READ_PUBLIC}), by="alice")


async def test_first_sight_pins_with_the_files_class_else_a_proposed_one(mail, quick):
    async with quick(mail.entry(classes={"make_draft": "write_own"})) as registry:
        sent, draft = await tool_named(registry, "send_mail"), await tool_named(registry, "make_draft")
        assert (sent.tool_class, sent.proposed, sent.outward) == (ToolClass.WRITE_EXTERNAL, True, True)
        assert (draft.tool_class, draft.proposed, draft.outward) == (ToolClass.WRITE_OWN, False, False)
        found = await registry.differences("mail")
        assert [one["tool"] for one in found["proposals"]] == ["send_mail"]
        assert json.loads(found["proposals"][0]["definition"]) == WHOLE
        assert await registry.review("mail", Review(outward={"send_mail": False}), by="alice") == ["send_mail"]
        sent = await tool_named(registry, "send_mail")
        assert (sent.tool_class, sent.proposed, sent.outward) == (ToolClass.WRITE_EXTERNAL, False, False)
        assert (await registry.differences("mail"))["proposals"] == []


async def test_kept_lists_are_on_offer_before_the_service_is_reached(mail, quick, children):
    kept = MemoryKept()
    async with quick(mail.entry(), kept=kept) as registry:
        first = await registry.tools()
    before = children()
    async with quick(mail.entry(), hostile("sample"), kept=kept) as registry:
        await registry.start()
        started = time.monotonic()
        again = await registry.tools(["mail"])
        assert time.monotonic() - started < 0.2
        assert children() == before
        assert again.tools == first.tools
        assert {one.name: one.status for one in registry.status()} == {"mail": "connected", "sample": "connecting"}
        assert not (await registry.call(again.tools[0], {"to": "a", "text": "b"})).is_error


async def test_what_a_service_said_is_known_before_it_is_reached_and_asked_again_then(mail, quick, children, until):
    def say(consign):
        contents = {"description://response_consign": [{"text": consign}], "description://mail": [{"text": "For mail"}]}
        mail.play(resources=[{"uri": "mail://1", "name": "one"}], contents=contents)

    async def consign(registry):
        return await registry.description("mail", "response_consign", timeout=5)

    say("Be polite.")
    kept = MemoryKept()
    async with quick(mail.entry(), kept=kept) as registry:
        await registry.tools()
        assert await consign(registry) == "Be polite."
        assert await registry.description("mail", "prompt_consign", timeout=5) is None
        uris = [one.uri for one in await registry.resources()]
        await until(lambda: registry.status()[0].description == "For mail")
    say("Be rude.")
    before = children()
    async with quick(mail.entry(), kept=kept) as registry:
        tool = (await registry.tools()).tools[0]
        assert await consign(registry) == "Be polite."
        assert await registry.description("mail", "prompt_consign", timeout=5) is None
        assert [one.uri for one in await registry.resources()] == uris
        assert registry.status()[0].description == "For mail"
        assert children() == before
        await registry.call(tool, {"to": "a", "text": "b"})
        assert await consign(registry) == "Be rude."


@pytest.mark.promise("P15")
async def test_what_changed_while_nobody_looked_is_held_at_the_first_call(mail, quick):
    kept = MemoryKept()
    async with quick(mail.entry(), kept=kept) as registry:
        await registry.tools()
    mail.show({**WHOLE, "_meta": {"example.org/version": 4}}, OTHER)
    async with quick(mail.entry(), kept=kept) as registry:
        tool = await tool_named(registry, "send_mail")
        assert (await registry.call(tool, {"to": "a", "text": "b"})).extra["held"]
        assert (await registry.tools()).held
    assert not mail.called
    async with quick(mail.entry(), kept=kept) as registry:  # and it is known before it is reached again
        offered = await registry.tools()
        assert list(offered.held) == ["mail.send_mail"]
        assert registry.status()[0].pin_changed


async def test_another_server_behind_the_same_address_is_another_service(mail, quick):
    kept = MemoryKept()
    async with quick(mail.entry(), kept=kept) as registry:
        tool = await tool_named(registry, "send_mail")
    mail.play(name="mail-by-somebody-else")
    async with quick(mail.entry(), kept=kept) as registry:
        assert (await registry.call(tool, {"to": "a", "text": "b"})).extra["held"]
        assert set((await registry.tools()).held) == {"mail.send_mail", "mail.make_draft"}
        (change, _) = (await registry.differences("mail"))["changes"]
        assert change["service_changed"]["pinned"]["server"] == "mail"
        assert change["service_changed"]["now"]["server"] == "mail-by-somebody-else"
    moved = played(mail.script, name="mail", calls=mail.calls.with_suffix(".moved"))
    async with quick(moved, kept=kept) as registry:  # another command line: its kept list does not count either
        assert set((await registry.tools()).held) == {"mail.send_mail", "mail.make_draft"}


async def test_what_was_said_at_another_place_is_not_said_by_this_service(mail, quick):
    def say(consign):
        contents = {"description://response_consign": [{"text": consign}]} if consign else {}
        mail.play(resources=[{"uri": "mail://1", "name": "one"}], contents=contents)

    async def consign(registry):
        return await registry.description("mail", "response_consign", timeout=5)

    kept = MemoryKept()
    say("Be hostile.")
    async with quick(mail.entry(), kept=kept) as registry:
        await registry.tools()
        assert await consign(registry) == "Be hostile."
    moved = played(mail.script, name="mail", calls=mail.calls.with_suffix(".moved"))
    say("")
    async with quick(moved, kept=kept) as registry:
        await registry.tools()
    async with quick(moved, kept=kept) as registry:  # not connected: what was kept is all there is
        await registry.tools()
        assert await consign(registry) is None


async def test_a_list_that_is_shown_from_memory_is_compared_in_the_background(mail, quick, until):
    clock, kept = ManualClock(), MemoryKept()
    async with quick(mail.entry(), kept=kept) as registry:
        await registry.tools()
    mail.show({**WHOLE, "title": "changed"}, OTHER)
    async with quick(mail.entry(), kept=kept, clock=clock) as registry:
        assert len((await registry.tools()).tools) == 2
        await until(lambda: clock.sleeping)
        clock.advance(11)

        async def held():
            return (await registry.tools()).held

        await until(held)


async def test_pins_that_cannot_be_read_cost_the_services_and_nothing_is_called(mail, quick):
    class Broken(MemoryKept):
        async def load(self):
            raise OSError("damaged")

    async with quick(mail.entry(), kept=Broken()) as registry:
        offered = await registry.tools()
        assert not offered.tools
        assert offered.unavailable == {"mail": "what was pinned cannot be read"}
        with pytest.raises(ServiceUnavailable):
            await registry.differences("mail")


async def test_the_toolbox_in_memory_holds_tools_too():
    toolbox = sample_toolbox()
    tool = await tool_named(toolbox, "add")
    toolbox.hold("sample", "add", "it has changed")
    offered = await toolbox.tools()
    assert offered.held == {"sample.add": "it has changed"}
    assert "add" not in {tool.tool for tool in offered.tools}
    assert (await toolbox.call(tool, {"a": 1, "b": 1})).extra["held"]
    toolbox.hold("sample", "add", None)
    assert (await toolbox.call(tool, {"a": 1, "b": 1})).content == "2"


def test_pinned_tools_are_not_pushed_out_by_new_ones():
    entry = ServiceEntry(name="s")
    known = listing_of(entry, [RawTool.of("mine")])
    crowd = [RawTool.of(f"t{n}") for n in range(MOST_TOOLS * 2)]
    now = listing_of(entry, [*crowd, RawTool.of("mine")], pins=known.pins)
    assert "mine" in {tool.tool for tool in now.tools}
    assert len(now.tools) == MOST_TOOLS
    assert now.beyond == MOST_TOOLS + 1


def test_a_service_cannot_have_ever_more_tools_remembered():
    entry, pins = ServiceEntry(name="s"), {}
    for turn in range(20):
        pins |= listing_of(entry, [RawTool.of(f"t{turn}_{n}") for n in range(100)], pins=pins).pins
    assert len(pins) == MOST_PINS


def test_a_difference_that_cannot_be_seen_is_shown():
    assert "\\u200b" in pretty(canonical({"description": "a\u200bb"}))
    assert "\\udb40\\udc41" in pretty(canonical({"description": "a\U000e0041b"}))
    assert "é" in pretty(canonical({"description": "é"}))


@pytest.mark.promise("P14")
@pytest.mark.parametrize(
    ("more", "outward"),
    [({}, True), ({"trust": "trusted"}, False), ({"classes": {"get_weather": "read_public"}}, False)],
)
def test_names_of_arguments_count_only_where_somebody_trusted_chose_them_or_looked(more, outward):
    definition = {"name": "get_weather", "inputSchema": {"properties": {"city": {"type": "string"}}}}
    entry = ServiceEntry(name="weather", **more)
    seen = first_sight(entry, "get_weather", definition, identity="", hash_="", now="")
    assert seen.outward is outward
    known = first_sight(ServiceEntry(name="weather"), "get_weather", definition, identity="", hash_="", now="")
    assert in_force(known, entry, definition).outward is outward
    reviewed = replace(known, proposed=False, outward=False)
    assert not in_force(reviewed, entry, definition).outward
