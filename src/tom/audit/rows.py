"""One row of the record, and how rows are chained.

The hash of a row is SHA-256 of the previous row's hash (32 bytes; zeros before the first) followed by the row as canonical
JSON: its columns from ``number`` to ``after``, keys sorted, no spaces, UTF-8. The mac is HMAC-SHA-256 of that hash with the
audit key, so that whoever can write the database but not read the key cannot make a chain that holds.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What stands for the hash before the first row."""

LONGEST_TEXT: Final = 256
LONGEST_VALUE: Final = 8192


@dataclass(frozen=True, slots=True)
class Fact:
    """What is to be recorded. ``before`` and ``after`` are JSON texts, None where there was or is nothing."""

    kind: str
    who: str
    source: str
    subject: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is stored; ``at`` is RFC 3339 UTC with milliseconds, ``hash`` and ``mac`` are hex."""

    number: int
    at: str
    kind: str
    who: str
    source: str
    subject: str
    before: str | None
    after: str | None
    hash: str
    mac: str

    def told(self) -> dict[str, Any]:
        """The row as people and programs read it: values decoded."""
        known = asdict(self)
        for name in ("before", "after"):
            known[name] = None if known[name] is None else json.loads(known[name])
        return known


def make_fact(kind: str, who: str, source: str, subject: str, before: Any, after: Any) -> Fact:
    """A fact of these JSON values; texts that are too long are cut, a value that is too long is named by its hash."""
    return Fact(kind[:64], _cut(who), _cut(source), _cut(subject), _value(before), _value(after))


def chained(fact: Fact, *, number: int, at: str, previous: str, key: bytes) -> Row:
    """The row of ``fact`` behind the row whose hash is ``previous``."""
    plain = Row(number, at, fact.kind, fact.who, fact.source, fact.subject, fact.before, fact.after, "", "")
    digest = hash_of(plain, previous)
    return Row(
        number, at, fact.kind, fact.who, fact.source, fact.subject, fact.before, fact.after, digest, mac_of(key, digest)
    )


def hash_of(row: Row, previous: str) -> str:
    """What the row's hash must be behind ``previous``."""
    columns: Mapping[str, Any] = {
        "after": row.after,
        "at": row.at,
        "before": row.before,
        "kind": row.kind,
        "number": row.number,
        "source": row.source,
        "subject": row.subject,
        "who": row.who,
    }
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(bytes.fromhex(previous) + text.encode("utf-8", "surrogatepass")).hexdigest()


def mac_of(key: bytes, *parts: str | int) -> str:
    """HMAC-SHA-256 of ``parts`` with the audit key, as hex."""
    return hmac.new(key, "\n".join(map(str, parts)).encode(), hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two macs in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _cut(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= LONGEST_TEXT else clean[: LONGEST_TEXT - 1] + "…"


def _value(value: Any) -> str | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    if len(text) <= LONGEST_VALUE:
        return text
    return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "length": len(text)})
