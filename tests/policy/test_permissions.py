"""Who reaches how far, and what is told to whom does not."""

import pytest

from tom.errors import AuthenticationRequired, ScopeMissing
from tom.policy.crossorigin import CrossOrigin, is_listed
from tom.policy.permissions import (
    LOCAL_SCOPES,
    LOGIN_SCOPES,
    NOBODY,
    VISITOR_SCOPES,
    Caller,
    Scope,
    require,
    require_way,
    scopes_of,
)


def caller(door, *scopes):
    return Caller("alice", door, frozenset(scopes))


@pytest.mark.parametrize("door", ["cookie", "token", "control", "local", "visitor"])
def test_a_scope_that_is_there_lets_pass(door):
    for scope in Scope:
        require(caller(door, scope), scope)


@pytest.mark.parametrize(
    ("who", "refused", "says"),
    [
        (caller("token", Scope.CHAT), ScopeMissing, "Token lacks scope 'memory'"),
        (caller("cookie", *LOGIN_SCOPES - {Scope.MEMORY}), ScopeMissing, "Login lacks scope 'memory'"),
        (caller("visitor", *VISITOR_SCOPES), AuthenticationRequired, "Authentication required"),
        (NOBODY, AuthenticationRequired, "Authentication required"),
        (caller("", *()), ScopeMissing, "Login lacks scope 'memory'"),
    ],
)
def test_one_that_is_not_is_told_by_who_asks(who, refused, says):
    with pytest.raises(refused) as error:
        require(who, Scope.MEMORY)
    assert error.value.message == says


@pytest.mark.parametrize(
    ("held", "ways", "missing"),
    [
        ((), (None, None, None), None),
        ((Scope.READ,), (Scope.CHAT, Scope.READ, None), None),
        ((Scope.CHAT,), (Scope.CHAT, Scope.READ, None), None),
        ((Scope.HEALTH,), (Scope.CHAT, Scope.READ, None), "chat"),
        ((Scope.CHAT, Scope.READ), (Scope.CHAT, None, Scope.READ), None),
        ((Scope.CHAT,), (Scope.CHAT, None, Scope.READ), "read"),
        ((Scope.READ,), (Scope.CHAT, None, Scope.READ), "chat"),
    ],
)
def test_one_scope_may_stand_for_another_and_one_be_needed_besides(held, ways, missing):
    if missing is None:
        require_way(caller("token", *held), *ways)
        return
    with pytest.raises(ScopeMissing) as error:
        require_way(caller("token", *held), *ways)
    assert error.value.details == {"scope": missing}


def test_who_has_what_from_the_start():
    assert frozenset({Scope.CHAT}) == VISITOR_SCOPES
    assert frozenset(Scope) - {Scope.ADMIN} == LOCAL_SCOPES
    assert frozenset(Scope) - {Scope.ADMIN, Scope.ROLES, Scope.OPENAI} == LOGIN_SCOPES
    assert scopes_of(["chat", "root", "", "chat"]) == {Scope.CHAT}


@pytest.mark.parametrize(
    ("origin", "listed", "expected"),
    [
        ("https://a.example", {"https://a.example"}, True),
        ("https://a.example:443", {"https://a.example"}, False),
        ("http://a.example", {"https://a.example"}, False),
        ("https://a.example.evil", {"https://a.example"}, False),
        ("https://a.example", {"*"}, True),
        ("null", {"*"}, False),
        ("null", {"null"}, True),
        ("", set(), False),
    ],
)
def test_an_origin_is_listed_exactly(origin, listed, expected):
    assert is_listed(origin, frozenset(listed)) is expected


def test_credentials_are_only_for_origins_that_are_written_out():
    def told(listed, *, credentials):
        found = CrossOrigin(frozenset(listed), credentials).headers({b"origin": b"https://a.example"})
        return dict(found)

    exact = told({"https://a.example"}, credentials=True)
    assert exact[b"access-control-allow-origin"] == b"https://a.example"
    assert exact[b"access-control-allow-credentials"] == b"true"
    assert b"access-control-allow-credentials" not in told({"https://a.example"}, credentials=False)
    anybody = told({"*"}, credentials=True)
    assert anybody[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in anybody
    assert told({"https://b.example"}, credentials=True) == {b"vary": b"Origin"}
    assert told(set(), credentials=True) == {}
