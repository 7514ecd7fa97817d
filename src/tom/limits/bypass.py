"""The bypass list: addresses and networks whose rate is not counted. The rate of the caller and all quotas stay.

Kept in the table ``bypass`` of ``gateway.db`` (an agent alone: ``door.db``) and, for the question that every request
asks, in memory: a dictionary of networks for each length of prefix on the list.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tom.clock import Clock, parse_timestamp, timestamp
from tom.errors import CallerError
from tom.limits.addresses import Network, read_address
from tom.sqlite.database import Database

WIDEST: Final = {4: 16, 6: 48}
"""The shortest prefix that may be listed, by version of the protocol."""

LONGEST_NOTE: Final = 500
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_BITS: Final = {4: 32, 6: 128}


class InvalidIp(CallerError):
    """This is not an IP address or network."""

    code = "invalid_ip"
    http_status = 400


class NetworkTooWide(CallerError):
    """A network on the bypass list is not wider than /16, or /48 of IPv6."""

    code = "network_too_wide"
    http_status = 400


class BypassNotFound(CallerError):
    """This is not on the bypass list."""

    code = "bypass_not_found"
    http_status = 404


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list: an address or a network in its one spelling; ``expires_at`` None: it stays."""

    ip: str
    note: str
    created_at: datetime
    expires_at: datetime | None
    created_by: str


class Bypass:
    """The list, as long as the process lives; `load` reads it, what changes it is stored before it counts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Keep the list in ``database``, which has the schema of ``gateway.db``. Empty until `load`."""
        self._database = database
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._places: dict[tuple[int, int], dict[int, Entry]] = {}

    async def load(self) -> None:
        """Read what is stored. Raises `StorageUnavailable`."""
        self._hold({entry.ip: entry for entry in await self._database.read(_stored)})

    def entries(self) -> tuple[Entry, ...]:
        """What is in force now: IPv4 before IPv6, by address."""
        now = self._clock.now()
        listed = [entry for entry in self._entries.values() if not _is_over(entry, now)]
        return tuple(sorted(listed, key=lambda entry: _order(entry.ip)))

    def covers(self, address: str) -> bool:
        """Whether an address is on the list, by itself or in a network. False for what is no address."""
        if not self._places:
            return False
        try:
            wanted = read_address(address)
        except ValueError:
            return False
        number, bits, now = int(wanted), _BITS[wanted.version], self._clock.now()
        for (version, prefix), places in self._places.items():
            if version == wanted.version:
                entry = places.get(number >> (bits - prefix))
                if entry is not None and not _is_over(entry, now):
                    return True
        return False

    async def add(
        self, ip: str, note: str = "", expires_at: datetime | None = None, by: str = ""
    ) -> tuple[Entry, bool]:
        """Put an address or network on the list; what was there under it is replaced, its beginning kept.

        Returns the entry and whether it is new. Raises `InvalidIp`, `NetworkTooWide`, a storage error.
        """
        network = read_network(ip)
        if network.prefixlen < WIDEST[network.version]:
            raise NetworkTooWide(ip=spelling(network), widest=f"/{WIDEST[network.version]}")
        name, now = spelling(network), self._clock.now()
        known = self._entries.get(name)
        before = None if known is None or _is_over(known, now) else known
        entry = Entry(name, note[:LONGEST_NOTE], before.created_at if before else now, expires_at, by)
        await self._database.write(lambda connection: _save(connection, entry, now), full=True)
        self._hold({ip: kept for ip, kept in self._entries.items() if not _is_over(kept, now)} | {name: entry})
        return entry, before is None

    async def remove(self, ip: str) -> Entry:
        """Take an address or network off the list. Raises `InvalidIp`, `BypassNotFound`, a storage error."""
        name = spelling(read_network(ip))
        entry = self._entries.get(name)
        if entry is None or _is_over(entry, self._clock.now()):
            raise BypassNotFound(ip=name)
        await self._database.write(lambda connection: _erase(connection, name), full=True)
        self._hold({key: kept for key, kept in self._entries.items() if key != name})
        return entry

    def _hold(self, entries: dict[str, Entry]) -> None:
        places: defaultdict[tuple[int, int], dict[int, Entry]] = defaultdict(dict)
        for entry in entries.values():
            network = ipaddress.ip_network(entry.ip)
            first = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            places[network.version, network.prefixlen][first] = entry
        self._entries, self._places = entries, dict(places)


def read_network(text: str) -> Network:
    """An address (as the network of itself alone) or a network. Raises `InvalidIp`.

    ``::ffff:1.2.3.4`` is ``1.2.3.4``, and so with networks of such addresses. Bits beyond the prefix are taken as not set.
    """
    given = text.strip()
    try:
        if "/" not in given:
            return ipaddress.ip_network(read_address(given))
        network = ipaddress.ip_network(given, strict=False)
    except ValueError:
        raise InvalidIp(ip=given[:64]) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        first = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.ip_network((first, network.prefixlen - _MAPPED.prefixlen))
    return network


def spelling(network: Network) -> str:
    """The one way to write it: a network of one address is that address."""
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)


def _order(ip: str) -> tuple[int, int, int]:
    network = ipaddress.ip_network(ip)
    return network.version, int(network.network_address), network.prefixlen


def _is_over(entry: Entry, now: datetime) -> bool:
    return entry.expires_at is not None and entry.expires_at <= now


def _stored(connection: Any) -> Iterable[Entry]:
    rows = connection.execute("SELECT ip, note, created_at, expires_at, created_by FROM bypass")
    return [
        Entry(ip, note, parse_timestamp(created), parse_timestamp(expires) if expires else None, by)
        for ip, note, created, expires, by in rows
    ]


def _save(connection: Any, entry: Entry, now: datetime) -> None:
    connection.execute("DELETE FROM bypass WHERE expires_at <= ?", (timestamp(now),))
    expires = None if entry.expires_at is None else timestamp(entry.expires_at)
    connection.execute(
        "INSERT INTO bypass (ip, note, created_at, expires_at, created_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (ip) DO UPDATE SET note = excluded.note, created_at = excluded.created_at,"
        " expires_at = excluded.expires_at, created_by = excluded.created_by",
        (entry.ip, entry.note, timestamp(entry.created_at), expires, entry.created_by),
    )


def _erase(connection: Any, ip: str) -> None:
    connection.execute("DELETE FROM bypass WHERE ip = ?", (ip,))
