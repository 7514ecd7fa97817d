"""The bypass list: what may stand on it, what it covers, and that it is still there after a restart."""

from collections.abc import AsyncIterator
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest

from tom.limits.bypass import Bypass, BypassNotFound, InvalidIp, NetworkTooWide
from tom.sqlite.database import Database
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def _open(path: Path, clock: ManualClock) -> Database:
    migrations = resources.files("tom.accounts").joinpath("migrations")
    return await Database.open(path / "gateway.db", migrations=migrations, clock=clock)


@pytest.fixture
async def database(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    opened = await _open(tmp_path, clock)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("given", "kept", "covered", "not_covered"),
    [
        ("10.0.0.5", "10.0.0.5", ["10.0.0.5", "::ffff:10.0.0.5"], ["10.0.0.6", "", "nonsense"]),
        (" ::ffff:10.0.0.5 ", "10.0.0.5", ["10.0.0.5", "::ffff:a00:5"], ["10.0.0.4"]),
        ("10.0.0.5/32", "10.0.0.5", ["10.0.0.5"], ["10.0.0.4"]),
        ("10.0.0.77/24", "10.0.0.0/24", ["10.0.0.0", "10.0.0.255"], ["10.0.1.0"]),
        ("10.0.0.0/16", "10.0.0.0/16", ["10.0.255.255"], ["10.1.0.0"]),
        ("::ffff:10.0.0.0/112", "10.0.0.0/16", ["10.0.255.255"], ["10.1.0.0"]),
        ("2001:DB8::0:1", "2001:db8::1", ["2001:db8::1", "2001:0db8:0::1"], ["2001:db8::2", "0.0.0.1"]),
        ("2001:db8:1::/48", "2001:db8:1::/48", ["2001:db8:1:ffff::9"], ["2001:db8:2::1"]),
        ("::1", "::1", ["::1"], ["0.0.0.1", "127.0.0.1"]),
    ],
)
async def test_one_spelling_of_what_is_covered(
    database: Database, clock: ManualClock, given: str, kept: str, covered: list[str], not_covered: list[str]
) -> None:
    bypass = Bypass(database, clock)
    entry, fresh = await bypass.add(given, "office", by="root")
    assert (entry.ip, entry.note, entry.created_by, fresh) == (kept, "office", "root", True)
    assert [bypass.covers(address) for address in covered] == [True] * len(covered)
    assert [bypass.covers(address) for address in not_covered] == [False] * len(not_covered)
    assert (await bypass.add(kept))[1] is False, "the same again"
    await bypass.remove(given)
    assert not any(bypass.covers(address) for address in covered)
    with pytest.raises(BypassNotFound):
        await bypass.remove(given)


@pytest.mark.parametrize("given", ["", "office", "10.0.0", "10.0.0.256", "10.0.0.0/33", "10.0.0.1-9", "1.2.3.4/24/8"])
async def test_what_is_no_address_is_refused(database: Database, clock: ManualClock, given: str) -> None:
    bypass = Bypass(database, clock)
    with pytest.raises(InvalidIp):
        await bypass.add(given)
    with pytest.raises(InvalidIp):
        await bypass.remove(given)
    assert bypass.entries() == ()


@pytest.mark.parametrize("given", ["0.0.0.0/0", "10.0.0.0/15", "::/0", "2001:db8::/47", "::ffff:0.0.0.0/96"])
async def test_half_the_world_is_refused(database: Database, clock: ManualClock, given: str) -> None:
    bypass = Bypass(database, clock)
    with pytest.raises(NetworkTooWide):
        await bypass.add(given)
    assert bypass.entries() == ()


async def test_an_entry_ends_when_it_says(database: Database, clock: ManualClock) -> None:
    bypass = Bypass(database, clock)
    await bypass.add("10.0.0.5", expires_at=clock.now() + timedelta(hours=1))
    await bypass.add("10.0.0.6")
    clock.advance(3599)
    assert bypass.covers("10.0.0.5")
    clock.advance(1)
    assert not bypass.covers("10.0.0.5")
    assert [entry.ip for entry in bypass.entries()] == ["10.0.0.6"]
    with pytest.raises(BypassNotFound):
        await bypass.remove("10.0.0.5")
    assert (await bypass.add("10.0.0.5"))[1] is True


async def test_the_list_survives_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    database = await _open(tmp_path, clock)
    bypass = Bypass(database, clock)
    until = clock.now() + timedelta(days=1)
    for ip in ("2001:db8::1", "10.0.0.20", "10.0.0.3", "10.0.0.0/24"):
        await bypass.add(ip, "office", until, "root")
    await bypass.remove("10.0.0.20")
    before = bypass.entries()
    await database.close()

    database = await _open(tmp_path, clock)
    again = Bypass(database, clock)
    assert not again.covers("10.0.0.3")
    await again.load()
    assert again.entries() == before
    assert [entry.ip for entry in before] == ["10.0.0.0/24", "10.0.0.3", "2001:db8::1"]
    assert again.covers("10.0.0.3")
    await database.close()
