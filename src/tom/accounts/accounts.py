"""Who may come in: the one door to users, passwords, logins, tokens and the throttle.

Above: the gateway. Below: ``gateway.db``. It knows no cookie, header or status. What decides is in memory and in step
with the file: this process is the file's only writer.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tom.accounts import devices as device_rows
from tom.accounts import logins as login_rows
from tom.accounts import users as user_rows
from tom.accounts.devices import Devices
from tom.accounts.logins import Login, LoginLimits, Logins
from tom.accounts.opening import open_file
from tom.accounts.passwords import Passwords
from tom.accounts.refusals import InvalidCredentials, ManagedByFile, TooBusy, UnknownUser
from tom.accounts.throttle import Counter, Throttle
from tom.accounts.tokens import Token, Tokens
from tom.accounts.users import StoredUser, UserEntry, Users
from tom.clock import Clock, SystemClock, parse_timestamp, timestamp
from tom.policy.permissions import LOGIN_SCOPES, Scope
from tom.sqlite import Database
from tom.telemetry import logs

log = logs.get("login")

_TIDY_EVERY: Final = 15.0


class Accounts:
    """Users, logins, tokens and throttle of one gateway."""

    def __init__(
        self,
        databases: tuple[Database, Database],
        users: Users,
        logins: Logins,
        tokens: Tokens,
        guard: tuple[Throttle, Devices],
        clock: Clock,
    ) -> None:
        """Use `open`."""
        self._database, self._login_database = databases
        self.tokens = tokens
        self._users = users
        self._logins = logins
        self._throttle, self._devices = guard
        self._clock = clock
        self._passwords = Passwords()
        self._unread: dict[str, UserEntry] = {}
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._storing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._work = asyncio.Event()

    @classmethod
    async def open(
        cls,
        path: Path,
        entries: Iterable[UserEntry],
        *,
        limits: LoginLimits | None = None,
        clock: Clock | None = None,
        logins_path: Path | None = None,
    ) -> "Accounts":
        """Open ``gateway.db`` and put the users of config.yml in force; ``logins_path`` is another file for logins.

        Raises `StoreInUse`, `StoreTooNew`.
        """
        clock = clock or SystemClock()
        database = await open_file(path, clock)
        apart = await open_file(logins_path, clock) if logins_path else database
        users = Users(await database.read(user_rows.load))
        logins = Logins(clock, limits or LoginLimits(), await apart.read(login_rows.load))
        guard = Throttle(await database.read(_load_counters)), Devices(await database.read(device_rows.load))
        accounts = cls((database, apart), users, logins, await Tokens.open(database, clock), guard, clock)
        await accounts.apply(entries)
        return accounts

    # --- on every request -----------------------------------------------------------------------------------------

    def find(self, token: str) -> Login | None:
        """The login that a cookie's value belongs to; None when unknown, ended, expired or malformed."""
        login = self._logins.find(token)
        return login if login and self._users.find(login.user) else None

    def find_token(self, text: str) -> Token | None:
        """The token that was shown; None when unknown, revoked, expired, malformed, or its user may not come in."""
        token = self.tokens.find(text)
        return token if token and self._users.find(token.user) else None

    def may_come_in(self, held: Login | Token) -> bool:
        """Whether a login or token that was good still is."""
        if self._users.find(held.user) is None:
            return False
        return not (self.tokens.is_over(held) if isinstance(held, Token) else held.ended)

    def scopes(self, held: Login | Token) -> frozenset[Scope]:
        """How far it reaches: `Scope.ADMIN` only while its user is an admin."""
        granted = held.scopes if isinstance(held, Token) else LOGIN_SCOPES | {Scope.ADMIN}
        return granted if self.role(held.user) == "admin" else granted - {Scope.ADMIN}

    @property
    def database(self) -> Database:
        """The file, for what else is kept in it."""
        return self._database

    def role(self, user: str) -> str:
        """The role of a user in force."""
        entry = self._users.find(user)
        return entry.role if entry else "user"

    # --- coming and going -----------------------------------------------------------------------------------------

    async def log_in(
        self, username: str, password: str, *, address: str, agent: str = "", remember: bool = True, device: str = ""
    ) -> tuple[str, Login]:
        """Check a password; returns the cookie's value and the login. ``device``: what `remember_device` gave.

        Raises `InvalidCredentials` (the same for an unknown user, a wrong password and a disabled user),
        `TooManyAttempts` (the password was not looked at), `TooBusy`.
        """
        entry, row = await self._guarded(username, password, address, device)
        # Nothing is awaited from here until the login has begun: whoever was shut out meanwhile stays out.
        if not self._still(entry, row):
            raise InvalidCredentials
        user = entry.name
        self._succeeded(username, address, device)
        token, login = self._logins.begin(user, remember=remember, address=address, agent=agent)
        try:
            await self._login_database.write(lambda connection: login_rows.save(connection, login), full=True)
        except BaseException:
            self._logins.end([login])
            raise
        await self._store_counters()
        log.info(f"🔐 Login of '{user}' from {address}", event="login")
        return token, login

    async def confirm_password(self, user: str, password: str, *, address: str, device: str = "") -> None:
        """Check the password of somebody who is logged in; guesses count as those of a login do.

        Raises `InvalidCredentials`, `TooManyAttempts`, `TooBusy`.
        """
        await self._guarded(user, password, address, device)
        self._succeeded(user, address, device)
        await self._store_counters()

    async def remember_device(self, user: str, presented: str = "") -> str:
        """Take note that a browser has logged in; returns the secret it shall keep: what it presented, or a new one."""
        token, row, dropped = self._devices.logged_in(user, presented, self._clock.now().timestamp())
        await self._database.write(lambda connection: device_rows.save(connection, row, dropped), full=False)
        return token

    async def log_out(self, login: Login) -> None:
        """End one login and everything open under it."""
        await self._end([login])

    async def end_logins(self, user: str, *, keep: Login | None = None) -> int:
        """End all logins of a user but ``keep``; returns how many."""
        return await self._end(login for login in self._logins.of_user(user) if login is not keep)

    def logins(self, user: str) -> list[Login]:
        """The user's logins, oldest first."""
        return self._logins.of_user(user)

    def overview(self) -> list[dict[str, Any]]:
        """The users in force with their roles and how many logins they have, for the operator."""
        return [
            {"user": entry.name, "role": entry.role, "disabled": entry.disabled, "logins": len(self.logins(entry.name))}
            for entry in self._users.entries.values()
        ]

    def expires(self, login: Login) -> str:
        """When a login ends if it is not used any more, RFC 3339."""
        return timestamp(self._logins.expires(login))

    def max_age(self, login: Login) -> int | None:
        """Seconds that its cookie is kept; None: until the browser ends."""
        return int(self._logins.limits.max_days * 86_400) if login.remember else None

    # --- changing -------------------------------------------------------------------------------------------------

    async def set_password(self, user: str, password: str) -> None:
        """Give a user a new password and end their logins.

        Raises `UnknownUser`, `ManagedByFile`, `InvalidPassword`, `TooBusy`.
        """
        entry = self._users.entries.get(user)
        if entry is None:
            raise UnknownUser
        if entry.password_hash:
            raise ManagedByFile
        await self._read_file(user)
        await self._store_user(user, password_hash=await self._passwords.hash(password))
        await self.end_logins(user)

    async def apply(self, entries: Iterable[UserEntry]) -> None:
        """Put the users of config.yml in force; who is gone, disabled or in another role is logged out at once.

        Passwords in the file are compared with what is stored by `run`, or at the user's next login if that is first.
        """
        for name in self._users.use(entries):
            self.tokens.cut_off(name)
            await self.end_logins(name)
        for name in self.tokens.users() - self._users.entries.keys():
            await self.tokens.revoke_all(name)  # another person may have this name one day
        for entry in self._users.entries.values():
            stored = self._users.stored.get(entry.name)
            if stored and stored.role != entry.role:
                await self._store_user(entry.name, role=entry.role)
            self._unread[entry.name] = entry
        self._level()
        self._work.set()

    async def run(self) -> None:
        """Compare passwords of config.yml, end what is over, write what was seen; until cancelled."""
        while True:
            self._work.clear()
            try:
                for name in list(self._unread):
                    await self._read_file(name)
                await self.tidy()
            except Exception as error:  # noqa: BLE001 - a full disk must not end the gateway
                log.error("❌ Accounts could not be stored", event="accounts_not_stored", error=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIDY_EVERY):
                    await self._work.wait()

    async def tidy(self) -> None:
        """End the logins and tokens whose time is over and store when the others were seen."""
        await self.tokens.tidy()
        await self._end(self._logins.take_over())
        seen = self._logins.take_seen()
        if seen:
            await self._login_database.write(lambda connection: login_rows.save_all(connection, seen), full=False)

    async def close(self) -> None:
        """Store what is left and close the file."""
        await self.tidy()
        await self.tokens.close()
        self._passwords.close()
        await self._database.close()
        if self._login_database is not self._database:
            await self._login_database.close()

    # --- below ----------------------------------------------------------------------------------------------------

    async def _guarded(self, username: str, password: str, address: str, device: str) -> tuple[UserEntry, StoredUser]:
        """`_check` behind the throttle; a failure is counted, success is `_succeeded`'s to count."""
        now = self._clock.now().timestamp()
        known = self._devices.find(username, device, now)
        self._throttle.begin(username, address, now, known)
        try:
            return await self._check(username, password)
        except TooBusy:
            self._throttle.withdraw(username, address, known)
            raise
        except InvalidCredentials:
            log.warning(f"🔒 Login failed for '{username[:32]}' from {address}", event="login_failed")
            raise
        finally:
            await self._store_counters()

    def _succeeded(self, username: str, address: str, device: str) -> None:
        known = self._devices.find(username, device, self._clock.now().timestamp())
        self._throttle.succeeded(username, address, known)

    async def _check(self, username: str, password: str) -> tuple[UserEntry, StoredUser]:
        """Who that is, and the row that says so; `log_in` looks at both again with `_still`."""
        entry = self._users.find(username)
        if entry:
            await self._read_file(entry.name)
        stored = self._users.stored.get(entry.name) if entry else None
        match = await self._passwords.check(password, stored.password_hash if stored else None)
        if not (match.right and entry and stored and self._still(entry, stored)):
            raise InvalidCredentials
        if match.outdated and not entry.password_hash:
            fresh = await self._passwords.hash(password)
            stored = await self._store_user(entry.name, instead_of=stored, password_hash=fresh)
        return entry, stored

    def _still(self, entry: UserEntry, row: StoredUser) -> bool:
        """Whether the user is enabled, with the same password and role, as when the password was looked at."""
        now, stored = self._users.find(entry.name), self._users.stored.get(entry.name)
        if now is None or stored is None:
            return False
        return (now.role, stored.password_hash) == (entry.role, row.password_hash)

    async def _read_file(self, name: str) -> None:
        """Take over what config.yml says of a user's password if it says something new; ends their logins then."""
        async with self._reading[name]:
            entry = self._unread.get(name)
            if entry is None:
                return
            stored = self._users.stored.get(name)
            fresh = await self._fresh_hash(entry, stored.file_hash if stored else None)
            had = stored.password_hash if stored else None
            if fresh:
                await self._store_user(name, password_hash=fresh, file_hash=fresh)
            elif stored is None:
                await self._store_user(name)
            elif stored.file_hash and not entry.password and not entry.password_hash:
                await self._store_user(name, file_hash=None)
            if fresh and had:
                await self.end_logins(name)
            if self._unread.get(name) is entry:
                del self._unread[name]

    async def _fresh_hash(self, entry: UserEntry, known: str | None) -> str | None:
        """The hash of what the file says now, or None when that is nothing, or what it said before."""
        if entry.password_hash:
            return entry.password_hash if entry.password_hash != known else None
        if not entry.password:
            return None
        password = entry.password.reveal()
        if known and (await self._passwords.check(password, known)).right:
            return None
        return await self._passwords.hash(password)

    async def _store_user(self, name: str, *, instead_of: StoredUser | None = None, **changed: Any) -> StoredUser:
        """Change a user's row and return it; unless it is ``instead_of`` any more, which raises `InvalidCredentials`."""
        # One after the other: a row is made from the one before it, and the last one counts.
        async with self._storing[name]:
            if instead_of and self._users.stored.get(name) is not instead_of:
                raise InvalidCredentials
            row = self._users.changed(name, **changed)
            await self._database.write(lambda connection: user_rows.save(connection, row, self._clock.now()), full=True)
            self._users.stored[name] = row
            self._level()
            return row

    def _level(self) -> None:
        rows = (self._users.stored.get(name) for name in self._users.entries)
        self._passwords.level(row.password_hash for row in rows if row)

    async def _end(self, logins: Iterable[Login]) -> int:
        ended = self._logins.end(logins)
        if ended:
            await self._login_database.write(lambda connection: login_rows.erase(connection, ended), full=True)
        return len(ended)

    async def _store_counters(self) -> None:
        changes = self._throttle.take_changes()
        if changes:
            await self._database.write(lambda connection: _save_counters(connection, changes), full=False)


def _load_counters(connection: Any) -> list[tuple[str, Counter]]:
    rows = connection.execute("SELECT key, failures, last_at FROM throttle")
    return [(key, Counter(failures, parse_timestamp(last).timestamp())) for key, failures, last in rows]


def _save_counters(connection: Any, changes: list[tuple[str, Counter | None]]) -> None:
    for key, counter in changes:
        if counter is None:
            connection.execute("DELETE FROM throttle WHERE key = ?", (key,))
        else:
            connection.execute(
                "INSERT INTO throttle (key, failures, last_at) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
                " SET failures = excluded.failures, last_at = excluded.last_at",
                (key, counter.failures, timestamp(counter.moment)),
            )
