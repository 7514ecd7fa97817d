"""Addresses: who is at the other end of a connection, behind proxies that are trusted or not, and how each is counted."""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOUSEHOLD: Final = 64
"""Whoever has one IPv6 address has all of its /64."""

_REMEMBERED: Final = 4096
"""Addresses that were read lately: reading one costs more than counting it."""


@lru_cache(_REMEMBERED)
def read_address(text: str) -> Address:
    """An address as it is meant: ``::ffff:1.2.3.4`` is ``1.2.3.4``, a zone is left out. ValueError for anything else."""
    parsed = ipaddress.ip_address(text.strip().partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


@lru_cache(_REMEMBERED)
def counted_address(text: str) -> str:
    """What is counted of a client's address: IPv4 as it is, IPv6 by its /64; empty for what is no address."""
    try:
        parsed = read_address(text)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _HOUSEHOLD), strict=False))
    return str(parsed)


class Peers:
    """Reads ``X-Forwarded-For`` and ``-Proto`` from the peers in ``global.trusted_proxies`` and from nobody else."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """``trusted``: addresses or networks. ValueError for anything else."""
        self._trusted: list[Network] = [ipaddress.ip_network(entry, strict=False) for entry in trusted]

    def address(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address: the first one, read from the right, that is not a trusted proxy.

        A header that holds anything but addresses up to there says nothing: then it is ``peer``.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for entry in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            hop = _hop(entry)
            if not hop:
                return peer
            client = hop
            if not self.trusts(hop):
                break
        return client

    def scheme(self, peer: str, headers: Mapping[bytes, bytes], scheme: str) -> str:
        """``https`` when a trusted proxy took the request by TLS, else the connection's own."""
        forwarded = headers.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip()
        return "https" if forwarded == b"https" and self.trusts(peer) else scheme

    def trusts(self, text: str) -> bool:
        """Whether an address is a trusted proxy's."""
        if not self._trusted:
            return False
        try:
            address = read_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


def _hop(entry: str) -> str:
    text = entry.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return str(read_address(text))
    except ValueError:
        return ""
