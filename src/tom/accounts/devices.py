"""Browsers that logged in before: who guesses at a name from elsewhere does not make them wait.

A browser keeps a secret for 400 days; ``gateway.db`` has its SHA-256 beside the user it is good for. It lets nobody in:
it only gives the browser's attempts a counter of their own. All are in memory, in step with the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tom.clock import parse_timestamp, timestamp
from tom.ids import digest, secret_token

MOST_PER_USER: Final = 20
KEPT_SECONDS: Final = 400 * 86_400
_TOKEN_LENGTH: Final = 43


@dataclass(frozen=True, slots=True)
class Device:
    """One browser of one user; ``last`` is the Unix time of its latest login."""

    digest: str
    user: str
    last: float


class Devices:
    """The browsers of all users. Writes nothing by itself."""

    def __init__(self, rows: Iterable[Device] = ()) -> None:
        """Begin with the stored rows."""
        self._by_user: dict[str, dict[str, Device]] = {}
        for row in sorted(rows, key=lambda row: row.last):
            self._by_user.setdefault(row.user, {})[row.digest] = row

    def find(self, username: str, token: str, now: float) -> str:
        """The digest of a browser's secret that is good for that name, whatever its case; else empty."""
        if len(token) != _TOKEN_LENGTH or not token.isascii():
            return ""
        device = self._by_user.get(username.casefold(), {}).get(digest(token))
        return device.digest if device and now - device.last <= KEPT_SECONDS else ""

    def logged_in(self, user: str, token: str, now: float) -> tuple[str, Device, list[Device]]:
        """Take a browser in, or take note of it again: its secret, its row, and the oldest rows beyond the most."""
        if not self.find(user, token, now):
            token = secret_token()
        row = Device(digest(token), user, now)
        mine = self._by_user.setdefault(user, {})
        mine.pop(row.digest, None)
        mine[row.digest] = row
        return token, row, [mine.pop(oldest) for oldest in list(mine)[:-MOST_PER_USER]]


def save(connection: Any, row: Device, dropped: Iterable[Device]) -> None:
    """Write one row and delete others; runs in the writer."""
    connection.execute(
        "INSERT INTO devices (user, digest, last_login_at) VALUES (?, ?, ?)"
        " ON CONFLICT (user, digest) DO UPDATE SET last_login_at = excluded.last_login_at",
        (row.user, row.digest, timestamp(datetime.fromtimestamp(row.last, UTC))),
    )
    for gone in dropped:
        connection.execute("DELETE FROM devices WHERE user = ? AND digest = ?", (gone.user, gone.digest))


def load(connection: Any) -> list[Device]:
    """Read all rows."""
    rows = connection.execute("SELECT digest, user, last_login_at FROM devices")
    return [Device(known, user, parse_timestamp(last).timestamp()) for known, user, last in rows]
