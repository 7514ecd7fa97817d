"""Archives over a database of their own, and a clock that stands still."""

import itertools

import aiomysql
import pymongo
import pytest
import redis

from tom.archive.mongodb import MongodbArchive
from tom.archive.mysql import MysqlArchive, MysqlPlace
from tom.archive.redis import RedisArchive
from tom.testing import databases
from tom.testing.manual_clock import ManualClock

NUMBERS = itertools.count(1)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def opened():
    """Archives that are closed when the test ends."""
    archives = []
    yield archives
    for archive in archives:
        await archive.close()


@pytest.fixture
def ask_mariadb(mariadb_server):
    """``await ask_mariadb(sql, …)`` as the account that may do all; returns the rows of the last statement."""

    async def ask(*statements, database=None):
        connection = await aiomysql.connect(
            host=mariadb_server.host, port=mariadb_server.port, user=databases.ADMIN, password=databases.PASSWORD,
            db=database, autocommit=True, charset="utf8mb4",
        )  # fmt: skip
        try:
            async with connection.cursor() as cursor:
                for statement in statements:
                    await cursor.execute(statement)
                return await cursor.fetchall()
        finally:
            connection.close()

    return ask


@pytest.fixture
async def mysql_place(mariadb_server, ask_mariadb):
    """A database of its own, and who may use it."""
    mariadb_server.usable()
    name = f"test_{next(NUMBERS)}"
    await ask_mariadb(
        f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO {databases.USER}@'%'", "SET GLOBAL read_only = 0"
    )
    yield MysqlPlace(
        host=mariadb_server.host,
        port=mariadb_server.port,
        user=databases.USER,
        password=databases.PASSWORD,
        database=name,
    )
    mariadb_server.usable()
    await ask_mariadb("SET GLOBAL read_only = 0", f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def open_mysql(mysql_place, clock, opened):
    def make(user="local", namespace="chat_history", **options):
        opened.append(
            MysqlArchive(options.pop("place", mysql_place), namespace=namespace, user=user, clock=clock, **options)
        )
        return opened[-1]

    return make


@pytest.fixture
def open_redis(redis_server, clock, opened):
    redis_server.usable()
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()

    def make(user="local", namespace="chat_history", **options):
        opened.append(RedisArchive(redis_server.url, namespace=namespace, user=user, clock=clock, **options))
        return opened[-1]

    return make


@pytest.fixture
def open_mongodb(mongodb_server, clock, opened):
    mongodb_server.usable()
    name = f"test_{next(NUMBERS)}"

    def make(user="local", namespace="chat_history", **options):
        uri = options.pop("uri", mongodb_server.url)
        opened.append(MongodbArchive(uri, database=name, namespace=namespace, user=user, clock=clock, **options))
        return opened[-1]

    yield make
    with pymongo.MongoClient(mongodb_server.url, serverSelectionTimeoutMS=5000) as client:
        client.drop_database(name)
