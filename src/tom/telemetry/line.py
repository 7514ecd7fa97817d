"""How a record becomes one line: the columns for people, or one JSON object."""

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from types import TracebackType
from typing import Any, cast

from tom.telemetry.redaction import MASK, redact, telling

DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50
LEVELS = {"DEBUG": DEBUG, "INFO": INFO, "WARNING": WARNING, "ERROR": ERROR, "CRITICAL": CRITICAL}
_NAMES = {number: name for name, number in LEVELS.items()}
_USER_WIDTH, _MODULE_WIDTH = 12, 15
_TEXT_BYTES, _JSON_BYTES = 8 * 1024, 64 * 1024
_ICONS = ("✅", "⚠️", "❌", "🚀", "🛑", "🔐", "🔒", "📥", "📤", "🔁", "⚠")
_FRAMES = 5
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Record:
    """One thing to be logged. ``moment`` is in seconds since 1970; ``bound`` came from `bind`, ``fields`` from the call."""

    moment: float
    level: int
    user: str
    module: str
    message: str
    event: str | None = None
    bound: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


class TextLine:
    """Renders ``2025-01-15 10:30:45.123 | INFO     | alice        | llm             | ✅ …``."""

    def __init__(self, *, milliseconds: bool = True, zone: tzinfo = UTC) -> None:
        """``zone`` is that of the first column."""
        self._milliseconds = milliseconds
        self._zone = zone
        self._second = -1
        self._stamp = ""

    def render(self, record: Record) -> str:
        """The line without its newline."""
        user = _column(record.user, _USER_WIDTH)
        module = _column(record.module, _MODULE_WIDTH)
        level = _NAMES.get(record.level, "INFO")
        return f"{self._time(record.moment)} | {level:<8} | {user} | {module} | {_sentence(record)}"

    def _time(self, moment: float) -> str:
        second = int(moment)
        if second != self._second:
            self._stamp = datetime.fromtimestamp(second, self._zone).strftime("%Y-%m-%d %H:%M:%S")
            self._second = second
        return f"{self._stamp}.{int((moment - second) * 1000):03d}" if self._milliseconds else self._stamp


class JsonLine:
    """Renders one JSON object: times in UTC, names in full."""

    def __init__(self) -> None:
        """Load what only this form needs."""
        from tom.clock import timestamp  # noqa: PLC0415 - brings asyncio, which a text log does without

        self._timestamp = timestamp

    def render(self, record: Record) -> str:
        """The line without its newline."""
        icon, message = _split_icon(record.message)
        line: dict[str, Any] = {
            "timestamp": self._timestamp(datetime.fromtimestamp(record.moment, UTC)),
            "level": _NAMES.get(record.level, "INFO"),
            "user": record.user,
            "module": record.module,
            "logger": record.module,
            "message": _cut(redact(message[:_JSON_BYTES]), _JSON_BYTES, len(message.encode(errors="replace"))),
        }
        if icon:
            line["icon"] = icon
        if record.event:
            line["event"] = record.event
        for name, value in (*record.bound.items(), *record.fields.items()):
            line.setdefault(name, hidden(name, value))
        return escape(json.dumps(line, ensure_ascii=False))


def plain(value: Any) -> Any:
    """The value as something that cannot change any more: a JSON scalar or text.

    An exception becomes its type, its text and the places it came through, innermost first.
    """
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, BaseException):
        return describe(value, value.__traceback__)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = cast("Collection[Any]", value)
        return ", ".join(str(plain(item)) for item in items)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return ", ".join(f"{name}={hidden(str(name), plain(item))}" for name, item in pairs.items())
    return str(value)


def hidden(name: str, value: Any) -> Any:
    """The value, or ``***`` where its name says that it is secret; texts are redacted."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    return MASK if telling(name) else redact(str(value)[:_JSON_BYTES])


def describe(error: BaseException, trace: TracebackType | None) -> str:
    """An exception on one line: ``KeyError: 'x' at loop.py:32 in ask < app.py:20 in serve``."""
    places: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    text = f"{type(error).__name__}: {error}"
    return f"{text} at {' < '.join(places[: -_FRAMES - 1 : -1])}" if places else text


def escape(text: str) -> str:
    r"""The text with everything that a terminal or reader would obey, or not see, as ``\n`` or ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or _is_plain(char) else _escaped(char) for char in text)


def now() -> float:
    """The wall time of a record, in seconds since 1970."""
    return time.time()


def _sentence(record: Record) -> str:
    text = redact(record.message[:_JSON_BYTES])
    extras: list[str] = []
    request = record.bound.get("request_id")
    for name, value in (*(() if request is None else (("request_id", request),)), *record.fields.items()):
        if value is not None and not _says(record.message, str(value)):
            extras.append(f"{name}={hidden(name, value)}")
    if extras:
        text = f"{text} · {' '.join(extras)}"
    dropped = max(0, len(record.message) - _JSON_BYTES)
    escaped = escape(text)
    return _cut(escaped, _TEXT_BYTES, len(escaped.encode(errors="replace")) + dropped)


def _says(message: str, value: str) -> bool:
    """Whether the message names the value already, as a word of its own."""
    at = message.find(value)
    while value and at >= 0:
        end = at + len(value)
        if not (message[at - 1 : at].isalnum() or message[end : end + 1].isalnum()):
            return True
        at = message.find(value, at + 1)
    return False


def _cut(text: str, limit: int, size: int) -> str:
    """At most ``limit`` bytes of the text; ``size`` is what it had, so that the mark tells what is missing."""
    if size <= limit:
        return text
    kept = text.encode(errors="replace")[:limit].decode(errors="ignore")
    missing = size - len(kept.encode(errors="replace"))
    return f"{kept}…(+{missing})" if missing > 0 else text


def _column(text: str, width: int) -> str:
    return f"{escape(text)[:width]:<{width}}"


def _split_icon(message: str) -> tuple[str, str]:
    for icon in _ICONS:
        if message.startswith(icon):
            return icon, message[len(icon) :].lstrip()
    return "", message


def _is_plain(char: str) -> bool:
    # isprintable() also refuses spaces other than U+0020 and characters newer than its Unicode tables: harmless here.
    return not (
        char < " "
        or "\x7f" <= char <= "\x9f"
        or char in "\u00ad\u061c\u180e\ufeff"
        or "\u200b" <= char <= "\u200f"
        or "\u2028" <= char <= "\u202e"
        or "\u2060" <= char <= "\u206f"
        or "\ud800" <= char <= "\udfff"
        or "\ufff9" <= char <= "\ufffb"
        or "\U000e0000" <= char <= "\U000e0fff"
    )


def _escaped(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short:
        return short
    units = char.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[i : i + 2]):04x}" for i in range(0, len(units), 2))
