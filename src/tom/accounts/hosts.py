"""Under which names a program is known, and which origins are its own.

A request for any other name is refused before anything else is looked at: a foreign name that resolves to this machine
(DNS rebinding) reaches nothing.
"""

import fcntl
import ipaddress
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_REFRESH_SECONDS: Final = 5.0
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_SIOCGIFADDR: Final = 0x8915


class Hosts:
    """The names that a ``Host`` header may have."""

    def __init__(
        self,
        configured: Sequence[str] = (),
        *,
        certificate_names: Callable[[], Iterable[str]] = tuple,
        addresses: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        """``configured`` (``global.public_hosts``) replaces all defaults: the certificate's names, loopback, own addresses."""
        self._configured = [canonical(name) for name in configured]
        self._certificate_names = certificate_names
        self._addresses = addresses or own_addresses
        self._certified: Iterable[str] = ()
        self._exact: frozenset[str] = frozenset()
        self._domains: tuple[str, ...] = ()
        self._fresh_until = 0.0

    def knows(self, header: str) -> bool:
        """Whether a ``Host`` header names this gateway; the port does not matter."""
        split = split_host(header)
        return split is not None and self._knows_name(split[0])

    def is_own_origin(self, origin: str, *, scheme: str, host: str, port: int) -> bool:
        """Whether ``origin`` is this gateway's, for a request with this ``Host`` that came in on ``port``.

        It is when scheme, name and port are those of the request, or those of another of its names on that port.
        """
        own_scheme, separator, rest = origin.partition("://")
        if not separator or own_scheme != scheme:
            return False
        given, asked = split_host(rest), split_host(host)
        if given is None or asked is None:
            return False
        default = _DEFAULT_PORTS[scheme]
        given_port, asked_port = given[1] or default, asked[1] or default
        if (given[0], given_port) == (asked[0], asked_port):
            return True
        return given_port == port and self._knows_name(given[0])

    def names(self) -> list[str]:
        """All of them, sorted."""
        self._refresh()
        return sorted(self._exact | {f"*.{domain}" for domain in self._domains})

    def _knows_name(self, name: str) -> bool:
        if name in self._exact:
            return True
        if time.monotonic() > self._fresh_until or self._certificate_names() is not self._certified:
            self._refresh()
        return name in self._exact or name.partition(".")[2] in self._domains

    def _refresh(self) -> None:
        """Addresses and certificates change while the gateway runs."""
        names = set(self._configured)
        self._certified = self._certificate_names()
        if not names:
            names = {canonical(name) for name in (*_LOOPBACK, *self._certified, *self._addresses())}
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._domains = tuple(name[2:] for name in names if name.startswith("*."))
        self._fresh_until = time.monotonic() + _REFRESH_SECONDS


def split_host(header: str) -> tuple[str, int | None] | None:
    """Name and port of a ``Host`` header, or None when it is not one."""
    name, port = header, ""
    if header.startswith("["):
        name, bracket, rest = header[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif header.count(":") == 1:
        name, _, port = header.partition(":")
    if not name or (port and not (port.isascii() and port.isdigit() and len(port) <= 5)):
        return None
    return canonical(name), int(port) if port else None


def canonical(name: str) -> str:
    """One spelling per name: lower case, addresses in their short form, without brackets."""
    bare = name.strip("[]").lower()
    if ":" in bare or bare[-1:].isdigit():
        try:
            return str(ipaddress.ip_address(bare.partition("%")[0]))
        except ValueError:
            return bare
    return bare


def own_addresses() -> list[str]:
    """The addresses of this machine's interfaces."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, interface in socket.if_nameindex():
            request = struct.pack("256s", interface.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:
        lines = []
    found.extend(str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in lines)
    return found
