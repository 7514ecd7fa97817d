"""Where each setting comes from: its value, who says it, and whom that overrules.

`effective` reads the configuration as a program would and answers every key with its value as text, secrets masked.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel

from tom.config import schema
from tom.config.invalid import ConfigInvalid
from tom.config.loading import Loading
from tom.config.secret import Secret
from tom.config.settings import Settings
from tom.config.variables import VARIABLES

DEFAULT: Final = "default"
NAMED_TWICE: Final[Mapping[schema.Path, tuple[schema.Path, ...]]] = {
    ("global", "llm"): (("default_provider",), ("mcp_agent_llm",), ("llm", "active")),
    ("global", "log_level"): (("logging", "level"),),
    ("global", "log_format"): (("logging", "format"),),
    ("global", "llm_fallbacks"): (("llm", "fallback"),),
    ("initial_system_prompt",): (("mcp_agent_instruction",),),
}
"""Settings that other keys say too, and then instead."""

MASK: Final = "***"
_NOT_A_CHOICE: Final = "mcp-agent"
"""What `default_provider` says when the others are to decide."""

_PASSED_ON: Final = ("env", "headers")
"""Mappings whose values are looked up elsewhere, and are as secret as what is found there."""

_KEY_FLAG: Final = re.compile(r"(?i)-{0,2}[a-z_-]*(key|token|secret|password|passwd|auth)[a-z_-]*(=|$)")
_USER: Final = re.compile(r"(?<=//)[^\s/?#@]+@|(?<![^\s=,;'\"])[^\s:/@=,;]+:[^\s/@]+@(?=[\w.-]+)")
"""Who is to log in with which password, in an address with a scheme or without one."""

_ADDRESSES: Final = ("url", "base_url", "mcp_server_url", "openrouter_base_url")


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody who says a setting, and what they say; masked where it is secret."""

    source: str
    value: Any


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting. ``source``: ``environment (NAME)``, ``<path of .env> (NAME)``, ``<file>:<line>`` or ``default``.

    ``value`` is plain JSON; ``variables`` are those that can say it; ``overruled`` are those that say it in vain.
    """

    key: str
    value: Any
    source: str
    secret: bool
    variables: tuple[str, ...] = ()
    overruled: tuple[Place, ...] = ()


def effective(
    data_dir: Path,
    config_path: Path | None = None,
    env: Mapping[str, str] = os.environ,
    *,
    alone: bool = False,
    host: str = "",
    redact: Callable[[str], str],
) -> tuple[Explained, ...]:
    """Every setting as it holds now, in the order of the reference page. ``redact`` hides what looks like a key in a text.

    ``alone`` and ``host`` as for the program: an agent without gateway, and the address that it listens on. ConfigInvalid
    when the configuration is not valid.
    """
    loading = Loading(data_dir, config_path, env, alone=alone, host=host)
    settings = loading.run()
    if loading.root is None:  # run() has then raised
        raise ConfigInvalid([])
    derived = _derived(settings)
    return tuple(
        _explained(loading, path, derived.get(path, value), redact, secret=secret)
        for path, value, secret in _leaves(loading.root, (), secret=False)
    )


def find(settings: tuple[Explained, ...], key: str) -> tuple[Explained, ...]:
    """The settings that a person means: a key, all below a section, or the name of a variable. None: nothing is called so."""
    wanted = key.strip()
    named = [variable.path for variable in VARIABLES if wanted.lower() in {variable.name.lower(), *variable.keys}]
    if wanted.startswith("TOM_") and "__" in wanted:
        named.append(schema.dotted(schema.spelled(wanted.removeprefix("TOM_").split("__"), {})))
    names = {wanted, *filter(None, named)}
    below = tuple(f"{name}{mark}" for name in names for mark in ".[")
    return tuple(entry for entry in settings if entry.key in names or entry.key.startswith(below))


def nearest(settings: tuple[Explained, ...], key: str) -> str:
    """The key or variable that is spelled most like this; empty when none is."""
    known = [*(entry.key for entry in settings), *(variable.name for variable in VARIABLES)]
    return next(iter(difflib.get_close_matches(key, known, n=1)), "")


def _derived(settings: Settings) -> Mapping[schema.Path, Any]:
    """What holds where nobody says anything and the default depends on something else."""
    doors = settings.doors
    return {
        ("chat", "auth"): doors.auth,
        ("global", "llm"): settings.llm,
        ("global", "log_level"): settings.log.level,
        ("global", "log_format"): settings.log.format,
        ("global", "timezone"): settings.template.timezone,
        ("repository", "path"): settings.template.persistence.path,
        ("initial_system_prompt",): doors.initial_prompt,
    }


def _leaves(value: Any, path: schema.Path, *, secret: bool) -> Iterator[tuple[schema.Path, Any, bool]]:
    """Every value below a section, with whether it is secret."""
    if isinstance(value, BaseModel):
        for name, kind in type(value).model_fields.items():
            below = (*path, kind.alias or name)
            yield from _leaves(getattr(value, name), below, secret=_holds_secret(kind.annotation))
    elif isinstance(value, dict) and value and _opens(path, cast("dict[str, Any]", value)):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _leaves(item, (*path, key), secret=secret)
    elif isinstance(value, list) and any(isinstance(item, BaseModel) for item in cast("list[Any]", value)):
        for place, item in enumerate(cast("list[Any]", value)):
            yield from _leaves(item, (*path, place), secret=secret)
    else:
        yield path, value, secret


def _opens(path: schema.Path, value: dict[str, Any]) -> bool:
    """Whether the entries of a mapping are shown one by one."""
    return path[-1] in _PASSED_ON or any(isinstance(item, BaseModel) for item in value.values())


def _holds_secret(annotation: Any) -> bool:
    return Secret in {schema.inner(annotation), schema.inner(schema.below(annotation, "_"))}


def _explained(
    loading: Loading, path: schema.Path, value: Any, redact: Callable[[str], str], *, secret: bool
) -> Explained:
    said = [place for other in (*NAMED_TWICE.get(path, ()), path) for place in _places(loading, other)]
    said = [place for place in said if place.value != _NOT_A_CHOICE] if path == ("global", "llm") else said
    overruled = tuple(Place(one.source, _shown(_discreet(path, one.value, redact), secret=secret)) for one in said[1:])
    return Explained(
        key=schema.dotted(path),
        value=_shown(_discreet(path, value, redact), secret=secret),
        source=said[0].source if said else DEFAULT,
        secret=secret,
        variables=_variables(path),
        overruled=overruled,
    )


def _variables(path: schema.Path) -> tuple[str, ...]:
    """The variables that can say a key, those that win first."""
    dotted = schema.dotted(path)
    named = [variable.name for variable in reversed(VARIABLES) if variable.path == dotted]
    general = f"TOM_{'__'.join(str(part).upper() for part in path)}"
    return tuple([general, *named] if len(path) > 1 else named)


def _places(loading: Loading, path: schema.Path) -> list[Place]:
    """Everybody who says a key, the winner first."""
    faults, env = loading.faults, loading.env
    winner = next((faults.origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in faults.origins), None)
    own = _variables(path)
    names = dict.fromkeys((*((winner,) if winner else ()), *own))
    found = [
        Place(f"{place} ({name})", layer[name] if name in own else "…")
        for name in names
        for place, layer in env.layers
        if (layer.get(name) or "").strip()
    ]
    files = (file for file in faults.written.files if file.depth(path) == len(path))
    return found + [Place(f"{file.path}:{file.line(path)}", file.at(path)) for file in files]


def _discreet(path: schema.Path, value: Any, redact: Callable[[str], str]) -> Any:
    """An address without what its query may hold; a program's arguments without what follows a flag for a key."""
    if path[-1] in _ADDRESSES and isinstance(value, str) and "?" in value:
        return f"{redact(value.partition('?')[0])}?{MASK}"
    if path[-1] != "args" or not isinstance(value, list):
        return value
    words = [str(word) for word in cast("list[Any]", value)]
    hidden = [_KEY_FLAG.match(before) and "=" not in before for before in ("", *words)]
    return [
        MASK if hide else f"{word.partition('=')[0]}={MASK}" if _KEY_FLAG.match(word) and "=" in word else redact(word)
        for word, hide in zip(words, hidden, strict=False)
    ]


def _shown(value: Any, *, secret: bool) -> Any:
    """A value as plain JSON, with no secret in it."""
    if isinstance(value, Secret) or secret:
        return MASK if value else None
    if isinstance(value, BaseModel):
        return {key: _shown(item, secret=False) for key, item in value if item is not None}
    if isinstance(value, dict):
        return {key: _shown(item, secret=False) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_shown(item, secret=False) for item in cast("list[Any]", value)]
    if isinstance(value, int | float | None):
        return value
    return _USER.sub(f"{MASK}@", value if isinstance(value, str) else str(value))
