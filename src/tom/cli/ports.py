"""TCP ports: listening on one, and who holds it when that fails."""

import errno
import socket
from pathlib import Path

from tom.cli.output import Refused

_LISTEN_STATE = "0A"
BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises `Refused` with who holds the port, as far as the system says."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise port_refused(port, error) from error
    return listener


def port_refused(port: int, error: OSError) -> Refused:
    """What to say about a port that cannot be had."""
    if error.errno == errno.EADDRINUSE:
        who = who_listens(port)
        by = f" by {who}" if who else ""
        return Refused(f"Port {port} is already in use{by}", hint="choose another with --port", code="port_in_use")
    if error.errno == errno.EACCES:
        return Refused(f"Port {port} needs privileges", hint="choose one above 1023 with --port", code="port_forbidden")
    return Refused(f"Port {port} cannot be used: {error.strerror}", code="port_unusable")


def who_listens(port: int) -> str:
    """``name (pid 123)`` of the process that listens on a port; empty where the system does not say."""
    inodes = _listening_inodes(port)
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {str(link.readlink()) for link in (process / "fd").iterdir()}
            if links & inodes:
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return ""


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN_STATE and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found
