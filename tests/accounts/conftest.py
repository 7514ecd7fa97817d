"""Accounts on a real file, with a clock that tests turn."""

import asyncio

import pytest

from tom.accounts.accounts import Accounts
from tom.accounts.users import UserEntry
from tom.config.secret import Secret
from tom.testing.manual_clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway.db"


@pytest.fixture
async def opened(path, clock):
    """Open the accounts (alice and bob unless told); what was opened before is closed first."""
    current = []
    people = [
        UserEntry("alice", password=Secret("the first password")),
        UserEntry("bob", password=Secret("the password of bob")),
    ]

    async def open_(*entries, **options):
        while current:
            await current.pop().close()
        accounts = await Accounts.open(path, entries or people, clock=clock, **options)
        current.append(accounts)
        return accounts

    yield open_
    while current:
        await current.pop().close()


@pytest.fixture
def settle_passwords(until):
    """Let `run` compare the passwords of the file."""

    async def settle(accounts):
        task = asyncio.ensure_future(accounts.run())
        await until(lambda: not accounts._unread)
        task.cancel()
        await asyncio.wait([task])

    return settle
