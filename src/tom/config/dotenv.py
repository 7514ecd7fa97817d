"""Storing a secret in `.env` of the data directory: mode 0600, other lines untouched, all or nothing."""

import re
from pathlib import Path

from tom.config.edit import locked, write_atomically

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def store_variable(directory: Path, name: str, value: str) -> Path:
    """Set ``name`` in ``<directory>/.env``; the file. ValueError for a value of several lines."""
    if not value or any(not letter.isprintable() for letter in value):
        message = "a key is one line of printable characters"
        raise ValueError(message)
    path = directory / ".env"
    quoted = value if _PLAIN.fullmatch(value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    line = f"{name}={quoted}"
    with locked(directory):
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        sets = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}\s*=")
        kept = [other for other in lines if not sets.match(other)]
        write_atomically(path, "\n".join((*kept, line)) + "\n", mode=0o600)
    return path
