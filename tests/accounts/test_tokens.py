"""API tokens: made once, found by their whole text only, limited, and worth nothing the moment they are taken back."""

import hashlib
import re

import apsw
import pytest

from tom.accounts.presented import presented_token, token_in_url
from tom.accounts.refusals import InvalidWish, TokenNotFound, TooManyTokens
from tom.accounts.tickets import Tickets, agreed_protocol, offered_ticket
from tom.accounts.tokens import read_wish
from tom.accounts.users import UserEntry
from tom.config.secret import Secret
from tom.errors import ConflictingCredentials
from tom.policy.permissions import Scope
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio

SHOWN = "tom_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "x" * 43
OTHER = "tom_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "y" * 43


def wish(*scopes, name="a script", days=365, admin=False):
    return read_wish(name, list(scopes or ("chat",)), days, admin=admin)


async def test_a_token_is_found_by_its_whole_text_and_stored_as_a_digest(opened, path):
    accounts = await opened()
    token, text = await accounts.tokens.create("alice", wish("chat", "read"))
    assert re.fullmatch(r"tom_[0-9A-Z]{26}_[A-Za-z0-9_-]{43}", text)
    assert text.split("_")[1] == token.id
    found = accounts.find_token(text)
    assert (found.user, found.scopes) == ("alice", {Scope.CHAT, Scope.READ})
    assert found.key == "api_key:" + hashlib.sha256(text.encode()).hexdigest()
    accounts = await opened()
    assert accounts.find_token(text).id == token.id
    raw = path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()
    assert text.rpartition("_")[2].encode() not in raw


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text + "A",
        lambda text: text[:-1],
        lambda text: text.replace("tom_", "TOM_", 1),
        lambda text: " " + text,
        lambda text: text.split("_")[1],
        lambda text: "",
        lambda text: "tom_" + "é" * 26 + text[30:],
    ],
)
async def test_any_other_text_finds_nothing(opened, change):
    accounts = await opened()
    _, text = await accounts.tokens.create("alice", wish())
    assert accounts.find_token(change(text)) is None


@pytest.mark.promise("P18")
async def test_what_is_open_under_a_token_ends_when_it_is_taken_back(opened):
    accounts = await opened()
    token, text = await accounts.tokens.create("alice", wish())
    ended = []
    accounts.find_token(text).hold(lambda: ended.append("socket"))
    release = accounts.find_token(text).hold(lambda: ended.append("left before"))
    release()
    await accounts.tokens.revoke("alice", token.id)
    assert ended == ["socket"]
    assert accounts.find_token(text) is None
    assert not accounts.may_come_in(token)
    assert (await opened()).find_token(text) is None


async def test_a_token_of_another_person_is_as_unknown_as_one_that_never_was(opened):
    accounts = await opened()
    token, text = await accounts.tokens.create("alice", wish())
    told = []
    for user, identifier in (("bob", token.id), ("alice", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), ("alice", text)):
        with pytest.raises(TokenNotFound) as refused:
            await accounts.tokens.revoke(user, identifier)
        told.append((refused.value.code, refused.value.message, refused.value.details))
    assert len(set(map(str, told))) == 1
    assert accounts.find_token(text)


async def test_its_time_is_over_to_the_second(opened, clock):
    accounts = await opened()
    token, text = await accounts.tokens.create("alice", wish(days=1))
    ended = []
    token.hold(lambda: ended.append(True))
    clock.advance(86_399)
    assert accounts.find_token(text)
    clock.advance(1)
    assert accounts.find_token(text) is None
    await accounts.tidy()
    assert ended
    assert [row.id for row in accounts.tokens.list("alice")] == [token.id], "it is still shown as ended"


async def test_its_last_use_is_written_at_most_once_a_minute(opened, clock, path):
    accounts = await opened()
    _, text = await accounts.tokens.create("alice", wish())

    async def stored():
        await accounts.tidy()
        return await accounts.database.read(lambda db: db.execute("SELECT last_used_at FROM tokens").get)

    assert await stored() is None
    accounts.find_token(text)
    first = await stored()
    assert first is not None
    clock.advance(59)
    accounts.find_token(text)
    assert await stored() == first
    clock.advance(2)
    accounts.find_token(text)
    assert await stored() > first


async def test_there_are_fifty_at_most_and_what_has_ended_does_not_count(opened, clock):
    accounts = await opened()
    for number in range(50):
        await accounts.tokens.create("alice", wish(days=1 if number == 0 else 10))
    with pytest.raises(TooManyTokens):
        await accounts.tokens.create("alice", wish())
    await accounts.tokens.create("bob", wish())
    clock.advance(86_400)
    await accounts.tokens.create("alice", wish())


async def test_who_is_disabled_or_demoted_keeps_tokens_that_reach_less(opened):
    admin = UserEntry("alice", role="admin", password=Secret("the first password"))
    accounts = await opened(admin)
    await accounts.set_password("alice", "another password")
    token, text = await accounts.tokens.create("alice", wish("chat", "admin", admin=True))
    ended = []
    token.hold(lambda: ended.append(True))
    assert accounts.scopes(token) == {Scope.CHAT, Scope.ADMIN}
    await accounts.apply([UserEntry("alice", password=Secret("the first password"))])
    assert ended
    assert accounts.scopes(accounts.find_token(text)) == {Scope.CHAT}
    token.hold(lambda: ended.append(True))
    await accounts.apply([UserEntry("alice", disabled=True, password=Secret("the first password"))])
    assert len(ended) == 2
    assert accounts.find_token(text) is None
    assert not accounts.may_come_in(token)
    await accounts.apply([admin])
    assert accounts.find_token(text)


