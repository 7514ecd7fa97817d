"""What is hidden in an ask comes back when the person leaves it where it was, and never anywhere else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.agent.calls import hidden_in, masked, unmasked
from tom.errors import InvalidAnswer

pytestmark = pytest.mark.promise("P15")

REAL = {
    "to": ["ann@example.org", "bob@example.org"],
    "body": "the whole diary",
    "token": ["AAA", "BBB"],
    "rows": [{"who": "ann", "api_key": "K1"}, {"who": "bob", "api_key": "K2"}],
}


def edited(**changes):
    return unmasked(masked(REAL) | changes, REAL)


def test_what_is_left_as_it_was_shown_is_what_it_was():
    assert edited() == REAL
    assert edited(body="short")["token"] == ["AAA", "BBB"]


def test_lists_without_anything_hidden_may_change():
    assert edited(to=["ann@example.org"]) == REAL | {"to": ["ann@example.org"]}


def test_stars_are_stars_where_nothing_was_hidden():
    assert edited(body="***", to=["***"]) == REAL | {"body": "***", "to": ["***"]}


def test_a_hidden_value_may_be_replaced():
    assert edited(token=["new"]) == REAL | {"token": ["new"]}
    assert edited(rows=[{"who": "bob", "api_key": "new"}])["rows"] == [{"who": "bob", "api_key": "new"}]


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": masked(REAL)["rows"][1:]},
        {"rows": masked(REAL)["rows"][::-1]},
        {"token": masked(REAL)["token"] * 2},
        {"body": masked(REAL)["token"][0]},
        {"more": masked(REAL)["rows"][0]},
    ],
)
def test_a_hidden_value_that_stands_elsewhere_is_refused(changes):
    with pytest.raises(InvalidAnswer):
        edited(**changes)


def test_a_text_that_looks_like_a_hidden_value_stays_what_it_is():
    real = {"body": masked(REAL)["token"][0], "token": "AAA"}
    assert masked(real)["body"] == real["body"]
    assert hidden_in(real) == ("token",)
    assert unmasked(masked(real), real) == real


names = st.sampled_from(["to", "api_key", "token", "rows"])
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.just("***"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=4))
def test_nothing_edited_is_nothing_changed(real):
    shown = masked(real)
    assert unmasked(shown, real) == real
    assert bool(hidden_in(real)) is (json.dumps(shown) != json.dumps(real))
