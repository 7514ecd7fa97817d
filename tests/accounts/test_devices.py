"""A browser that logged in before has a counter of its own, and no more than that."""

from datetime import timedelta

import pytest

from tom.accounts.devices import MOST_PER_USER
from tom.accounts.refusals import InvalidCredentials, TooManyAttempts

pytestmark = pytest.mark.anyio

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.1"
RIGHT = "the first password"


async def fail(accounts, times, *, user="alice", address=ELSEWHERE, device=""):
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            await accounts.log_in(user, "wrong", address=address, device=device)


async def locked_out(accounts, user="alice", device="", password=RIGHT):
    try:
        await accounts.log_in(user, password, address=HOME, device=device)
    except TooManyAttempts:
        return True
    return False


async def test_nobody_keeps_a_known_browser_out_whatever_they_try(opened):
    accounts = await opened()
    device = await accounts.remember_device("alice")
    await fail(accounts, 5)
    accounts = await opened()
    assert await locked_out(accounts)
    assert not await locked_out(accounts, "ALICE", device)
    assert await locked_out(accounts), "its success does not give others new attempts"


async def test_a_known_browser_may_guess_no_more_often_than_others(opened):
    accounts = await opened()
    device = await accounts.remember_device("alice")
    await fail(accounts, 5, device=device)
    assert await locked_out(accounts, device=device)
    assert not await locked_out(accounts)


async def test_a_known_browser_counts_for_its_address(opened):
    accounts = await opened()
    for _ in range(4):
        await fail(accounts, 5, address=HOME, device=await accounts.remember_device("alice"))
    assert await locked_out(accounts, device=await accounts.remember_device("alice"))


async def test_a_browser_is_known_for_its_user_only(opened):
    accounts = await opened()
    device = await accounts.remember_device("bob")
    await fail(accounts, 5)
    for presented in (device, "A" * 43, "ä" * 43, "x"):
        assert await locked_out(accounts, device=presented)
    assert await accounts.remember_device("bob", device) == device
    assert await accounts.remember_device("alice", device) != device


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_oldest_browsers_beyond_twenty_are_forgotten(opened, clock, restarted):
    accounts = await opened()
    devices = []
    for _ in range(MOST_PER_USER):
        devices.append(await accounts.remember_device("alice"))
        clock.advance(1)
    await accounts.remember_device("alice", devices[0])
    await accounts.remember_device("alice")
    accounts = await opened() if restarted else accounts
    await fail(accounts, 5)
    assert await locked_out(accounts, device=devices[1])
    assert not await locked_out(accounts, device=devices[0])


async def test_a_browser_is_forgotten_after_400_days(opened, clock):
    accounts = await opened()
    device = await accounts.remember_device("alice")
    clock.advance(timedelta(days=401).total_seconds())
    await fail(accounts, 5)
    assert await locked_out(accounts, device=device)
