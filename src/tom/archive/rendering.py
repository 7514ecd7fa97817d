"""Values as databases take them: times, and JSON with a fixed order of keys."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tom.clock import parse_timestamp, timestamp


def to_moment(text: str) -> datetime:
    """RFC 3339 as a naive time in UTC, which databases without time zones keep."""
    return parse_timestamp(text).replace(tzinfo=None)


def from_moment(moment: datetime | None) -> str:
    """A naive time in UTC as RFC 3339 with milliseconds; nothing as an empty text."""
    return "" if moment is None else timestamp(moment.replace(tzinfo=UTC))


def from_json(text: str | bytes | None) -> Mapping[str, Any]:
    """The JSON object of a column; nothing as an empty one."""
    return json.loads(text) if text else {}


def to_json(value: Any) -> str:
    """One JSON text for equal values, readable as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)
