"""Logs: ``log = logs.get("llm")``, then ``log.info("✅ …", event="…", **fields)``.

A program calls `configure` once. What is bound with `bind` (user, request_id, run_id, conversation_id) is on every
record made inside, in this task and those it starts. Records of libraries that use the standard library's logging
come out in the same form; their INFO counts as DEBUG. Writing never blocks the caller.
"""

import atexit
import contextlib
import logging
import os
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from tom.telemetry.line import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    LEVELS,
    WARNING,
    JsonLine,
    Record,
    TextLine,
    describe,
    now,
    plain,
)
from tom.telemetry.rotation import RotatingFile
from tom.telemetry.writer import Writer

_NOTHING: Mapping[str, Any] = {}
_LIBRARY_CHARACTERS = 2048
_bound: ContextVar[Mapping[str, Any]] = ContextVar("tom_logs_bound", default=_NOTHING)


class Wanted(Protocol):
    """What `configure` reads; `tom.config.agent.LogSettings` is one."""

    @property
    def level(self) -> str:
        """DEBUG, INFO, WARNING, ERROR or CRITICAL, any case."""
        ...

    @property
    def format(self) -> str:
        """``text`` or ``json``."""
        ...

    @property
    def timestamps(self) -> str:
        """``milliseconds`` or ``seconds``, of the text form."""
        ...

    @property
    def timezone(self) -> str:
        """IANA name, of the text form."""
        ...

    @property
    def file(self) -> str:
        """Path of a file written besides stderr; empty: none."""
        ...

    @property
    def max_mb(self) -> int:
        """Size in MiB at which the file starts anew."""
        ...

    @property
    def keep(self) -> int:
        """How many old files stay."""
        ...


class _Outlet:
    """Where this process's records go now."""

    __slots__ = ("level", "remake", "user", "writer")

    def __init__(self) -> None:
        self.level = INFO
        self.user = "system"
        self.remake = lambda: Writer(TextLine(), user="system")
        self.writer = self.remake()


_outlet = _Outlet()


class Log:
    """The log of one module. Fields are JSON values, exceptions or `Secret`; they are redacted before formatting."""

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        """``module`` is the fourth column."""
        self._module = module

    def debug(self, message: str, *, event: str | None = None, **fields: Any) -> None:
        """What helps to find a defect."""
        if _outlet.level <= DEBUG:
            _put(DEBUG, self._module, message, event, fields)

    def info(self, message: str, *, event: str | None = None, **fields: Any) -> None:
        """What happened."""
        if _outlet.level <= INFO:
            _put(INFO, self._module, message, event, fields)

    def warning(self, message: str, *, event: str | None = None, **fields: Any) -> None:
        """What is not as it should be, while Tom goes on without it (⚠️)."""
        if _outlet.level <= WARNING:
            _put(WARNING, self._module, message, event, fields)

    def error(self, message: str, *, event: str | None = None, **fields: Any) -> None:
        """What needs attention (❌). Pass the exception as a field: ``error=error``."""
        if _outlet.level <= ERROR:
            _put(ERROR, self._module, message, event, fields)


def get(module: str) -> Log:
    """The log of a module: ``gateway``, ``login``, ``llm``, …."""
    return Log(module)


@contextlib.contextmanager
def bind(**fields: str | None) -> Generator[None]:
    """Put ``user``, ``request_id``, ``run_id``, ``conversation_id``, … on every record made inside; None is left out."""
    token = _bound.set({**_bound.get(), **{name: value for name, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(settings: Wanted, *, user: str = "system", threaded: bool = True) -> None:
    """Use these settings from now on; ``user`` is named where none is bound.

    Starts no thread: the first record does. ``threaded=False`` writes in the caller's thread, for a process that forks.
    OSError when the file cannot be opened; ValueError for an unknown level or zone.
    """
    level = LEVELS.get(settings.level.upper())
    if level is None:
        message = f"unknown log level {settings.level!r}"
        raise ValueError(message)
    line = JsonLine() if settings.format == "json" else _text_line(settings)

    def remake() -> Writer:
        file = (
            RotatingFile(Path(settings.file), max_bytes=settings.max_mb * 1_048_576, keep=settings.keep)
            if settings.file
            else None
        )
        return Writer(line, file=file, threaded=threaded, user=user)

    fresh = remake()
    _outlet.writer.close()
    _outlet.level, _outlet.user, _outlet.remake, _outlet.writer = level, user, remake, fresh
    _adopt_libraries(level)


def set_level(name: str) -> None:
    """Write what is of this level or above it from now on. ValueError for an unknown level."""
    level = LEVELS.get(name.upper())
    if level is None:
        message = f"unknown log level {name!r}"
        raise ValueError(message)
    _outlet.level = level
    _adopt_libraries(level)


def flush(timeout: float = 2.0) -> bool:
    """Wait until everything logged so far is written; False when that took longer than ``timeout`` seconds."""
    return _outlet.writer.flush(timeout)


def shutdown() -> None:
    """Write what is queued (at most 2 s) and end the thread. A later record starts a new one."""
    _outlet.writer.close()
    _outlet.writer = _outlet.remake()


def _text_line(settings: Wanted) -> TextLine:
    milliseconds = settings.timestamps != "seconds"
    if settings.timezone == "UTC":
        return TextLine(milliseconds=milliseconds)
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most agents live in UTC and start without it

    try:
        return TextLine(milliseconds=milliseconds, zone=ZoneInfo(settings.timezone))
    except (KeyError, OSError) as error:
        message = f"unknown time zone {settings.timezone!r}"
        raise ValueError(message) from error


def _put(level: int, module: str, message: str, event: str | None, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        fields[name] = plain(value)
    bound = _bound.get()
    user = bound.get("user") or _outlet.user
    if "user" in bound:
        bound = {name: value for name, value in bound.items() if name != "user"}
    _outlet.writer.put(Record(now(), level, user, module, message, event, bound, fields))


class _Libraries(logging.Handler):
    """Takes what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        level = DEBUG if record.levelno <= logging.INFO else min(record.levelno // 10 * 10, CRITICAL)
        if level < _outlet.level:
            return
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        module = record.name.partition(".")[0]
        if record.name == "uvicorn.access":
            module, message = "access", _without_query(message)
        if record.exc_info and record.exc_info[1]:
            message = f"{message}: {describe(record.exc_info[1], record.exc_info[2])}"
        _put(level, module, _shortened(message), None, {})


def _shortened(message: str) -> str:
    """The beginning of what a library says, in whole words: half a secret would not look like one."""
    if len(message) <= _LIBRARY_CHARACTERS:
        return message
    begun = message[:_LIBRARY_CHARACTERS]
    kept = begun.rpartition(" ")[0] or begun
    return f"{kept}…(+{len(message) - len(kept)})"


def _without_query(message: str) -> str:
    """An access line with the path only: a query may hold what was never meant to be written down."""
    return " ".join(word.partition("?")[0] for word in message.split(" "))


_libraries = _Libraries()


def _adopt_libraries(level: int) -> None:
    root = logging.getLogger()
    if _libraries not in root.handlers:
        root.addHandler(_libraries)
    # Their DEBUG is never wanted: it is about their insides, and INFO of theirs is DEBUG here.
    root.setLevel(logging.INFO if level <= DEBUG else max(level, logging.WARNING))


def _after_fork() -> None:
    # The parent's thread and locks do not exist in the child; what was queued is the parent's to write.
    _outlet.writer = _outlet.remake()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(shutdown)
