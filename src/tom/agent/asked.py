"""What `POST /process` and `POST /reset` are asked, checked in the order of the contract's table."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from zoneinfo import ZoneInfo

from tom import ids
from tom.agent.prompt import Circumstances
from tom.errors import CallerError

CLIENT_TYPES = ("web", "android", "tui", "pwa")
MAX_TEXT = 100_000
KNOWN = frozenset(
    {
        "request",
        "client_type",
        "position",
        "sound_enabled",
        "request_id",
        "conversation_id",
        "level",
        "timezone",
        "temporary",
    }
)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_UNFIT = re.compile("[\0\ud800-\udfff]")


class InvalidRequest(CallerError):
    """The request is not valid."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a Tom client."""

    text: str
    client_type: str
    sound_enabled: bool
    request_id: str
    conversation_id: str | None
    options: Mapping[str, Any]
    around: Circumstances
    temporary: bool = False
    ignored: tuple[str, ...] = field(default=())


def read_process(value: Any) -> Asked:
    """Read the body of `/process`. Raises `InvalidRequest` with the table's message."""
    if not isinstance(value, dict) or not value:
        raise _invalid("No request data provided")
    body = cast("dict[str, Any]", value)
    text, client_type, position = _text(body), _client_type(body), _position(body)
    sound = _switch(body, "sound_enabled")
    request_id, conversation_id = _id(body, "request_id"), _id(body, "conversation_id")
    level, zone, temporary = _level(body), _zone(body), _switch(body, "temporary")
    told = {"level": level, "sound": sound or None, "temporary": temporary or None}
    return Asked(
        text=text,
        client_type=client_type,
        sound_enabled=sound,
        request_id=request_id or f"auto-{ids.ulid()}",
        conversation_id=conversation_id,
        options={name: value for name, value in told.items() if value is not None},
        around=Circumstances(client_type, zone, position),
        temporary=temporary,
        ignored=tuple(sorted(set(body) - KNOWN)),
    )


def read_client_type(value: Any) -> str:
    """Read the optional body of `/reset`. Raises `InvalidRequest`."""
    if value is None:
        return "web"
    if not isinstance(value, dict):
        raise _invalid("Request body is not valid JSON")
    return _client_type(cast("dict[str, Any]", value))


def _text(body: Mapping[str, Any]) -> str:
    text = body.get("request")
    if text is None or (isinstance(text, str) and not text.strip()):
        raise _invalid("Missing 'request' field in request data")
    if not isinstance(text, str):
        raise _invalid("'request' must be text")
    if len(text) > MAX_TEXT:
        raise _invalid(f"'request' is longer than {MAX_TEXT} characters")
    return _UNFIT.sub("\ufffd", text)


def _client_type(body: Mapping[str, Any]) -> str:
    given = body.get("client_type", "web")
    if given not in CLIENT_TYPES:
        shown = _UNFIT.sub("\ufffd", str(given))[:40]
        raise _invalid(f"Unknown client_type '{shown}'. Use one of: {', '.join(CLIENT_TYPES)}")
    return given


def _position(body: Mapping[str, Any]) -> Mapping[str, float]:
    given = body.get("position")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _invalid("Invalid position")
    place = cast("dict[str, Any]", given)
    position: dict[str, float] = {}
    for name, bound in (("latitude", 90), ("longitude", 180)):
        number = place.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise _invalid("Invalid position")
        if not math.isfinite(number) or not -bound <= number <= bound:
            raise _invalid("Invalid position")
        position[name] = float(number)
    return position


def _switch(body: Mapping[str, Any], name: str) -> bool:
    given = body.get(name, False)
    if not isinstance(given, bool):
        raise _invalid(f"'{name}' must be true or false")
    return given


def _level(body: Mapping[str, Any]) -> int | None:
    given = body.get("level")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 2:
        raise _invalid("level must be 0, 1 or 2")
    return given


def _id(body: Mapping[str, Any], name: str) -> str | None:
    given = body.get(name)
    if given is None:
        return None
    if not isinstance(given, str) or not _ID.fullmatch(given):
        if name == "conversation_id":
            raise _invalid("Conversation not found")
        raise _invalid(f"'{name}' must be 1 to 128 letters, digits, '.', '_', ':' or '-'")
    return given


def _zone(body: Mapping[str, Any]) -> str:
    given = body.get("timezone")
    if given is None:
        return ""
    try:
        return ZoneInfo(given).key
    except (TypeError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        pass
    except KeyError:
        pass
    shown = _UNFIT.sub("\ufffd", str(given))[:40]
    raise _invalid(f"Unknown time zone '{shown}'")


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message)
