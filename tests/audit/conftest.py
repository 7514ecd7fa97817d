"""A record in a real database of the accounts' schema."""

from contextlib import asynccontextmanager
from importlib import resources
from types import SimpleNamespace

import apsw
import pytest

from tom.audit.chain import Chain
from tom.sqlite import Database
from tom.testing.manual_clock import ManualClock

MIGRATIONS = resources.files("tom.accounts").joinpath("migrations")


@pytest.fixture
def open_chain(tmp_path):
    """``async with open_chain() as record``: ``record.chain``, ``.clock``, ``.directory``."""

    @asynccontextmanager
    async def opened(directory=tmp_path, clock=None):
        clock = clock or ManualClock()
        database = await Database.open(directory / "gateway.db", migrations=MIGRATIONS, clock=clock)
        chain = await Chain.open(database, clock, directory)
        try:
            yield SimpleNamespace(chain=chain, clock=clock, directory=directory, database=database)
        finally:
            await chain.close()
            await database.close()

    return opened


@pytest.fixture
def tamper(tmp_path):
    """``tamper(sql, …)``: what somebody does who can write the file; the triggers are taken away first."""

    def change(*statements, directory=tmp_path, triggers=False):
        connection = apsw.Connection(str(directory / "gateway.db"))
        if not triggers:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
            for name in names:
                connection.execute(f"DROP TRIGGER {name}")
        try:
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    return change
