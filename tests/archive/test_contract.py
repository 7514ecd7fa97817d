"""All archives keep the contract."""

import pytest

from tom.archive.memory import MemoryArchive, Shelves
from tom.testing.archive_contract import ArchiveContract


def prepared(make):
    async def mirror(user="local", namespace="chat_history"):
        archive = make(user, namespace)
        await archive.prepare()
        return archive

    return mirror


class TestMemory(ArchiveContract):
    @pytest.fixture
    def mirror(self, clock):
        shelves = Shelves()
        return prepared(lambda user, namespace: MemoryArchive(clock, namespace=namespace, user=user, on=shelves))


@pytest.mark.services
class TestMysql(ArchiveContract):
    @pytest.fixture
    def mirror(self, open_mysql):
        return prepared(open_mysql)


@pytest.mark.services
class TestMongodb(ArchiveContract):
    @pytest.fixture
    def mirror(self, open_mongodb):
        return prepared(open_mongodb)


@pytest.mark.services
class TestRedis(ArchiveContract):
    @pytest.fixture
    def mirror(self, open_redis):
        return prepared(open_redis)
