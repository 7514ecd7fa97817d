"""What changes while a password is being checked counts: nobody gets in on what was true before."""

import asyncio

import argon2
import pytest

from tom.accounts.refusals import InvalidCredentials
from tom.accounts.users import UserEntry
from tom.config.secret import Secret

pytestmark = pytest.mark.anyio

HOME = "192.0.2.1"
WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def alice(password="the first password", **more):
    return UserEntry("alice", password=Secret(password), **more)


BOB = UserEntry("bob", password=Secret("the password of bob"))


async def held_login(accounts, monkeypatch, door, name, meanwhile):
    """Log in; what ``door.name`` does first waits until ``meanwhile`` is done. Returns what came of it."""
    reached, go_on, real = asyncio.Event(), asyncio.Event(), getattr(door, name)

    async def held(*arguments, **named):
        monkeypatch.setattr(door, name, real)
        try:
            return await real(*arguments, **named)
        finally:
            reached.set()
            await go_on.wait()

    monkeypatch.setattr(door, name, held)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(outcome(accounts.log_in("alice", "x", address=HOME)))
        await reached.wait()
        await meanwhile()
        go_on.set()
    return task.result()


async def outcome(waiting):
    try:
        return await waiting
    except InvalidCredentials as error:
        return error


async def test_a_hash_made_anew_does_not_replace_a_password_set_meanwhile(opened, settle_passwords, monkeypatch):
    accounts = await opened(UserEntry("alice", password_hash=WEAK.hash("x")))
    await settle_passwords(accounts)
    await accounts.apply([UserEntry("alice")])
    came = await held_login(
        accounts, monkeypatch, accounts._passwords, "hash", lambda: accounts.set_password("alice", "another")
    )
    assert isinstance(came, InvalidCredentials)
    await accounts.log_in("alice", "another", address=HOME)
    accounts = await opened(UserEntry("alice"))
    await accounts.log_in("alice", "another", address=HOME)


async def test_a_hash_made_anew_does_not_replace_a_password_that_is_being_stored(opened, settle_passwords, monkeypatch):
    accounts = await opened(UserEntry("alice", password_hash=WEAK.hash("x")))
    await settle_passwords(accounts)
    await accounts.apply([UserEntry("alice")])
    await settle_passwords(accounts)
    storing, real = asyncio.Event(), accounts._database.write

    async def write(*arguments, **named):
        await real(*arguments, **named)
        if named["full"]:
            storing.set()
            for _ in range(50):  # turns of the loop in which the row is in the file, and not yet in force
                await asyncio.sleep(0)

    async def begin():
        setting.append(group.create_task(accounts.set_password("alice", "another")))
        await storing.wait()

    setting = []
    async with asyncio.TaskGroup() as group:
        monkeypatch.setattr(accounts._database, "write", write)
        assert isinstance(
            await held_login(accounts, monkeypatch, accounts._passwords, "hash", begin), InvalidCredentials
        )
    await accounts.log_in("alice", "another", address=HOME)


@pytest.mark.parametrize("entry", [alice("x", disabled=True), alice("x", role="admin"), BOB])
async def test_whoever_is_shut_out_while_counters_are_written_does_not_get_in(opened, monkeypatch, entry):
    accounts = await opened(alice("x"))
    came = await held_login(accounts, monkeypatch, accounts, "_store_counters", lambda: accounts.apply([entry]))
    assert isinstance(came, InvalidCredentials)
    assert accounts.logins("alice") == []


async def test_a_password_set_while_counters_are_written_lets_the_old_one_in_no_more(opened, monkeypatch):
    accounts = await opened(alice("x"))
    came = await held_login(
        accounts, monkeypatch, accounts, "_store_counters", lambda: accounts.set_password("alice", "another")
    )
    assert isinstance(came, InvalidCredentials)
    assert accounts.logins("alice") == []
