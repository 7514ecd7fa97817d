"""Identifiers and random secrets.

ULIDs (https://github.com/ulid/spec): 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that
text order is time order. Within one process they are strictly increasing: within a millisecond they count up, as the
specification has it.
"""

import hashlib
import hmac
import re
import secrets
import threading
import time
import uuid

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_COUNTED_BITS = 40
_lock = threading.Lock()


class _Latest:
    """The newest ULID's millisecond, its first 18 characters, and what counts up in the last 8."""

    __slots__ = ("count", "moment", "prefix")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, moment: int) -> None:
        """Begin a millisecond; one bit less of chance leaves room to count up."""
        self.moment = moment
        fixed = moment << _COUNTED_BITS | secrets.randbits(_COUNTED_BITS)
        self.prefix = "".join(_PAIRS[fixed >> shift & 1023] for shift in range(80, -1, -10))
        self.count = secrets.randbits(_COUNTED_BITS - 1)


_latest = _Latest()


def ulid() -> str:
    """Make a new ULID: 26 characters, strictly greater than every earlier one of this process."""
    now = time.time_ns() // 1_000_000
    with _lock:
        if now > _latest.moment:
            _latest.begin(now)
        else:
            _latest.count += 1
        prefix, count = _latest.prefix, _latest.count
    return prefix + _PAIRS[count >> 30] + _PAIRS[count >> 20 & 1023] + _PAIRS[count >> 10 & 1023] + _PAIRS[count & 1023]


def capability() -> str:
    """Make an identifier that cannot be guessed from others (UUID 4): 122 random bits, in 36 characters."""
    return str(uuid.uuid4())


_CAPABILITY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_capability(name: str) -> bool:
    """Whether ``name`` has the form of a `capability`. That it was made here it does not say."""
    return _CAPABILITY.fullmatch(name) is not None


def secret_token() -> str:
    """Make a secret of 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """SHA-256 of a secret as hex: the form in which secrets are stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
