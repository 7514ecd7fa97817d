"""The admin token: who shows it, in the contract's order of checks, and what is recorded of those who show a wrong one.

Digests are compared, in constant time. Five wrong tokens a minute from one address; then none is looked at any more, so that
a right guess among them is not told apart.
"""

import hashlib
import hmac
from typing import Final, Protocol

from tom.audit.chain import Chain
from tom.audit.refusals import AdminDisabled, InvalidAdminToken, MissingAdminToken
from tom.config.secret import Secret
from tom.telemetry import logs

log = logs.get("admin")

ADMIN: Final = "admin token"
"""How the record names whoever showed the admin token."""


class Guesses(Protocol):
    """Counts wrong tokens; `tom.limits.guesses.Guesses` does."""

    def begin(self, address: str) -> None:
        """Count an attempt. Raises `RateLimited`: then it must not be looked at."""
        ...

    def right(self, address: str) -> None:
        """It was right: the attempt is taken back."""
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
            raise MissingAdminToken
        self._guesses.begin(address)
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

    async def _record(self, address: str) -> None:
        log.warning(f"🔒 Wrong admin token from {address}", event="admin_token_wrong")
        if self._chain is not None:
            await self._chain.note("admin.refused", who="", source=address, subject="X-Admin-Token")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
