"""How often a password may be guessed: per account and per address, never a lock for good.

An attempt is counted as a failure before its password is looked at and taken back when it was right, so that many
attempts at the same moment gain nothing. A browser that logged in before has a counter of its own in place of the
account's, so that nobody can keep the account's owner out by failing again and again. The counters are in memory and written to ``gateway.db``; they are forgotten
a day after the last failure.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tom.accounts.refusals import TooManyAttempts

FREE_PER_ACCOUNT: Final = 5
FREE_PER_ADDRESS: Final = 20
LONGEST_WAIT: Final = 300.0
FORGET_AFTER: Final = 86_400.0
MOST_COUNTERS: Final = 100_000
_IPV6_NETWORK: Final = 64


@dataclass(frozen=True, slots=True)
class Counter:
    """Failures of one account or address; ``last`` is the Unix time of the latest."""

    failures: int
    last: float

    @property
    def moment(self) -> datetime:
        """``last`` as an aware time."""
        return datetime.fromtimestamp(self.last, UTC)


def account_key(username: str, device: str = "") -> str:
    """The counter of an account, also of one that does not exist; case is ignored as at login.

    ``device`` is the digest of a browser that logged into this account before.
    """
    return f"account:{username.casefold()[:64]}{device and ':'}{device}"


def address_key(address: str) -> str:
    """The counter of an address: IPv4 as it is, IPv6 by its /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"address:{address[:64]}"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return f"address:{parsed.ipv4_mapped}"
        return f"address:{ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False)}"
    return f"address:{parsed}"


def wait_after(failures: int, free: int) -> float:
    """Seconds to wait after that many failures: 0 while free, then 2, 4, 8 … 300."""
    if failures < free:
        return 0.0
    return min(LONGEST_WAIT, 2.0 ** min(failures - free + 1, 16))


class Throttle:
    """The counters. Pure: the caller brings the time and stores what `take_changes` returns."""

    def __init__(self, counters: Iterable[tuple[str, Counter]] = ()) -> None:
        """Begin with the stored counters."""
        self._counters = OrderedDict(sorted(counters, key=lambda item: item[1].last))
        self._changed: set[str] = set()

    def begin(self, username: str, address: str, now: float, device: str = "") -> None:
        """Count an attempt. `TooManyAttempts` while the account or the address must wait; then nothing is counted."""
        keys = (account_key(username, device), FREE_PER_ACCOUNT), (address_key(address), FREE_PER_ADDRESS)
        wait = max(self._wait(key, free, now) for key, free in keys)
        if wait > 0:
            raise TooManyAttempts(round(wait, 1) or 0.1)
        for key, _ in keys:
            self._set(key, self._failures(key, now) + 1, now)
        self._forget(now)

    def succeeded(self, username: str, address: str, device: str = "") -> None:
        """The password was right: the account starts anew, the address gets its attempt back."""
        self._drop(account_key(username, device))
        self._take_back(address_key(address))

    def withdraw(self, username: str, address: str, device: str = "") -> None:
        """The password was not looked at: both get their attempt back."""
        self._take_back(account_key(username, device))
        self._take_back(address_key(address))

    def take_changes(self) -> list[tuple[str, Counter | None]]:
        """What changed since the last call: each key with its counter, or None when it is gone."""
        changes = [(key, self._counters.get(key)) for key in self._changed]
        self._changed.clear()
        return changes

    def _wait(self, key: str, free: int, now: float) -> float:
        counter = self._counters.get(key)
        if counter is None or now - counter.last > FORGET_AFTER:
            return 0.0
        wait = wait_after(counter.failures, free)
        # A wall clock that was set back must not make anybody wait longer than the series says.
        return min(wait, counter.last + wait - now)

    def _failures(self, key: str, now: float) -> int:
        counter = self._counters.get(key)
        return 0 if counter is None or now - counter.last > FORGET_AFTER else counter.failures

    def _set(self, key: str, failures: int, now: float) -> None:
        self._counters[key] = Counter(failures, now)
        self._counters.move_to_end(key)
        self._changed.add(key)

    def _take_back(self, key: str) -> None:
        counter = self._counters.get(key)
        if counter is None:
            return
        if counter.failures <= 1:
            self._drop(key)
        else:
            self._counters[key] = Counter(counter.failures - 1, counter.last)
            self._changed.add(key)

    def _drop(self, key: str) -> None:
        if self._counters.pop(key, None) is not None:
            self._changed.add(key)

    def _forget(self, now: float) -> None:
        while self._counters:
            key, oldest = next(iter(self._counters.items()))
            if now - oldest.last <= FORGET_AFTER and len(self._counters) <= MOST_COUNTERS:
                return
            self._drop(key)
