"""API tokens: ``tom_<id>_<secret>``, a secret of 256 random bits of which the file has the SHA-256 only.

They are few and looked up on every request, so all of them are in memory, in step with the file. Taking one back calls
everything that is open under it at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tom.accounts.holding import Holding
from tom.accounts.presented import TOKEN
from tom.accounts.refusals import InvalidWish, TokenNotFound, TooManyTokens
from tom.clock import Clock, parse_timestamp, timestamp
from tom.ids import digest, secret_token, ulid
from tom.policy.permissions import Scope, scopes_of
from tom.sqlite import Database

MOST: Final = 50
DEFAULT_DAYS: Final = 365
LONGEST_DAYS: Final = 3650
LONGEST_NAME: Final = 100
_DAY: Final = 86_400
_USED_EVERY: Final = 60.0


@dataclass(slots=True, eq=False)
class Token(Holding):
    """One token. Times are Unix seconds; ``expires`` None: never; ``used`` None: not yet.

    ``digest`` is the SHA-256 of the whole token, by which rates are counted.
    """

    id: str
    digest: str
    user: str
    name: str
    scopes: frozenset[Scope]
    created: float
    expires: float | None
    used: float | None = None
    stored_used: float | None = None

    @property
    def key(self) -> str:
        """How it is called where rates are counted."""
        return f"api_key:{self.digest}"

    def as_json(self) -> dict[str, Any]:
        """What its owner is shown of it."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": [scope.value for scope in Scope if scope in self.scopes],
            "created_at": _text(self.created),
            "expires_at": _text(self.expires),
            "last_used_at": _text(self.used),
        }


@dataclass(frozen=True, slots=True)
class Wish:
    """A token that somebody wants; made by `read_wish`."""

    name: str
    scopes: frozenset[Scope]
    days: int


def read_wish(name: Any, scopes: Any, days: Any = DEFAULT_DAYS, *, admin: bool) -> Wish:
    """Check what a caller wrote; ``admin``: may grant `Scope.ADMIN`. Raises `InvalidWish`."""
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise InvalidWish(f"'name' must be 1 to {LONGEST_NAME} printable characters")
    if not isinstance(scopes, list | tuple) or not scopes:
        raise InvalidWish(f"'scopes' must list at least one of: {', '.join(Scope)}")
    known = {scope.value for scope in Scope}
    for scope in scopes:  # pyright: ignore[reportUnknownVariableType] - checked one by one
        if not isinstance(scope, str) or scope not in known:
            raise InvalidWish(f"Unknown scope '{str(scope)[:32]}'. Use: {', '.join(Scope)}")  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= LONGEST_DAYS:
        raise InvalidWish(f"'expires_in_days' must be 1 to {LONGEST_DAYS}")
    wanted = scopes_of(scopes)  # pyright: ignore[reportUnknownArgumentType]
    if Scope.ADMIN in wanted and not admin:
        raise InvalidWish("Only an admin may grant the scope 'admin'")
    return Wish(name.strip(), wanted, days)