async def test_who_is_gone_leaves_no_token_to_the_next_of_that_name(opened):
    people = [UserEntry("alice", password=Secret("the first password")), UserEntry("bob", password=Secret("of bob…"))]
    accounts = await opened(*people)
    token, text = await accounts.tokens.create("alice", wish())
    await accounts.apply(people[1:])
    await accounts.apply(people)
    assert accounts.find_token(text) is None
    assert token.ended
    assert accounts.tokens.list("alice") == []


@pytest.mark.parametrize(
    ("name", "scopes", "days", "admin", "says"),
    [
        ("", ["chat"], 1, False, "'name'"),
        ("x" * 101, ["chat"], 1, False, "'name'"),
        ("a\nb", ["chat"], 1, False, "'name'"),
        (None, ["chat"], 1, False, "'name'"),
        ("a", [], 1, False, "'scopes'"),
        ("a", "chat", 1, False, "'scopes'"),
        ("a", ["chat", "root"], 1, False, "Unknown scope 'root'"),
        ("a", [["chat"]], 1, False, "Unknown scope"),
        ("a", ["chat"], 0, False, "'expires_in_days'"),
        ("a", ["chat"], 3651, False, "'expires_in_days'"),
        ("a", ["chat"], True, False, "'expires_in_days'"),
        ("a", ["chat"], 1.5, False, "'expires_in_days'"),
        ("a", ["admin"], 1, False, "Only an admin"),
    ],
)
def test_what_cannot_be_had_is_named(name, scopes, days, admin, says):
    with pytest.raises(InvalidWish) as refused:
        read_wish(name, scopes, days, admin=admin)
    assert says in refused.value.message
    assert refused.value.http_status == 400


async def test_a_file_that_refuses_makes_no_token(opened, monkeypatch):
    accounts = await opened()

    async def full(*_args, **_options):
        raise apsw.FullError

    monkeypatch.setattr(accounts.database, "write", full)
    with pytest.raises(apsw.FullError):
        await accounts.tokens.create("alice", wish())
    assert accounts.tokens.list("alice") == []
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ([], None),
        ([(b"authorization", b"Bearer abc")], "abc"),
        ([(b"authorization", b"bearer  abc ")], "abc"),
        ([(b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Bearer abc"), (b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Bearer abc"), (b"authorization", b"Bearer abc")], "abc"),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"authorization", b"Basic abc"), (b"x-api-key", b"def")], "def"),
        ([(b"authorization", b"Bearer"), (b"x-api-key", b"")], None),
        ([(b"cookie", b"abc")], None),
    ],
)
def test_a_token_is_read_from_two_headers(headers, shown):
    assert presented_token(headers) == shown


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer abc"), (b"x-api-key", b"def")],
        [(b"x-api-key", b"abc"), (b"x-api-key", b"def")],
        [(b"authorization", b"Bearer abc"), (b"authorization", b"Bearer def")],
    ],
)
def test_two_headers_that_differ_are_no_credential(headers):
    with pytest.raises(ConflictingCredentials):
        presented_token(headers)


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        (b"/x", b"", None),
        (b"/x", b"token=" + SHOWN.encode(), SHOWN),
        (b"/x", b"a=1&" + SHOWN.encode() + b"=&b", SHOWN),
        (b"/x", b"t=" + SHOWN.encode().replace(b"_", b"%5F"), SHOWN),
        (b"/x/" + SHOWN.encode(), b"", SHOWN),
        (b"/x", b"q=tom_sawyer", None),
        (b"/x", b"q=" + SHOWN.encode()[:-1], None),
    ],
)
def test_a_token_in_a_url_is_seen(path, query, found):
    assert token_in_url(path, query) == found


def test_a_ticket_opens_once_at_its_path_and_for_thirty_seconds():
    clock = ManualClock()
    tickets = Tickets(clock)
    good = tickets.issue("alice", "/ws/chat")
    assert tickets.redeem(good, "/ws/chat", holds=lambda who: who == "alice") == "alice"
    assert tickets.redeem(good, "/ws/chat", holds=lambda _: True) is None
    elsewhere = tickets.issue("alice", "/ws/chat")
    assert tickets.redeem(elsewhere, "/ws/other", holds=lambda _: True) is None
    assert tickets.redeem(elsewhere, "/ws/chat", holds=lambda _: True) is None, "it is used up either way"
    revoked = tickets.issue("alice", "/ws/chat")
    assert tickets.redeem(revoked, "/ws/chat", holds=lambda _: False) is None
    late = tickets.issue("alice", "/ws/chat")
    clock.advance(30)
    assert tickets.redeem(late, "/ws/chat", holds=lambda _: True) is None
    assert tickets.redeem("", "/ws/chat", holds=lambda _: True) is None


@pytest.mark.parametrize(
    ("protocols", "ticket", "agreed"),
    [
        ("", None, None),
        ("tom.chat.v1", None, "tom.chat.v1"),
        ("tom.chat.v1, tom.ticket.abc", "abc", "tom.chat.v1"),
        ("tom.ticket.abc,tom.chat.v1", "abc", "tom.chat.v1"),
        ("tom.ticket.abc", "abc", None),
        ("tom.ticket.abc, tom.ticket.def", "", None),
        ("graphql-ws", None, None),
    ],
)
def test_a_ticket_comes_as_a_subprotocol(protocols, ticket, agreed):
    assert offered_ticket(protocols) == ticket
    assert agreed_protocol(protocols) == agreed
