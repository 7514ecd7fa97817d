"""From settings to an archive: whose it is, where, and what is said when its client is missing."""

import asyncio
import sys

import pytest

from tom.archive.archive import ArchiveClientMissing
from tom.archive.opening import open_archive
from tom.clock import SystemClock
from tom.config.agent import ArchiveSettings, RedisSettings
from tom.config.secret import Secret
from tom.testing.archive_contract import message, session, texts

pytestmark = pytest.mark.anyio

CLIENTS = {"mysql": "aiomysql", "mongodb": "pymongo", "redis": "redis.asyncio"}


def test_without_a_backend_there_is_no_archive():
    assert open_archive(ArchiveSettings(), "alice", SystemClock()) is None


@pytest.mark.parametrize("backend", CLIENTS)
async def test_a_missing_client_is_named_with_its_extra(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, CLIENTS[backend], None)
    settings = ArchiveSettings(backend=backend, uri=Secret("redis://127.0.0.1:1"), database="d")
    archive = open_archive(settings, "alice", SystemClock())
    with pytest.raises(ArchiveClientMissing, match=rf"tom-assistant\[{backend}\]"):
        await archive.prepare()
    await archive.close()


@pytest.mark.parametrize("backend", CLIENTS)
def test_no_client_is_imported_before_it_is_used(backend, repository):
    code = (
        "import sys; from tom.archive.opening import open_archive; from tom.clock import SystemClock;"
        "from tom.config.agent import ArchiveSettings;"
        f"open_archive(ArchiveSettings(backend={backend!r}), 'alice', SystemClock());"
        "sys.exit(any(name in sys.modules for name in ('redis', 'pymongo', 'aiomysql')))"
    )

    async def run():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=repository)
        return await asyncio.wait_for(process.wait(), 60)

    assert asyncio.run(run()) == 0


@pytest.mark.services
@pytest.mark.promise("P10")
async def test_each_person_may_have_an_account_and_a_database(mariadb_server, ask_mariadb):
    mariadb_server.usable()
    for user in ("alice", "bob"):
        await ask_mariadb(
            f"CREATE DATABASE tom_{user}", f"CREATE USER tom_{user}@'%' IDENTIFIED BY 'of-{user}'",
            f"GRANT ALL ON tom_{user}.* TO tom_{user}@'%'",
        )  # fmt: skip
    settings = ArchiveSettings(
        backend="mysql", host=mariadb_server.host, port=mariadb_server.port,
        user="tom_{user}", password=Secret("of-{user}"), database="tom_{user}",
    )  # fmt: skip
    archives = {user: open_archive(settings, user, SystemClock()) for user in ("alice", "bob")}
    for user, archive in archives.items():
        await archive.prepare()
        await archive.write(session(), (message(1, user),))
    for user, archive in archives.items():
        assert await texts(archive) == [(1, user)]
        assert await ask_mariadb(f"SELECT user, content FROM tom_{user}.chat_messages") == ((user, user),)
        await archive.close()
        await ask_mariadb(f"DROP DATABASE tom_{user}", f"DROP USER tom_{user}@'%'")


@pytest.mark.services
async def test_redis_is_that_of_the_limits_unless_another_is_named(redis_server):
    redis_server.usable()
    settings, other = (
        ArchiveSettings(backend="redis", namespace="fallback"),
        RedisSettings(url=Secret(redis_server.url)),
    )
    archive = open_archive(settings, "alice", SystemClock(), redis=other)
    await archive.write(session(), (message(1, "one"),))
    assert await texts(archive) == [(1, "one")]
    await archive.erase("c")
    await archive.close()


@pytest.mark.services
async def test_mongodb_is_opened_where_the_settings_say(mongodb_server):
    mongodb_server.usable()
    settings = ArchiveSettings(
        backend="mongodb", uri=Secret(mongodb_server.url), database="of_{user}", sessions="s", messages="m"
    )
    archive = open_archive(settings, "alice", SystemClock())
    await archive.prepare()
    await archive.write(session(), (message(1, "one"),))
    assert await texts(archive) == [(1, "one")]
    await archive.close()
