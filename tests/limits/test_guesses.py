"""Wrong admin tokens: five a minute from one address."""

import pytest

from tom.errors import RateLimited
from tom.limits.guesses import Guesses
from tom.testing.manual_clock import ManualClock


def test_five_wrong_guesses_a_minute_and_not_one_more() -> None:
    clock = ManualClock()
    guesses = Guesses(clock)
    for _ in range(5):
        guesses.begin("192.0.2.1")
    with pytest.raises(RateLimited) as refused:
        guesses.begin("192.0.2.1")
    assert refused.value.details == {"retry_after": 12.0}
    guesses.begin("192.0.2.2")
    clock.advance(12.0)
    guesses.begin("192.0.2.1")
    with pytest.raises(RateLimited):
        guesses.begin("192.0.2.1")


def test_whoever_has_the_token_is_not_counted() -> None:
    guesses = Guesses(ManualClock())
    for _ in range(100):
        guesses.begin("192.0.2.1")
        guesses.right("192.0.2.1")


def test_addresses_of_one_household_share_their_guesses() -> None:
    guesses = Guesses(ManualClock())
    for number in range(5):
        guesses.begin(f"2001:db8::{number}")
    with pytest.raises(RateLimited):
        guesses.begin("2001:db8::ffff")


def test_what_an_address_does_often_is_recorded_once_a_minute():
    clock = ManualClock()
    guesses = Guesses(clock)
    assert [guesses.seldom("10.0.0.1", "absent") for _ in range(3)] == [True, False, False]
    assert guesses.seldom("10.0.0.2", "absent")
    assert guesses.seldom("10.0.0.1", "too many")
    clock.advance(61)
    assert guesses.seldom("10.0.0.1", "absent")
