"""The options of a request: a closed schema. No option can choose a provider, a URL, a key, headers or a system prompt."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from tom.config.agent import AgentSettings
from tom.errors import InvalidOption, ModelNotAllowed, OptionConflict, OptionNotAllowed
from tom.policy.permissions import Caller, Scope

THINKING = ("off", "low", "high")
LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person may choose. ``models`` None: any name; ``longest_reply`` 0: unknown; ``vision`` of the models."""

    services: frozenset[str] = frozenset()
    models: tuple[str, ...] | None = None
    longest_reply: int = 0
    vision: bool = True


def choices_of(settings: AgentSettings) -> Choices:
    """What the settings leave to the person."""
    entry = settings.llms.get(settings.llm)
    if settings.client_models == "none":
        models: tuple[str, ...] | None = ()
    elif settings.client_models == "listed":
        models = settings.listed_models or (tuple(dict.fromkeys(entry.models)) if entry else ())
    else:
        models = None
    named = [settings.llms[name] for name in (settings.llm, *settings.llm_fallbacks) if name in settings.llms]
    return Choices(
        frozenset(service.name for service in settings.services if service.enabled),
        models,
        entry.max_tokens if entry else 0,
        any(llm.vision is not False for llm in named) or not named,
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``, if any is."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or nothing."""
    near = nearest(name, known)
    return f" Did you mean '{near}'?" if near else ""


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in cast("list[Any]", value))


def _name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_name, "the name of a model"),
    "level": (_integer(0, 2), "0, 1 or 2"),
    "temperature": (_number(0, 2), "a number from 0 to 2"),
    "top_p": (_number(0, 1), "a number from 0 to 1"),
    "max_tokens": (_integer(1, 1_000_000), "a whole number of at least 1"),
    "tool_name": (_name, "the name of a tool, or service.tool"),
    "services": (_names, "a list of service names"),
    "thinking": (lambda value: value in THINKING, "one of off, low, high"),
}
"""Name -> (whether a value fits, what does)."""


def checked_options(value: Any, choices: Choices) -> Mapping[str, Any]:
    """The options of a request.

    Raises `InvalidOption` naming the first wrong one (and the nearest known, where it is unknown), `OptionConflict`
    or `ModelNotAllowed`.
    """
    if not isinstance(value, dict):
        message = "options must be an object"
        raise InvalidOption(message)
    options = cast("dict[str, Any]", value)
    for name, given in options.items():
        _check(name, given)
    for name in options.get("services", ()):
        if name not in choices.services:
            known = ", ".join(sorted(choices.services)) or "none"
            message = f"Unknown service '{_shown(name)}'. Known: {known}.{did_you_mean(name, choices.services)}"
            raise InvalidOption(message, option="services")
    if "model" in options and "level" in options:
        message = "'model' and 'level' exclude each other."
        raise OptionConflict(message, options=["model", "level"])
    if "model" in options and choices.models is not None and options["model"] not in choices.models:
        message = f"The model '{_shown(options['model'])}' cannot be chosen."
        raise ModelNotAllowed(message, allowed=list(choices.models))
    if choices.longest_reply and options.get("max_tokens", 0) > choices.longest_reply:
        message = f"Option 'max_tokens' must be at most {choices.longest_reply}."
        raise InvalidOption(message, option="max_tokens", maximum=choices.longest_reply)
    return options


OPEN = frozenset({"temperature", "top_p", "max_tokens"})
"""What also a caller without the scope ``options`` may choose."""


def check_permitted(options: Mapping[str, Any], caller: Caller) -> None:
    """Let options pass that the caller may use. Raises `OptionNotAllowed` naming the first other one."""
    if caller.may(Scope.OPTIONS):
        return
    for name in options:
        if name not in OPEN:
            message = f"Option '{_shown(name)}' may not be used."
            raise OptionNotAllowed(message, option=name)


def _check(name: str, given: Any) -> None:
    if name not in OPTIONS:
        known = ", ".join(sorted(OPTIONS))
        message = f"Unknown option '{_shown(name)}'. Known: {known}.{did_you_mean(name, OPTIONS)}"
        near = nearest(name, OPTIONS)
        raise InvalidOption(message, option=name[:LONGEST_NAME], **({"nearest": near} if near else {}))
    fits, wanted = OPTIONS[name]
    if not fits(given):
        message = f"Option '{name}' must be {wanted}."
        raise InvalidOption(message, option=name)


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name[:60])
