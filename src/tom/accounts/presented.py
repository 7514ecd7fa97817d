"""Which credential a request shows, by its headers and its URL. Pure; who it belongs to is `tokens.py`'s to know.

Every header that may carry a token is read here and nowhere else, by the gateway and by an agent alone.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from tom.errors import ConflictingCredentials

TOKEN: Final = re.compile(r"tom_([0-9A-HJKMNP-TV-Z]{26})_[A-Za-z0-9_-]{43}")
"""The shape of a token: its id, then 256 random bits."""

_IN_URL: Final = re.compile(TOKEN.pattern.encode())
_BEARER: Final = b"bearer"
_NOTHING: Final = frozenset({""})


def presented_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of ``Authorization: Bearer`` or ``X-API-Key``, as it was sent; None when there is none.

    ``headers`` are raw, with lower-case names, each as often as it was sent. Raises `ConflictingCredentials` when two of
    them differ.
    """
    shown = {_token_of(name, value) for name, value in headers if name in {b"authorization", b"x-api-key"}} - _NOTHING
    if len(shown) > 1:
        raise ConflictingCredentials
    return next(iter(shown), None)


def token_in_url(path: bytes, query: bytes) -> str | None:
    """The token that stands in a URL, written plainly or percent-encoded; None when there is none."""
    for text in (query, path):
        if b"tom_" in text or b"%" in text:
            found = _IN_URL.search(unquote_to_bytes(text))
            if found:
                return found[0].decode("ascii")
    return None


def _token_of(name: bytes, value: bytes) -> str:
    """What one header says; another scheme than Bearer is none of Tom's, as that of a proxy that asks for a password."""
    if name == b"authorization":
        scheme, _, value = value.strip().partition(b" ")
        if scheme.lower() != _BEARER:
            return ""
    return value.strip().decode("latin-1")
