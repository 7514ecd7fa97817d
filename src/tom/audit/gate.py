"""The admin token: who shows it, in the contract's order of checks, and what is recorded of those who show a wrong one.

Digests are compared, in constant time. Five wrong tokens a minute from one address; then none is looked at any more, so that
a right guess among them is not told apart. Of an address that shows none, or too many, there is one row a minute.
"""

import hashlib
import hmac
from typing import Final, Protocol

from tom.audit.chain import Chain
from tom.audit.refusals import AdminDisabled, InvalidAdminToken, MissingAdminToken
from tom.config.secret import Secret
from tom.errors import CallerError
from tom.telemetry import logs

log = logs.get("admin")

ADMIN: Final = "admin token"
"""How the record names whoever showed the admin token."""


ABSENT: Final = "X-Admin-Token absent"
TOO_MANY: Final = "X-Admin-Token shown too often"


class Guesses(Protocol):
    """Counts wrong tokens; `tom.limits.guesses.Guesses` does."""

    def begin(self, address: str) -> None:
        """Count an attempt. Raises `RateLimited`: then it must not be looked at."""
        ...

    def right(self, address: str) -> None:
        """It was right: the attempt is taken back."""
        ...

    def seldom(self, address: str, about: str) -> bool:
        """Whether something is to be recorded of an address that would else fill the record."""
        ...


class AdminGate:
    """Lets in who shows the admin token."""

    def __init__(self, token: Secret, guesses: Guesses, chain: Chain | None) -> None:
        """``token`` is `ADMIN_TOKEN`, blank: the admin routes are off. ``chain`` None: nothing is recorded."""
        shown = token.reveal().strip()
        self._digest = _digest(shown) if shown else b""
        self._guesses = guesses
        self._chain = chain

    @property
    def enabled(self) -> bool:
        """Whether there is a token."""
        return bool(self._digest)

    async def check(self, given: str | None, address: str) -> str:
        """Who that is in the record.

        Raises `AdminDisabled`, `MissingAdminToken`, `RateLimited`, `InvalidAdminToken`, in this order.
        """
        if not self._digest:
            raise AdminDisabled
        if not given:
            await self._record_seldom(address, ABSENT)
            raise MissingAdminToken
        try:
            self._guesses.begin(address)
        except CallerError:
            await self._record_seldom(address, TOO_MANY)
            raise
        if not hmac.compare_digest(_digest(given), self._digest):
            await self._record(address)
            raise InvalidAdminToken
        self._guesses.right(address)
        return ADMIN

    async def shows(self, given: str | None, address: str) -> bool:
        """Whether more may be shown: a token is there, and right. Wrong ones are counted and recorded as in `check`."""
        if not given or not self._digest:
            return False
        try:
            await self.check(given, address)
        except InvalidAdminToken:
            return False
        return True

    async def _record(self, address: str, subject: str = "X-Admin-Token") -> None:
        if subject != ABSENT:
            log.warning(f"🔒 Wrong admin token from {address}", event="admin_token_wrong")
        if self._chain is not None:
            await self._chain.note("admin.refused", who="", source=address, subject=subject)

    async def _record_seldom(self, address: str, subject: str) -> None:
        if self._guesses.seldom(address, subject):
            await self._record(address, subject)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
