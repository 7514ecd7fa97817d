"""MariaDB's tables: made as they are written, mended where they lack something, and never narrowed."""

from dataclasses import replace

import pytest

from tom.archive.archive import ArchiveUnavailable, ArchiveUnfit, RecordRefused
from tom.archive.tables import Statements
from tom.testing import databases
from tom.testing.archive_contract import message, session, texts

pytestmark = [pytest.mark.anyio, pytest.mark.services]

COLUMNS = """SELECT table_name, column_name, column_type FROM information_schema.columns
WHERE table_schema = '{}' ORDER BY table_name, ordinal_position"""


async def columns(ask, place):
    found = {}
    for table, column, kind in await ask(COLUMNS.format(place.database)):
        found.setdefault(table, []).append((column, kind))
    return found


async def test_the_tables_are_as_written(open_mysql, mysql_place, ask_mariadb):
    await open_mysql().prepare()
    assert await columns(ask_mariadb, mysql_place) == {
        "chat_sessions": [
            ("namespace", "varchar(64)"), ("id", "varchar(128)"), ("user", "varchar(64)"), ("memory_limit", "int(11)"),
            ("created_at", "datetime(6)"), ("metadata", "longtext"),
        ],
        "chat_messages": [
            ("id", "bigint(20)"), ("namespace", "varchar(64)"), ("user", "varchar(64)"), ("session_id", "varchar(128)"),
            ("seq", "bigint(20)"), ("role", "varchar(32)"), ("content", "longtext"), ("created_at", "datetime(6)"),
            ("stored_at", "datetime(6)"), ("metadata", "longtext"),
        ],
    }  # fmt: skip
    tables = await ask_mariadb(
        f"SELECT engine, table_collation FROM information_schema.tables WHERE table_schema = '{mysql_place.database}'"
    )
    assert set(tables) == {("InnoDB", "utf8mb4_bin")}
    keys = await ask_mariadb(
        "SELECT table_name, index_name, non_unique, group_concat(column_name ORDER BY seq_in_index) FROM"
        f" information_schema.statistics WHERE table_schema = '{mysql_place.database}' GROUP BY 1, 2, 3"
    )
    assert {(table, int(other), names) for table, _, other, names in keys} == {
        ("chat_sessions", 0, "namespace,user,id"),
        ("chat_messages", 0, "id"),
        ("chat_messages", 0, "namespace,user,session_id,seq"),
        ("chat_messages", 1, "namespace,session_id"),
    }


async def test_tables_may_have_other_names(open_mysql, mysql_place, ask_mariadb):
    archive = open_mysql(place=replace(mysql_place, sessions="order", messages="Key_2"))
    await archive.prepare()
    await archive.write(session(), (message(1, "one"),))
    assert await texts(archive) == [(1, "one")]
    assert set(await columns(ask_mariadb, mysql_place)) == {"order", "Key_2"}


def test_what_is_no_name_never_gets_into_a_statement():
    for name in ("", "a-b", "1a", "a`; DROP TABLE x; --", "a" * 65, "ä"):
        with pytest.raises(ValueError, match="no name of a table"):
            Statements(name, "chat_messages")
        with pytest.raises(ValueError, match="no name of a table"):
            Statements("chat_sessions", name)


async def test_what_a_table_lacks_is_added_and_nothing_is_dropped(open_mysql, mysql_place, ask_mariadb):
    await ask_mariadb(
        f"USE {mysql_place.database}",
        "CREATE TABLE chat_sessions (id VARCHAR(128), namespace VARCHAR(64), remark TEXT)",
        "CREATE TABLE chat_messages (number INT PRIMARY KEY, session_id VARCHAR(128), content TEXT, namespace VARCHAR(64))",
        "INSERT INTO chat_messages VALUES (0, 'c', 'from before', 'chat_history')",
        "ALTER TABLE chat_messages MODIFY number INT DEFAULT 7",
    )
    archive = open_mysql()
    await archive.prepare()
    await archive.prepare()
    await archive.write(session(), (message(1, "one"),))
    await archive.write(session(), (message(1, "again"),))
    assert await texts(archive) == [(1, "again")]
    rows = await ask_mariadb(f"SELECT content FROM {mysql_place.database}.chat_messages ORDER BY content")
    assert rows == (("again",), ("from before",))
    assert "remark" in dict((await columns(ask_mariadb, mysql_place))["chat_sessions"])


@pytest.mark.promise("P10")
async def test_a_key_that_cannot_tell_people_apart_is_not_written_to(open_mysql, mysql_place, ask_mariadb):
    await ask_mariadb(
        f"USE {mysql_place.database}",
        "CREATE TABLE chat_sessions (id VARCHAR(128), namespace VARCHAR(64), PRIMARY KEY (namespace, id))",
    )
    with pytest.raises(ArchiveUnfit, match=r"\(namespace, user, id\)"):
        await open_mysql().prepare()


async def test_an_account_that_may_not_make_tables_is_told_so(open_mysql, mysql_place, ask_mariadb):
    await ask_mariadb(
        "CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'pass'",
        f"GRANT SELECT ON {mysql_place.database}.* TO reader@'%'",
    )
    place = replace(mysql_place, user="reader", password="pass")
    with pytest.raises(ArchiveUnfit, match="1142"):
        await open_mysql(place=place).prepare()
    with pytest.raises(ArchiveUnavailable, match="1045"):
        await open_mysql(place=replace(place, password="wrong")).prepare()
    with pytest.raises(ArchiveUnavailable, match="1044"):
        await open_mysql(place=replace(place, database="nowhere")).prepare()
    with pytest.raises(ArchiveUnavailable, match="2003"):
        await open_mysql(place=replace(place, port=1)).prepare()


async def test_what_no_column_holds_is_refused(open_mysql):
    archive = open_mysql()
    await archive.prepare()
    with pytest.raises(RecordRefused, match="1406"):
        await archive.write(session(), (message(1, role="r" * 40),))
    with pytest.raises(RecordRefused):
        await archive.write(session(), (message(1, "half \ud83d a character"),))
    with pytest.raises(RecordRefused, match="max_allowed_packet"):
        await archive.write(session(), (message(1, "x" * 17_000_000),))
    assert await archive.messages("c", limit=1, offset=0) == ()
    assert (await archive.sessions(limit=1, offset=0))[1] == 0


async def test_large_messages_go_one_by_one(open_mysql):
    archive = open_mysql()
    await archive.prepare()
    await archive.write(session(), [message(seq, f"{seq}" * 5_000_000) for seq in range(1, 4)])
    assert [(seq, len(text)) for seq, text in await texts(archive)] == [(seq, 5_000_000) for seq in (1, 2, 3)]


async def test_what_was_begun_when_it_gave_up_is_undone(open_mysql, mysql_place, mariadb_server, ask_mariadb):
    archive = open_mysql(seconds=0.7)
    await archive.prepare()
    await archive.write(session(), (message(1, "one"),))
    mariadb_server.stop()
    with pytest.raises(ArchiveUnavailable, match="in time"):
        await archive.write(session(), (message(2, "two"),))
    mariadb_server.go_on()
    await archive.erase("c")
    assert await texts(archive) == []
    assert await ask_mariadb(f"SELECT count(*) FROM {mysql_place.database}.chat_messages") == ((0,),)


async def test_words_of_the_server_that_quote_what_it_was_told_are_not_repeated(open_mysql):
    archive = open_mysql()
    await archive.prepare()
    with pytest.raises(RecordRefused) as caught:
        await archive.write(session(), (message(1, "private", role="private" * 9),))
    assert "private" not in caught.value.message
    assert databases.PASSWORD not in str(caught.value)
