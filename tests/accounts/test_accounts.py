"""Who may come in: users of config.yml, their passwords and logins, across restarts and changes."""

import asyncio
import time
from datetime import timedelta

import apsw
import argon2
import pytest

from tom.accounts.accounts import Accounts
from tom.accounts.logins import LoginLimits
from tom.accounts.refusals import InvalidCredentials, ManagedByFile, TooManyAttempts, UnknownUser
from tom.accounts.users import UserEntry
from tom.clock import timestamp
from tom.config.secret import Secret
from tom.ids import digest

pytestmark = pytest.mark.anyio

HOME = "192.0.2.1"
WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def alice(password="the first password", **more):
    return UserEntry("alice", password=Secret(password), **more)


BOB = UserEntry("bob", password=Secret("the password of bob"))


def rows(path, query):
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


async def test_a_login_is_found_by_its_token_and_by_nothing_else(opened):
    accounts = await opened()
    token, login = await accounts.log_in("Alice", "the first password", address=HOME, agent="x" * 500)
    assert accounts.find(token) is login
    assert (login.user, len(login.agent)) == ("alice", 200)
    for other in (
        "",
        token[:-1],
        token + "x",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        digest(token),
        "ä" * 43,
    ):
        assert accounts.find(other) is None


async def test_tokens_and_passwords_stand_in_no_file(opened, path, tmp_path):
    accounts = await opened()
    token, _ = await accounts.log_in("alice", "the first password", address=HOME)
    await accounts.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert token.encode() not in content
    assert b"the first password" not in content
    assert digest(token).encode() in content
    assert path.stat().st_mode & 0o077 == 0


async def test_logins_survive_a_restart(opened, settle_passwords):
    accounts = await opened()
    token, _ = await accounts.log_in("alice", "the first password", address=HOME)
    again = await opened()
    await settle_passwords(again)
    assert again.find(token).user == "alice"


async def test_every_login_has_a_token_of_its_own(opened):
    accounts = await opened()
    tokens = {(await accounts.log_in("alice", "the first password", address=HOME))[0] for _ in range(3)}
    assert len(tokens) == 3
    assert len(accounts.logins("alice")) == 3


async def test_wrong_passwords_unknown_and_disabled_users_are_refused_alike(opened):
    accounts = await opened(alice(), UserEntry("carol", password=Secret("x"), disabled=True), UserEntry("dave"))
    for username, password in [("alice", "wrong"), ("nobody", "x"), ("carol", "x"), ("dave", "x"), ("dave", "")]:
        with pytest.raises(InvalidCredentials) as refused:
            await accounts.log_in(username, password, address=HOME)
        assert refused.value.message == "Invalid credentials."


async def test_the_throttle_survives_a_restart(opened, clock):
    accounts = await opened()
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await accounts.log_in("alice", "wrong", address=HOME)
    accounts = await opened()
    with pytest.raises(TooManyAttempts):
        await accounts.log_in("alice", "the first password", address=HOME)
    clock.advance(2)
    token, _ = await accounts.log_in("alice", "the first password", address=HOME)
    accounts = await opened()
    assert accounts.find(token)
    with pytest.raises(InvalidCredentials):
        await accounts.log_in("alice", "wrong", address=HOME)


async def test_many_attempts_at_the_same_moment_gain_nothing(opened):
    accounts = await opened()
    results = await asyncio.gather(
        *(accounts.log_in("alice", f"guess {n}", address=f"192.0.2.{n}") for n in range(40)), return_exceptions=True
    )
    assert sum(isinstance(result, InvalidCredentials) for result in results) == 5
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 35


async def test_a_login_ends_after_idle_days_and_after_all_days(opened, clock):
    accounts = await opened(limits=LoginLimits(idle_days=7, max_days=30))
    idle, _ = await accounts.log_in("alice", "the first password", address=HOME)
    used, login = await accounts.log_in("alice", "the first password", address=HOME)
    for day in range(29):
        clock.advance(86_400)
        assert accounts.find(used) is login, day
        if day == 3:
            assert accounts.expires(login) == timestamp(clock.now() + timedelta(days=7))
    assert accounts.find(idle) is None
    assert accounts.expires(login) == timestamp(clock.now() + timedelta(days=1))
    clock.advance(86_401)
    assert accounts.find(used) is None


async def test_what_is_open_under_a_login_ends_with_it(opened, clock, path):
    accounts = await opened(limits=LoginLimits(idle_days=1, max_days=2))
    _, login = await accounts.log_in("alice", "the first password", address=HOME)
    ended = []
    login.hold(lambda: ended.append("first"))
    release = login.hold(lambda: ended.append("second"))
    release()
    for _ in range(47):
        clock.advance(3600)
        await accounts.tidy()
    assert ended == [], "an open socket is use"
    clock.advance(3601)
    await accounts.tidy()
    assert ended == ["first"]
    login.hold(lambda: ended.append("late"))
    assert ended == ["first", "late"], "what is opened under an ended login ends at once"
    assert rows(path, "SELECT count(*) FROM logins") == [(0,)]


async def test_when_a_login_was_seen_is_written_at_most_once_a_minute(opened, clock, path):
    accounts = await opened()
    token, _ = await accounts.log_in("alice", "the first password", address=HOME)
    query = "SELECT last_seen_at FROM logins"
    first = rows(path, query)
    for _ in range(59):
        clock.advance(1)
        accounts.find(token)
        await accounts.tidy()
    assert rows(path, query) == first
    clock.advance(1)
    accounts.find(token)
    await accounts.tidy()
    assert rows(path, query) == [(timestamp(clock.now()),)]


