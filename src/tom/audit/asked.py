"""What an admin asks for, read from query and body, and checked. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tom.audit.refusals import InvalidAdminBody, InvalidDate, InvalidLimit, InvalidOffset
from tom.clock import timestamp

MOST: Final = 200
_FARTHEST: Final = 1_000_000_000
_LONGEST_NOTE: Final = 200
_LONGEST_IP: Final = 64
_STATES: Final = frozenset({"idle", "running", "waiting"})
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of an admin: who it is as the record names them, from where; the query, the path's parts, the body."""

    who: str
    source: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; ``body`` is JSON, and nothing at all with status 204."""

    status: int
    body: Any = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    offset: int

    def of[T](self, rows: list[T]) -> list[T]:
        """That part."""
        return rows[self.offset : self.offset + self.limit]


@dataclass(frozen=True, slots=True)
class NewBypass:
    """An address or network that is to be let through."""

    ip: str
    note: str
    expires_at: datetime | None


def read_page(query: Mapping[str, str], *, default: int = 50) -> Page:
    """``limit`` (1..200) and ``offset``. Raises `InvalidLimit`, `InvalidOffset`."""
    limit = _whole(query.get("limit", str(default)))
    if limit is None or not 1 <= limit <= MOST:
        raise InvalidLimit
    offset = _whole(query.get("offset", "0"))
    if offset is None or offset > _FARTHEST:
        raise InvalidOffset
    return Page(limit, offset)


def read_state(query: Mapping[str, str]) -> str | None:
    """``state``, None for any. Raises `InvalidAdminBody`."""
    state = query.get("state")
    if state is not None and state not in _STATES:
        raise _unfit("state", "must be idle, running or waiting")
    return state


def read_flag(query: Mapping[str, str], name: str) -> bool:
    """Whether ``name`` is on. Raises `InvalidAdminBody` for what is neither true nor false."""
    text = query.get(name, "false").lower()
    if text not in {"true", "false", "1", "0"}:
        raise _unfit(name, "must be true or false")
    return text in {"true", "1"}


def read_span(query: Mapping[str, str]) -> tuple[str | None, str | None]:
    """``start_date`` and ``end_date`` as timestamps, both included; a day as such is meant from its first moment to its last.

    Raises `InvalidDate`.
    """
    start = _moment(query["start_date"], last=False) if "start_date" in query else None
    end = _moment(query["end_date"], last=True) if "end_date" in query else None
    if start is not None and end is not None and start > end:
        raise InvalidDate
    return (None if start is None else timestamp(start)), (None if end is None else timestamp(end))


def read_bypass(body: Mapping[str, Any], now: datetime) -> NewBypass:
    """The body of ``POST /admin/bypass``. Raises `InvalidAdminBody`."""
    _closed(body, {"ip", "note", "expires_at"})
    if "ip" not in body:
        raise _unfit("ip", "field required")
    ip, note, expires = body["ip"], body.get("note"), body.get("expires_at")
    if not isinstance(ip, str) or len(ip) > _LONGEST_IP:
        raise _unfit("ip", "must be an address or a network")
    if note is not None and not (isinstance(note, str) and len(note) <= _LONGEST_NOTE):
        raise _unfit("note", f"must be a text of at most {_LONGEST_NOTE} characters")
    return NewBypass(ip, note or "", _until(expires, now))


def read_change(body: Mapping[str, Any]) -> tuple[str, Any]:
    """The body of ``PUT /admin/config``: field and value. Raises `InvalidAdminBody`."""
    _closed(body, {"field", "value"})
    for name in ("field", "value"):
        if name not in body:
            raise _unfit(name, "field required")
    if not isinstance(body["field"], str):
        raise _unfit("field", "must be a text")
    return body["field"], body["value"]


def parse_moment(text: str) -> datetime:
    """An RFC 3339 date and time. ValueError for anything else."""
    if not _MOMENT.fullmatch(text):
        raise ValueError("not RFC 3339")
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def _until(expires: Any, now: datetime) -> datetime | None:
    if expires is None:
        return None
    try:
        moment = parse_moment(expires)
    except (ValueError, TypeError, OverflowError):
        raise _unfit("expires_at", "must be a date and time as in RFC 3339") from None
    if moment <= now:
        raise _unfit("expires_at", "is over already")
    return moment


def _moment(text: str, *, last: bool) -> datetime:
    try:
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return day + timedelta(days=1, milliseconds=-1) if last else day
        return parse_moment(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text.upper() else text)
    except (ValueError, OverflowError):
        raise InvalidDate from None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def _closed(body: Mapping[str, Any], known: set[str]) -> None:
    for name in body:
        if name not in known:
            raise _unfit(name[:64], f"is not known; known are {', '.join(sorted(known))}")


def _unfit(name: str, problem: str) -> InvalidAdminBody:
    error = {"loc": [name], "msg": problem, "type": "value_error"}
    return InvalidAdminBody(f"Request validation failed: {name}: {problem}", errors=[error])
