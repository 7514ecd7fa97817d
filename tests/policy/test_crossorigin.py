"""Which pages elsewhere may read answers, and what their browsers are told."""

import pytest

from tom.policy.crossorigin import CrossOrigin

SHOP = "https://shop.example"
ASKING = {b"origin": SHOP.encode(), b"access-control-request-method": b"POST"}


def told(headers):
    return dict(headers or [])


def test_a_listed_page_is_named_and_may_send_its_cookie_only_where_that_was_written():
    plain = told(CrossOrigin(frozenset({SHOP})).headers({b"origin": SHOP.encode()}))
    assert plain[b"access-control-allow-origin"] == SHOP.encode()
    assert b"access-control-allow-credentials" not in plain
    trusted = told(CrossOrigin(frozenset({SHOP}), credentials=True).headers({b"origin": SHOP.encode()}))
    assert trusted[b"access-control-allow-credentials"] == b"true"


def test_a_star_is_answered_with_a_star_and_never_with_credentials():
    found = told(CrossOrigin(frozenset({"*"}), credentials=True).headers({b"origin": SHOP.encode()}))
    assert found[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in found
    assert not CrossOrigin(frozenset({"*"})).allows({b"origin": b"null"})


def test_other_pages_and_programs_are_told_nothing():
    one = CrossOrigin(frozenset({SHOP}))
    assert told(one.headers({b"origin": b"https://elsewhere.example"})) == {b"vary": b"Origin"}
    assert told(one.headers({})) == {b"vary": b"Origin"}
    assert CrossOrigin(frozenset()).headers({b"origin": SHOP.encode()}) == []


def test_a_browser_that_asks_before_it_sends_is_told_what_it_may_send():
    found = told(CrossOrigin(frozenset({SHOP})).preflight("OPTIONS", ASKING))
    assert b"POST" in found[b"access-control-allow-methods"]
    assert b"authorization" in found[b"access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", ASKING),
        ("OPTIONS", {b"origin": SHOP.encode()}),
        ("OPTIONS", {**ASKING, b"origin": b"https://elsewhere.example"}),
    ],
)
def test_whatever_else_is_no_such_question(method, headers):
    assert CrossOrigin(frozenset({SHOP})).preflight(method, headers) is None
