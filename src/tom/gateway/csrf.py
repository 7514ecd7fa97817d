"""Whether a request that carries a cookie was meant by the person it belongs to.

Used for POST, PUT, PATCH, DELETE and for every WebSocket upgrade. Browsers say where a request comes from in
``Sec-Fetch-Site``; older ones in ``Origin``; a program of our own sends ``X-Tom-Client``, which no foreign page can.
"""

from collections.abc import Callable, Mapping
from typing import Final

from tom.policy.crossorigin import is_listed

UNSAFE_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def allows(headers: Mapping[bytes, bytes], is_own: Callable[[str], bool], *, logging_in: bool = False) -> bool:
    """Decide by the headers; ``is_own`` says whether an origin is the gateway's.

    ``logging_in``: nobody's authority is used yet, so a request without either header passes.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = headers.get(b"origin")
    if origin is not None:
        return is_own(origin.decode("latin-1"))
    return logging_in or b"x-tom-client" in headers


def origin_allowed(origin: bytes | None, is_own: Callable[[str], bool], listed: frozenset[str]) -> bool:
    """Whether a WebSocket may be opened from this ``Origin`` at all; absent: not a browser."""
    if origin is None:
        return True
    text = origin.decode("latin-1")
    return is_own(text) or is_listed(text, listed)
