"""Identifiers and random secrets.

ULIDs (https://github.com/ulid/spec): 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that
text order is time order. Within one process they are strictly increasing, also within one millisecond.
"""

import hashlib
import hmac
import secrets
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))
_RANDOM_BITS = 80
_lock = threading.Lock()
_last = 0


def ulid() -> str:
    """Make a new ULID: 26 characters, strictly greater than every earlier one of this process."""
    global _last  # noqa: PLW0603 - the monotonic guarantee is per process
    now = time.time_ns() // 1_000_000
    with _lock:
        # Within a millisecond the random part counts up, as the specification has it; 79 bits leave room to count.
        if now > _last >> _RANDOM_BITS:
            _last = now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
        else:
            _last += 1
        value = _last
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def secret_token() -> str:
    """Make a secret of 256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """SHA-256 of a secret as hex: the form in which secrets are stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
