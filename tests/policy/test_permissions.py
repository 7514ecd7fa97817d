"""How far a caller reaches is decided in one place."""

import pytest

from tom.errors import AuthenticationRequired, ScopeMissing
from tom.policy.permissions import (
    LOCAL_SCOPES,
    LOGIN_SCOPES,
    VISITOR_SCOPES,
    Caller,
    Scope,
    require,
    scopes_of,
)


def test_a_credential_that_does_not_reach_is_told_what_it_lacks():
    token = Caller("alice", "token", scopes_of(["chat"]))
    require(token, Scope.CHAT)
    with pytest.raises(ScopeMissing) as refused:
        require(token, Scope.MEMORY)
    assert refused.value.message == "Token lacks scope 'memory'"
    assert refused.value.details == {"scope": "memory"}
    with pytest.raises(ScopeMissing, match="Login lacks scope 'openai'"):
        require(Caller("alice", "cookie", LOGIN_SCOPES), Scope.OPENAI)


def test_a_visitor_is_asked_who_they_are():
    visitor = Caller("local", "visitor", VISITOR_SCOPES)
    assert visitor.visitor
    require(visitor, Scope.CHAT)
    with pytest.raises(AuthenticationRequired):
        require(visitor, Scope.READ)


@pytest.mark.parametrize(
    ("scopes", "without"),
    [
        (LOGIN_SCOPES, {Scope.ROLES, Scope.OPENAI, Scope.ADMIN}),
        (LOCAL_SCOPES, {Scope.ADMIN}),
        (VISITOR_SCOPES, set(Scope) - {Scope.CHAT}),
    ],
)
def test_nobody_has_a_scope_by_default_that_must_be_given(scopes, without):
    assert set(Scope) - scopes == without


def test_unknown_names_give_no_scope():
    assert scopes_of(["chat", "everything", "read"]) == {Scope.CHAT, Scope.READ}
