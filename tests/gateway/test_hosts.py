"""Under which names the gateway answers, and who is at the other end."""

import socket

import pytest

from tom.accounts.hosts import Hosts, canonical, own_addresses, split_host
from tom.limits.addresses import Peers


def test_the_certificates_names_loopback_and_own_addresses_are_known():
    hosts = Hosts(certificate_names=lambda: ("House.Example", "*.tom.example"), addresses=lambda: ["192.0.2.7"])
    for header in (
        "house.example", "HOUSE.example:8443", "a.tom.example", "localhost:1", "127.0.0.1", "[::1]:443", "[0:0::1]",
        "192.0.2.7",
    ):  # fmt: skip
        assert hosts.knows(header), header
    for header in (
        "", "evil.example", "house.example.evil.example", "a.b.tom.example", "tom.example", "localhost.", "192.0.2.8",
        "house.example:x", "[::1", "[::1]x", "::1:443:1", "house.example, house.example",
        "house.example:123456", "a@house.example", "127.1", "2130706433",
    ):  # fmt: skip
        assert not hosts.knows(header), header


def test_configured_names_replace_the_defaults():
    hosts = Hosts(["tom.example"], certificate_names=lambda: ("house.example",), addresses=lambda: ["192.0.2.7"])
    assert hosts.names() == ["tom.example"]
    assert not hosts.knows("localhost")


def test_the_machines_own_addresses_are_found():
    assert "127.0.0.1" in own_addresses()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return  # a machine without a route has no such address
        assert probe.getsockname()[0] in own_addresses()


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("https://house.example", False),
        ("https://house.example:8443", True),
        ("https://HOUSE.example:8443", True),
        ("https://localhost:8443", True),
        ("https://localhost:9000", True),
        ("https://127.0.0.1:9000", False),
        ("http://localhost:8443", False),
        ("https://evil.example:8443", False),
        ("https://localhost:8443.evil.example", False),
        ("null", False),
        ("", False),
        ("https://", False),
    ],
)
def test_an_origin_is_own_by_scheme_name_and_port(origin, own):
    hosts = Hosts(certificate_names=lambda: ("house.example",), addresses=list)
    assert hosts.is_own_origin(origin, scheme="https", host="localhost:9000", port=8443) is own


def test_default_ports_need_not_be_written():
    hosts = Hosts(["house.example"])
    assert hosts.is_own_origin("https://house.example", scheme="https", host="house.example", port=443)
    assert hosts.is_own_origin("https://house.example:443", scheme="https", host="house.example", port=443)


def test_spellings():
    assert split_host("[2001:db8::0:1]:8443") == ("2001:db8::1", 8443)
    assert canonical("2001:DB8::1") == "2001:db8::1"


def test_forwarded_addresses_count_from_trusted_peers_only_and_from_the_right():
    peers = Peers(["10.0.0.0/8", "192.0.2.1"])
    chain = {b"x-forwarded-for": b"6.6.6.6, 198.51.100.7, 10.0.0.3"}
    assert peers.address("192.0.2.1", chain) == "198.51.100.7"
    assert peers.address("203.0.113.5", chain) == "203.0.113.5"
    assert peers.address("192.0.2.1", {b"x-forwarded-for": b"evil, 10.0.0.3"}) == "192.0.2.1"
    assert peers.address("192.0.2.1", {}) == "192.0.2.1"
    assert Peers().address("192.0.2.1", chain) == "192.0.2.1"
    assert peers.scheme("192.0.2.1", {b"x-forwarded-proto": b"https"}, "http") == "https"
    assert peers.scheme("203.0.113.5", {b"x-forwarded-proto": b"https"}, "http") == "http"
