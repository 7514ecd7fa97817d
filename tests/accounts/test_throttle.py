"""How often a password may be guessed."""

import pytest

from tom.accounts.refusals import TooManyAttempts
from tom.accounts.throttle import FORGET_AFTER, Counter, Throttle, address_key, wait_after


def refused_for(throttle, username, address, now):
    """Seconds to wait, or None when the attempt was looked at (and counted)."""
    try:
        throttle.begin(username, address, now)
    except TooManyAttempts as error:
        return error.retry_after
    return None


def test_the_series_is_two_four_eight_up_to_three_hundred():
    waits = [wait_after(failures, 5) for failures in range(16)]
    assert waits == [0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert wait_after(10**9, 5) == 300


def test_five_failures_of_an_account_are_free_and_then_each_costs_more():
    throttle, now = Throttle(), 1000.0
    for number in range(5):
        assert refused_for(throttle, "alice", f"192.0.2.{number}", now) is None
    for wait in (2, 4, 8):
        assert refused_for(throttle, "alice", "192.0.2.9", now) == wait
        assert refused_for(throttle, "alice", "192.0.2.9", now + wait - 0.5) == 0.5
        now += wait
        assert refused_for(throttle, "ALICE", "192.0.2.9", now) is None


def test_twenty_failures_of_an_address_are_free():
    throttle = Throttle()
    for number in range(20):
        assert refused_for(throttle, f"user{number}", "192.0.2.1", 1000) is None
    assert refused_for(throttle, "another", "192.0.2.1", 1000) == 2
    assert refused_for(throttle, "another", "192.0.2.2", 1000) is None


def test_what_is_refused_is_not_counted():
    throttle = Throttle()
    for _ in range(5):
        throttle.begin("alice", "192.0.2.1", 1000)
    for _ in range(100):
        assert refused_for(throttle, "alice", "192.0.2.1", 1000) == 2


def test_success_clears_the_account_and_gives_the_address_its_attempt_back():
    throttle = Throttle()
    for _ in range(100):
        for _ in range(4):
            throttle.begin("alice", "192.0.2.1", 1000)
            throttle.withdraw("alice", "192.0.2.1")
        throttle.begin("alice", "192.0.2.1", 1000)
        throttle.succeeded("alice", "192.0.2.1")
    for _ in range(4):
        throttle.begin("alice", "192.0.2.1", 1000)
    throttle.succeeded("alice", "192.0.2.1")
    for _ in range(5):
        assert refused_for(throttle, "alice", "192.0.2.1", 1000) is None


def test_nobody_is_locked_out_for_good():
    throttle = Throttle([("account:alice", Counter(10**6, 1000.0))])
    assert refused_for(throttle, "alice", "192.0.2.1", 1000) == 300
    assert refused_for(throttle, "alice", "192.0.2.1", 1300) is None
    throttle = Throttle([("account:alice", Counter(10**6, 1000.0))])
    assert refused_for(throttle, "alice", "192.0.2.1", 1001 + FORGET_AFTER) is None
    assert refused_for(throttle, "alice", "192.0.2.1", 1002 + FORGET_AFTER) is None


def test_a_clock_that_was_set_back_makes_nobody_wait_longer():
    throttle = Throttle([("account:alice", Counter(5, 1_000_000.0))])
    assert refused_for(throttle, "alice", "192.0.2.1", 10.0) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
    ],
)
def test_addresses_are_counted_by_who_holds_them(one, other, same):
    assert (address_key(one) == address_key(other)) is same


def test_forgotten_counters_are_dropped_and_changes_are_told_once():
    throttle = Throttle([("account:old", Counter(3, 1000.0))])
    throttle.begin("alice", "192.0.2.1", 1000.0 + FORGET_AFTER + 1)
    changes = dict(throttle.take_changes())
    assert changes["account:old"] is None
    assert changes["account:alice"] == Counter(1, 1001.0 + FORGET_AFTER)
    assert throttle.take_changes() == []
