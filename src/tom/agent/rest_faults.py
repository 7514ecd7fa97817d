"""What the REST door says of requests that it cannot take, and how it reads queries and bodies."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.requests import Request

from tom.agent.decisions import Unfit
from tom.agent.options import nearest
from tom.agent.submission import checked_metadata
from tom.errors import CallerError, InvalidMemoryLimit, InvalidMessage

SHOWN = 128
"""Characters of a client's own names that an error repeats."""

_SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class SessionNotFound(CallerError):
    """There is no such session."""

    code = "session_not_found"
    http_status = 404


class InvalidCursor(CallerError):
    """'before' is not a cursor of an earlier page."""

    code = "invalid_cursor"
    http_status = 400


class InvalidQuery(CallerError):
    """A query parameter is not valid."""

    code = "validation_error"

    def __init__(self, message: str, name: str, **details: Any) -> None:
        """``message`` says what is wrong with the parameter ``name``."""
        super().__init__(message, errors=[{"loc": ["query", name], "msg": message, "type": "value_error"}], **details)


class InvalidBody(CallerError):
    """Request validation failed."""

    code = "validation_error"


def invalid(unfit: Unfit, place: str = "body", **details: Any) -> InvalidBody:
    """The refusal of one field of ``place`` (``body``, ``query``, ``header``); what was sent is not repeated."""
    field = unfit.field[:SHOWN]
    error = {"loc": [place, *field.split(".")], "msg": unfit.problem, "type": unfit.kind}
    return InvalidBody(f"Request validation failed: {field}: {unfit.problem}", errors=[error], **details)


def fitting[T](read: Callable[[], T], place: str = "body") -> T:
    """What ``read`` reads. Raises `InvalidBody` for what it finds unfit."""
    try:
        return read()
    except Unfit as unfit:
        raise invalid(unfit, place) from None


def check_fields(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse fields that are not known, naming the nearest known one. Raises `InvalidBody`."""
    for name in given:
        if name in known:
            continue
        near = nearest(name[:SHOWN], known)
        hint = f" Did you mean '{near}'?" if near else ""
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name[:SHOWN])
        unfit = Unfit(shown, f"unknown field. Known: {', '.join(sorted(known))}.{hint}", "extra_forbidden")
        raise invalid(unfit, **({"nearest": near} if near else {}))


def session_id_of(request: Request) -> str:
    """The id in the path. Raises `SessionNotFound` for what no session is called."""
    named = str(request.path_params["session_id"])
    if not _SESSION_ID.fullmatch(named):
        raise SessionNotFound
    return named


def integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query. Raises `InvalidQuery`."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 18 or not low <= int(given) <= high:
        message = f"'{name}' must be a whole number from {low} to {high}"
        raise InvalidQuery(message, name)
    return int(given)


def read_memory_limit(given: Mapping[str, Any]) -> int | None:
    """The field ``memory_limit``, None where it is absent. Raises `Unfit`; `check_maximum` says what is too great."""
    if "memory_limit" not in given:
        return None
    value = given["memory_limit"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit("memory_limit", "a whole number is required", "type_error")
    if value < 1:
        raise Unfit("memory_limit", "at least 1 is required")
    return value


def check_maximum(limit: int, maximum: int) -> int:
    """The limit. Raises `InvalidMemoryLimit` when it is greater than `MEMORY_MAX`."""
    if limit > maximum:
        message = f"The memory limit is at most {maximum}."
        raise InvalidMemoryLimit(message, requested=limit, maximum=maximum)
    return limit


def read_metadata(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The field ``metadata``, None where it is absent. Raises `Unfit`, `MetadataTooLarge`."""
    if "metadata" not in given:
        return None
    if not isinstance(given["metadata"], dict):
        raise Unfit("metadata", "an object is required", "type_error")
    try:
        return checked_metadata(given["metadata"])
    except InvalidMessage:
        raise Unfit("metadata", "lone surrogates are not text") from None
