"""`tom config check` where there is an archive: reachable, away, or one whose account may not write."""

import asyncio
import json
import uuid

import pytest

from tom.testing import databases

pytestmark = pytest.mark.services


@pytest.fixture
def database(mariadb_server):
    """``database(grants)``: an account of its own with these rights on a database of its own."""
    made = []

    async def ask(*statements):
        import aiomysql

        connection = await aiomysql.connect(
            host=mariadb_server.host, port=mariadb_server.port, user=databases.ADMIN, password=databases.PASSWORD
        )
        try:
            async with connection.cursor() as cursor:
                for statement in statements:
                    await cursor.execute(statement)
        finally:
            connection.close()

    def make(grants):
        name = f"t{uuid.uuid4().hex[:12]}"
        made.append(name)
        asyncio.run(
            ask(
                f"CREATE DATABASE {name}",
                f"CREATE USER {name}@'%' IDENTIFIED BY 'canary'",
                f"GRANT {grants} ON {name}.* TO {name}@'%'",
            )
        )
        return {
            "HISTORY_STORAGE_BACKEND": "mysql",
            "HISTORY_MYSQL_HOST": mariadb_server.host,
            "HISTORY_MYSQL_PORT": str(mariadb_server.port),
            "HISTORY_MYSQL_USER": name,
            "HISTORY_MYSQL_PASSWORD": "canary",
            "HISTORY_MYSQL_DATABASE": name,
        }

    yield make
    for name in made:
        asyncio.run(ask(f"DROP USER {name}@'%'", f"DROP DATABASE {name}"))


def check(tom, env):
    answer = json.loads(tom("config", "check", "--standalone", "--data", "data", "--json", env=env).stdout)
    assert "canary" not in json.dumps(answer)
    return answer


def test_an_archive_that_can_be_written_is_no_news(tom, database):
    answer = check(tom, database("ALL"))
    assert (answer["ok"], answer["errors"]) == (True, [])
    assert not [line for line in answer["warnings"] if "archive" in line]


def test_an_account_that_may_not_make_tables_is_an_error_that_names_the_rights(tom, database):
    answer = check(tom, database("SELECT, INSERT"))
    (error,) = answer["errors"]
    assert error.startswith("config: environment: The archive mysql: The account may not do this (MySQL error 1142)")
    assert "grant the account CREATE" in error
    assert not answer["ok"]


def test_a_wrong_password_is_an_error_that_says_what_to_set(tom, database):
    answer = check(tom, database("ALL") | {"HISTORY_MYSQL_PASSWORD": "another"})
    (error,) = answer["errors"]
    assert "The account or its password is refused (MySQL error 1045)" in error
    assert "tom config explain HISTORY_MYSQL_PASSWORD" in error
    assert not answer["ok"]


def test_a_database_that_the_account_may_not_use_is_an_error(tom, database):
    answer = check(tom, database("ALL") | {"HISTORY_MYSQL_DATABASE": "mysql"})
    (error,) = answer["errors"]
    assert "(MySQL error 1044)" in error
    assert "grant the account" in error


def test_an_archive_that_is_away_is_a_warning(tom, free_port):
    env = {
        "HISTORY_STORAGE_BACKEND": "redis",
        "HISTORY_REDIS_URL": f"redis://:canary@127.0.0.1:{free_port}/0",
    }
    answer = check(tom, env)
    assert answer["ok"]
    (line,) = [line for line in answer["warnings"] if "archive" in line]
    assert line.startswith("⚠️ The archive redis: ")
    assert line.endswith("see: tom archive status")


def test_a_redis_that_is_away_is_a_warning_and_one_that_refuses_the_password_an_error(tom, free_port, redis_server):
    answer = check(tom, {"REDIS_URL": f"redis://:canary@127.0.0.1:{free_port}/0"})
    assert answer["ok"]
    (line,) = [line for line in answer["warnings"] if "Redis" in line]
    assert line.startswith("⚠️ Redis does not answer: ")
    redis_server.usable()
    answer = check(tom, {"REDIS_URL": f"redis://somebody:canary@127.0.0.1:{redis_server.port}/0"})
    (error,) = answer["errors"]
    assert error.endswith("Redis refuses the account or its password; correct REDIS_URL")
    assert check(tom, {"REDIS_URL": redis_server.url})["errors"] == []
