"""The settings that an admin may change while Tom runs: limits and the log's level, and nothing that names a place.

A change counts at once and until the restart: what is to stay belongs into config.yml or the environment, where
`tom config` shows it with its source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tom.audit.refusals import InvalidField, InvalidValue
from tom.config.agent import DoorSettings, LogSettings, RateSettings

UNTIL: Final = "restart"
SOURCE: Final = "admin (until restart)"
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FASTEST: Final = 1_000_000.0
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Changeable:
    """What may be changed, as it is now."""

    doors: DoorSettings
    log: LogSettings


def field_named(name: str) -> str:
    """The key of a setting that may be changed, by it or by its variable. Raises `InvalidField`."""
    key = _SHORT.get(name.lower(), name.lower())
    if key not in _FIELDS:
        raise InvalidField(f"'{name[:64]}' cannot be changed here; what can: {', '.join(sorted(_FIELDS))}")
    return key


def current(now: Changeable, name: str) -> Any:
    """What a setting says now. Raises `InvalidField` for one that cannot be changed here."""
    return _FIELDS[field_named(name)].now(now)


def changed(now: Changeable, name: str, value: Any) -> Changeable:
    """The settings with another value. Raises `InvalidField`, `InvalidValue`."""
    return _FIELDS[field_named(name)].change(now, value)


@dataclass(frozen=True, slots=True)
class _Field:
    now: Callable[[Changeable], Any]
    change: Callable[[Changeable, Any], Changeable]


def _rate(name: str, *, whole: bool) -> _Field:
    def now(settings: Changeable) -> Any:
        return getattr(settings.doors.rates, name) if settings.doors.rates else None

    def change(settings: Changeable, value: Any) -> Changeable:
        number = _number(value, whole=whole, most=_MOST if whole else _FASTEST)
        rates = replace(settings.doors.rates or RateSettings(), **{name: number})
        return replace(settings, doors=replace(settings.doors, rates=rates))

    return _Field(now, change)


def _memory(name: str) -> _Field:
    def now(settings: Changeable) -> Any:
        return getattr(settings.doors, name)

    def change(settings: Changeable, value: Any) -> Changeable:
        doors = replace(settings.doors, **{name: _number(value, whole=True, most=_MOST)})
        if doors.memory_default > doors.memory_max:
            raise InvalidValue("memory_default cannot exceed memory_max.")
        return replace(settings, doors=doors)

    return _Field(now, change)


def _level() -> _Field:
    def change(settings: Changeable, value: Any) -> Changeable:
        if not isinstance(value, str) or value.upper() not in LEVELS:
            raise InvalidValue(f"log_level must be one of: {', '.join(LEVELS)}.")
        return replace(settings, log=replace(settings.log, level=value.upper()))

    return _Field(lambda settings: settings.log.level, change)


_FIELDS: Final[Mapping[str, _Field]] = {
    "rate_rps": _rate("rps", whole=False),
    "rate_burst": _rate("burst", whole=True),
    "rate_limits.read.rps": _rate("read_rps", whole=False),
    "rate_limits.read.burst": _rate("read_burst", whole=True),
    "memory_default": _memory("memory_default"),
    "memory_max": _memory("memory_max"),
    "global.log_level": _level(),
}
_SHORT: Final = {"log_level": "global.log_level", "logging.level": "global.log_level"}
FIELDS: Final = tuple(_FIELDS)


def _number(value: Any, *, whole: bool, most: float) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise InvalidValue(f"The value must be a {'whole number' if whole else 'number'}.")
    if not (1 if whole else 1e-6) <= value <= most:
        raise InvalidValue(f"The value must be {'at least 1' if whole else 'greater than 0'}, and at most {most:g}.")
    return value if whole else float(value)
