"""Who is at the other end of a connection, behind proxies that are trusted or not."""

import ipaddress
from collections.abc import Mapping, Sequence

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Peers:
    """Reads ``X-Forwarded-For`` and ``-Proto`` from the peers in ``global.trusted_proxies`` and from nobody else."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """``trusted``: addresses or networks. ValueError for anything else."""
        self._trusted: list[Network] = [ipaddress.ip_network(entry, strict=False) for entry in trusted]

    def address(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address: the last one, read from the right, that is not a trusted proxy."""
        if not self._is_trusted(peer):
            return peer
        for entry in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            address = entry.strip().strip("[]")
            if not _is_address(address):
                return peer
            if not self._is_trusted(address):
                return address
            peer = address
        return peer

    def scheme(self, peer: str, headers: Mapping[bytes, bytes], scheme: str) -> str:
        """``https`` when a trusted proxy took the request by TLS, else the connection's own."""
        forwarded = headers.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip()
        return "https" if forwarded == b"https" and self._is_trusted(peer) else scheme

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted or not _is_address(address):
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
