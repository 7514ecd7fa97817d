"""Whose address counts, behind whom."""

import pytest

from tom.limits.addresses import Peers, counted_address

TRUSTED = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/48"]


@pytest.mark.promise("P19")
@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # whoever is not trusted may write what they like
        ("192.0.2.1", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),  # what the client made up stands to the left
        ("192.0.2.1", "1.1.1.1, 203.0.113.9, 10.0.0.3", "203.0.113.9"),
        ("192.0.2.1", "10.9.9.9, 203.0.113.9, 10.0.0.3, 10.0.0.4", "203.0.113.9"),
        ("192.0.2.1", "10.9.9.9, 10.0.0.3", "10.9.9.9"),
        ("192.0.2.1", "203.0.113.9, garbage", "192.0.2.1"),
        ("192.0.2.1", "garbage, 10.0.0.3", "192.0.2.1"),
        ("192.0.2.1", "garbage, 203.0.113.9", "203.0.113.9"),  # what is further left is not read at all
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", ",", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9:4711", "192.0.2.1"),
        ("192.0.2.1", "[2001:db8:1::5]", "2001:db8:1::5"),
        ("192.0.2.1", "2001:DB8:1:0::5", "2001:db8:1::5"),
        ("::ffff:192.0.2.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8::9", "::ffff:203.0.113.9", "203.0.113.9"),
        ("192.0.2.1", "203.0.113.9\x00", "192.0.2.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_the_chain_is_read_from_the_right_while_hops_are_trusted(peer: str, forwarded: str, expected: str) -> None:
    assert Peers(TRUSTED).address(peer, {b"x-forwarded-for": forwarded.encode("latin-1")}) == expected


def test_nobody_is_trusted_unless_written() -> None:
    assert Peers().address("127.0.0.1", {b"x-forwarded-for": b"203.0.113.9"}) == "127.0.0.1"


def test_a_trusted_proxy_without_the_header_is_the_client_itself() -> None:
    assert Peers(TRUSTED).address("192.0.2.1", {}) == "192.0.2.1"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_a_household_is_counted_once(address: str, counted: str) -> None:
    assert counted_address(address) == counted
