"""What is remembered of services: the same on disk and in memory."""

from dataclasses import replace

import pytest

from tom.clock import SystemClock
from tom.conversation.tool import ToolClass
from tom.services.behaviours import MOST_REMEMBERED, MemoryBehaviours, SqliteBehaviours
from tom.services.kept import KeptList, MemoryKept
from tom.services.keptfile import ServicesFile, SqliteKept
from tom.services.pins import Pin

pytestmark = pytest.mark.anyio

PIN = Pin(
    "mail", "send", "sha256:1", '{"server":"m"}', ToolClass.WRITE_EXTERNAL, True, True, False, "2026-01-01T00:00:00Z"
)
LIST = KeptList(
    "mail", '{"origin":"x"}', "m", "2026-07-28", ('{"name":"send"}', '{"name":"draft"}'), "For mail \ud800", 2.5, "t"
)


@pytest.fixture(params=["disk", "memory"])
async def kept(request, tmp_path):
    file = ServicesFile(tmp_path / "services.db", SystemClock())
    opened = SqliteKept(file) if request.param == "disk" else MemoryKept()
    yield opened
    await opened.close()


@pytest.fixture(params=["disk", "memory"])
async def behaviours(request, tmp_path):
    file = ServicesFile(tmp_path / "services.db", SystemClock())
    yield SqliteBehaviours(file, SystemClock()) if request.param == "disk" else MemoryBehaviours(SystemClock())
    await file.close()


async def test_nothing_is_known_at_first(kept):
    remembered = await kept.load()
    assert not remembered.pins
    assert not remembered.lists
    assert await kept.definition("mail", "send") is None


async def test_what_was_kept_is_there(kept):
    other = replace(PIN, tool="draft", tool_class=ToolClass.WRITE_OWN, proposed=False, honours_key=True)
    await kept.pin([(PIN, '{"name":"send"}'), (other, '{"name":"draft"}')])
    await kept.keep(LIST)
    remembered = await kept.load()
    assert remembered.pins == {"mail": {"send": PIN, "draft": other}}
    assert await kept.definition("mail", "draft") == '{"name":"draft"}'
    found = remembered.lists["mail"]
    assert replace(found, instructions="") == replace(LIST, instructions="")


async def test_a_renewed_pin_replaces_the_one_before_but_when_it_was_first_seen(kept):
    await kept.pin([(PIN, "old")])
    renewed = replace(PIN, hash="sha256:2", proposed=False, reviewed_by="alice", reviewed_at="2026-02-02T00:00:00Z")
    await kept.pin([(renewed, "new")])
    assert (await kept.load()).pins["mail"]["send"] == renewed
    assert await kept.definition("mail", "send") == "new"
    await kept.keep(LIST)
    await kept.keep(replace(LIST, tools=()))
    assert (await kept.load()).lists["mail"].tools == ()


async def test_what_a_service_said_is_kept_until_it_says_otherwise(kept):
    await kept.note("mail", "resources", "[]")
    await kept.note("mail", "about", "old")
    await kept.note("mail", "about", "new")
    assert (await kept.load()).readings == {"mail": {"resources": "[]", "about": "new"}}
    await kept.note("notes", "about", "other")
    await kept.forget("mail")
    assert (await kept.load()).readings == {"notes": {"about": "other"}}


async def test_services_db_survives_a_restart_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "services.db"
    for turn in range(3):
        kept = SqliteKept(ServicesFile(path, SystemClock()))
        assert len((await kept.load()).pins.get("mail", {})) == turn
        await kept.pin([(replace(PIN, tool=f"t{turn}"), "{}")])
        await kept.close()
        await kept.close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_newest_instructions_hold_and_empty_ones_are_none(behaviours):
    assert await behaviours.current() == {}
    await behaviours.write("weather", "in °C")
    await behaviours.write("global", "be short")
    await behaviours.write("weather", "in °F")
    assert await behaviours.current() == {"global": "be short", "weather": "in °F"}
    await behaviours.write("weather", "")
    assert await behaviours.current() == {"global": "be short"}
    assert [one.prompt for one in await behaviours.history("weather")] == ["", "in °F", "in °C"]


async def test_changes_are_taken_back_one_after_another(behaviours):
    for prompt in ("one", "two", "three"):
        await behaviours.write("global", prompt)
    assert await behaviours.undo("global")
    assert await behaviours.current() == {"global": "two"}
    await behaviours.write("global", "four")
    for left in ({"global": "two"}, {"global": "one"}, {}):
        assert await behaviours.undo("global")
        assert await behaviours.current() == left
    assert not await behaviours.undo("global")
    assert not await behaviours.undo("elsewhere")


async def test_a_change_with_the_same_key_is_made_once(behaviours):
    await behaviours.write("global", "one", key="k1")
    await behaviours.write("global", "two", key="k2")
    await behaviours.write("global", "one", key="k1")
    assert await behaviours.current() == {"global": "two"}
    assert await behaviours.undo("global", key="k3")
    assert await behaviours.undo("global", key="k3")
    assert await behaviours.current() == {"global": "one"}


async def test_old_changes_are_forgotten(behaviours):
    for number in range(MOST_REMEMBERED + 10):
        await behaviours.write("global", str(number))
    assert len(await behaviours.history("global")) == MOST_REMEMBERED