class Tokens:
    """The tokens of one file. Used by one event loop."""

    def __init__(self, database: Database, clock: Clock, rows: Iterable[Token] = ()) -> None:
        """Use `open`."""
        self._database = database
        self._clock = clock
        self._by_digest = {row.digest: row for row in rows}

    @classmethod
    async def open(cls, database: Database, clock: Clock) -> "Tokens":
        """The tokens that a file has (its schema is that of ``gateway.db``)."""
        return cls(database, clock, await database.read(_load))

    # --- on every request -----------------------------------------------------------------------------------------

    def find(self, text: str) -> Token | None:
        """The token in force that was shown, which counts as used now; None for unknown, revoked, expired or malformed."""
        token = self._known(text)
        if token is None or self.is_over(token):
            return None
        token.used = self._now()
        return token

    def is_over(self, token: Token) -> bool:
        """Whether its time is over, or somebody has taken it back."""
        return token.ended or (token.expires is not None and self._now() >= token.expires)

    # --- coming and going -----------------------------------------------------------------------------------------

    async def create(self, user: str, wish: Wish) -> tuple[Token, str]:
        """A new token and its text, which is nowhere else. Raises `TooManyTokens`."""
        if sum(1 for token in self.list(user) if not self.is_over(token)) >= MOST:
            raise TooManyTokens
        now, identifier = self._now(), ulid()
        text = f"tom_{identifier}_{secret_token()}"
        token = Token(identifier, digest(text), user, wish.name, wish.scopes, now, now + wish.days * _DAY)
        self._by_digest[token.digest] = token  # counted from now: nobody gets a fifty-first by asking twice at once
        try:
            await self._database.write(lambda connection: _save(connection, [token]), full=True)
        except BaseException:
            self._by_digest.pop(token.digest, None)
            raise
        return token, text

    def list(self, user: str) -> list[Token]:
        """The user's tokens, also those whose time is over, oldest first."""
        return sorted((row for row in self._by_digest.values() if row.user == user), key=lambda row: row.id)

    async def revoke(self, user: str, identifier: str) -> Token:
        """Take one back, closing what is open under it. Raises `TokenNotFound`."""
        token = next((row for row in self.list(user) if row.id == identifier), None)
        if token is None:
            raise TokenNotFound
        await self._revoke([token])
        return token

    async def revoke_shown(self, text: str) -> Token | None:
        """Take back the token that was shown where it must not be; None when there is none of that text."""
        token = self._known(text)
        if token is not None:
            await self._revoke([token])
        return token

    async def revoke_all(self, user: str) -> int:
        """Take back all of a user who is gone; returns how many."""
        return await self._revoke(self.list(user))

    def cut_off(self, user: str) -> None:
        """Close what is open under the user's tokens: the user is disabled, or may do something else now."""
        for token in self.list(user):
            token.cut_off()

    def users(self) -> set[str]:
        """Whose tokens there are."""
        return {token.user for token in self._by_digest.values()}

    async def tidy(self) -> None:
        """Close what is open under tokens whose time is over; store when the others were used."""
        for token in self._by_digest.values():
            if self.is_over(token):
                token.cut_off()
        await self._store_used(_USED_EVERY)

    async def close(self) -> None:
        """Store what is left; the file is its owner's to close."""
        await self._store_used(0.0)

    # --- below ----------------------------------------------------------------------------------------------------

    def _known(self, text: str) -> Token | None:
        return self._by_digest.get(digest(text)) if TOKEN.fullmatch(text) else None

    async def _revoke(self, tokens: Iterable[Token]) -> int:
        gone = [token for token in tokens if self._by_digest.pop(token.digest, None)]
        for token in gone:
            token.end()
        if gone:
            identifiers = [(token.id,) for token in gone]
            await self._database.write(lambda connection: _erase(connection, identifiers), full=True)
        return len(gone)

    async def _store_used(self, every: float) -> None:
        due: list[Token] = []
        for token in self._by_digest.values():
            if token.open_count and not self.is_over(token):
                token.used = self._now()
            if token.used is not None and token.used - (token.stored_used or 0.0) > every:
                token.stored_used = token.used
                due.append(token)
        if due:
            await self._database.write(lambda connection: _save(connection, due), full=False)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _load(connection: Any) -> list[Token]:
    rows = connection.execute(
        "SELECT id, secret_hash, user, name, scopes, created_at, expires_at, last_used_at FROM tokens"
    )
    return [_token(*row) for row in rows]


def _token(
    identifier: str,
    secret_hash: str,
    user: str,
    name: str,
    scopes: str,
    created: str,
    expires: str | None,
    used: str | None,
) -> Token:
    last = _moment(used)
    first = _moment(created) or 0.0
    return Token(identifier, secret_hash, user, name, scopes_of(scopes.split()), first, _moment(expires), last, last)


def _save(connection: Any, tokens: Iterable[Token]) -> None:
    connection.executemany(
        "INSERT INTO tokens (id, secret_hash, user, name, scopes, created_at, expires_at, last_used_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET last_used_at = excluded.last_used_at",
        [
            (
                token.id,
                token.digest,
                token.user,
                token.name,
                " ".join(sorted(token.scopes)),
                _text(token.created),
                _text(token.expires),
                _text(token.used),
            )
            for token in tokens
        ],
    )


def _erase(connection: Any, identifiers: Iterable[tuple[str]]) -> None:
    connection.executemany("DELETE FROM tokens WHERE id = ?", identifiers)


def _moment(text: str | None) -> float | None:
    return None if text is None else parse_timestamp(text).timestamp()


def _text(moment: float | None) -> str | None:
    return None if moment is None else timestamp(datetime.fromtimestamp(moment, UTC))
