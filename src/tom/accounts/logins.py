"""Logins: who a cookie belongs to, and what is open under it.

They are few and looked up on every request, so all of them are in memory; ``gateway.db`` has the same rows, with the
SHA-256 of the cookie's value instead of the value. Ending a login calls everything that is open under it at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tom.accounts.holding import Holding
from tom.clock import Clock, parse_timestamp, timestamp
from tom.ids import digest, secret_token, ulid

TOKEN_LENGTH: Final = 43
_SEEN_EVERY: Final = 60.0
_LONGEST_AGENT: Final = 200


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How long a login lasts."""

    idle_days: float = 7
    max_days: float = 30


@dataclass(slots=True, eq=False)
class Login(Holding):
    """One login. Times are Unix seconds; ``remember=False``: its cookie ends with the browser."""

    id: str
    token_hash: str
    user: str
    created: float
    seen: float
    remember: bool
    address: str
    agent: str
    stored_seen: float


class Logins:
    """The logins in force. Used by one event loop; writes nothing by itself."""

    def __init__(self, clock: Clock, limits: LoginLimits, rows: Iterable[Login] = ()) -> None:
        """Begin with the stored rows."""
        self._clock = clock
        self.limits = limits
        self._by_token = {row.token_hash: row for row in rows}

    def begin(self, user: str, *, remember: bool, address: str, agent: str) -> tuple[str, Login]:
        """A new login and the value of its cookie, which is nowhere else."""
        token, now = secret_token(), self._now()
        login = Login(ulid(), digest(token), user, now, now, remember, address, agent[:_LONGEST_AGENT], now)
        self._by_token[login.token_hash] = login
        return token, login

    def find(self, token: str) -> Login | None:
        """The login of a cookie's value, if it is in force; it counts as seen now."""
        if len(token) != TOKEN_LENGTH or not token.isascii():
            return None
        login = self._by_token.get(digest(token))
        if login is None:
            return None
        now = self._now()
        if self._is_over(login, now):
            return None
        login.seen = now
        return login

    def of_user(self, user: str) -> list[Login]:
        """The user's logins, oldest first."""
        return sorted((row for row in self._by_token.values() if row.user == user), key=lambda row: row.created)

    def end(self, logins: Iterable[Login]) -> list[Login]:
        """Take them out of force and close what is open under them; returns those that were in force."""
        ended = [login for login in logins if self._by_token.pop(login.token_hash, None)]
        for login in ended:
            login.end()
        return ended

    def take_over(self) -> list[Login]:
        """Those whose time is over, for `end`."""
        now = self._now()
        return [login for login in self._by_token.values() if self._is_over(login, now)]

    def take_seen(self) -> list[Login]:
        """Those seen at least a minute after what is stored of them; they count as stored now.

        A login under which something is open is being used: it counts as seen.
        """
        now = self._now()
        due: list[Login] = []
        for login in self._by_token.values():
            if login.open_count:
                login.seen = now
            if login.seen - login.stored_seen >= _SEEN_EVERY:
                login.stored_seen = login.seen
                due.append(login)
        return due

    def expires(self, login: Login) -> datetime:
        """When it ends at the latest if nobody uses it from now on."""
        idle = login.seen + self.limits.idle_days * 86_400
        latest = login.created + self.limits.max_days * 86_400
        return self._clock.now() + timedelta(seconds=min(idle, latest) - self._now())

    def _is_over(self, login: Login, now: float) -> bool:
        return now - login.seen > self.limits.idle_days * 86_400 or now - login.created > self.limits.max_days * 86_400

    def _now(self) -> float:
        return self._clock.now().timestamp()


def save(connection: Any, login: Login) -> None:
    """Write one login or when it was last seen; runs in the writer."""
    connection.execute(
        "INSERT INTO logins (id, token_hash, user, created_at, last_seen_at, remember, address, agent)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
        (
            login.id,
            login.token_hash,
            login.user,
            _text(login.created),
            _text(login.seen),
            int(login.remember),
            login.address,
            login.agent,
        ),
    )


def save_all(connection: Any, logins: Iterable[Login]) -> None:
    """Write several; runs in the writer."""
    for login in logins:
        save(connection, login)


def erase(connection: Any, logins: Iterable[Login]) -> None:
    """Delete the rows of ended logins; runs in the writer."""
    connection.executemany("DELETE FROM logins WHERE id = ?", [(login.id,) for login in logins])


def load(connection: Any) -> list[Login]:
    """Read all rows."""
    rows = connection.execute(
        "SELECT id, token_hash, user, created_at, last_seen_at, remember, address, agent FROM logins"
    )
    return [_login(*row) for row in rows]


def _login(
    identifier: str, token_hash: str, user: str, created: str, seen: str, remember: int, address: str, agent: str
) -> Login:
    last = parse_timestamp(seen).timestamp()
    first = parse_timestamp(created).timestamp()
    return Login(identifier, token_hash, user, first, last, bool(remember), address, agent, last)


def _text(moment: float) -> str:
    return timestamp(datetime.fromtimestamp(moment, UTC))