async def test_an_unchanged_file_changes_nothing(opened, settle_passwords, path):
    accounts = await opened()
    await settle_passwords(accounts)
    before = rows(path, "SELECT * FROM users ORDER BY name")
    assert len(before) == 2
    again = await opened()
    await settle_passwords(again)
    assert rows(path, "SELECT * FROM users ORDER BY name") == before


@pytest.mark.promise("P18")
async def test_a_changed_password_in_the_file_is_a_new_password_and_ends_logins(opened, settle_passwords):
    accounts = await opened()
    token, login = await accounts.log_in("alice", "the first password", address=HOME)
    other, _ = await accounts.log_in("bob", "the password of bob", address=HOME)
    await accounts.apply([alice("the second password"), BOB])
    await settle_passwords(accounts)
    assert login.ended
    assert accounts.find(token) is None
    assert accounts.find(other)
    with pytest.raises(InvalidCredentials):
        await accounts.log_in("alice", "the first password", address=HOME)
    assert await accounts.log_in("alice", "the second password", address=HOME)


async def test_a_password_set_in_the_app_wins_until_the_file_changes(opened, settle_passwords):
    accounts = await opened()
    await accounts.set_password("alice", "set in the app")
    accounts = await opened()
    await settle_passwords(accounts)
    assert await accounts.log_in("alice", "set in the app", address=HOME)
    accounts = await opened(alice("changed in the file"), BOB)
    assert await accounts.log_in("alice", "changed in the file", address=HOME)


async def test_a_password_set_without_any_in_the_file_is_kept(opened, settle_passwords):
    accounts = await opened(UserEntry("alice"))
    await accounts.set_password("alice", "set by hand")
    accounts = await opened(UserEntry("alice"))
    await settle_passwords(accounts)
    assert await accounts.log_in("alice", "set by hand", address=HOME)


async def test_a_hash_in_the_file_is_used_as_it_is(opened, settle_passwords):
    entry = UserEntry("alice", password_hash=WEAK.hash("by hash"))
    accounts = await opened(entry)
    token, _ = await accounts.log_in("alice", "by hash", address=HOME)
    with pytest.raises(ManagedByFile):
        await accounts.set_password("alice", "another one")
    accounts = await opened(entry)
    await settle_passwords(accounts)
    assert accounts.find(token)
    accounts = await opened(UserEntry("alice", password_hash=WEAK.hash("by another")))
    await settle_passwords(accounts)
    assert accounts.find(token) is None
    assert await accounts.log_in("alice", "by another", address=HOME)


async def test_weak_hashes_of_our_own_are_made_anew_at_login(opened, path):
    accounts = await opened(UserEntry("alice"))
    await accounts.set_password("alice", "a password")
    await accounts.close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE users SET password_hash = ?", (WEAK.hash("a password"),))
    connection.close()
    accounts = await Accounts.open(path, [UserEntry("alice")])
    await accounts.log_in("alice", "a password", address=HOME)
    await accounts.close()
    ((stored,),) = rows(path, "SELECT password_hash FROM users")
    assert "m=19456,t=2,p=1" in stored


@pytest.mark.promise("P18")
@pytest.mark.parametrize("entries", [[BOB], [alice(disabled=True), BOB], [alice(role="admin"), BOB]])
async def test_gone_disabled_or_in_another_role_is_out_at_once(opened, entries):
    accounts = await opened()
    token, login = await accounts.log_in("alice", "the first password", address=HOME)
    ended = []
    login.hold(lambda: ended.append(True))
    await accounts.apply(entries)
    assert ended == [True]
    assert accounts.find(token) is None
    accounts = await opened(*entries)
    assert accounts.find(token) is None
    assert accounts.logins("alice") == []


async def test_ending_the_others_keeps_this_one(opened):
    accounts = await opened()
    token, login = await accounts.log_in("alice", "the first password", address=HOME)
    await accounts.log_in("alice", "the first password", address=HOME)
    assert await accounts.end_logins("alice", keep=login) == 1
    assert accounts.find(token) is login


async def test_a_user_who_is_not_configured_gets_no_password(opened):
    accounts = await opened()
    with pytest.raises(UnknownUser):
        await accounts.set_password("nobody", "x")


async def test_a_login_that_cannot_be_stored_is_none(opened, monkeypatch):
    accounts = await opened()
    await accounts.log_in("alice", "the first password", address=HOME)

    async def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(accounts._login_database, "write", full)
    with pytest.raises(OSError, match="disk full"):
        await accounts.log_in("alice", "the first password", address=HOME)
    assert len(accounts.logins("alice")) == 1
    monkeypatch.undo()


async def test_a_hash_in_the_file_sets_what_an_unknown_user_costs(opened, settle_passwords):
    dear = argon2.PasswordHasher(time_cost=4, memory_cost=40_000, parallelism=1).hash("x")
    accounts = await opened(alice(), UserEntry("carol", password_hash=dear))

    async def cost():
        began = time.process_time()
        with pytest.raises(InvalidCredentials):
            await accounts.log_in("nobody", "x", address=HOME)
        return time.process_time() - began

    before = await cost()
    await settle_passwords(accounts)
    assert await cost() > 2 * before
    await accounts.apply([alice()])
    assert await cost() < 2 * before
