"""What a door submits, checked once for all doors."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tom.agent.prompt import Circumstances
from tom.errors import InvalidConversationId, InvalidMessage, InvalidOption, MetadataTooLarge, TextTooLong

MAX_TEXT = 200_000
MAX_METADATA = 16_384
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Submission:
    """One message as a door hands it in. ``conversation_id`` None: the door knows none."""

    text: str
    request_id: str
    surface: str
    conversation_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    if_busy: str = "queue"
    around: Circumstances = field(default_factory=Circumstances)

    @property
    def digest(self) -> str:
        """SHA-256 of what the run will depend on: the text and the options."""
        canonical = json.dumps([self.text, dict(self.options)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def checked_id(value: Any, name: str) -> str:
    """A conversation or request id. Raises `InvalidConversationId` or `InvalidMessage`."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    if name == "conversation_id":
        raise InvalidConversationId
    message = f"Invalid message format: {name}: 1 to 128 letters, digits, '.', '_', ':' or '-'"
    raise InvalidMessage(message)


def checked_text(value: Any, name: str, limit: int = MAX_TEXT) -> str:
    """A person's text. Raises `InvalidMessage` or `TextTooLong`."""
    if not isinstance(value, str) or not value.strip():
        message = f"Invalid message format: {name}: a text is required"
        raise InvalidMessage(message)
    if len(value) > limit:
        message = f"The text is longer than {limit} characters."
        raise TextTooLong(message, limit=limit)
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        message = f"Invalid message format: {name}: NUL and lone surrogates are not text"
        raise InvalidMessage(message)
    return value


def checked_metadata(value: Any) -> Mapping[str, Any]:
    """A JSON object of at most 16 KiB. Raises `InvalidMessage` or `MetadataTooLarge`."""
    if not isinstance(value, dict):
        message = "Invalid message format: payload.metadata: an object is required"
        raise InvalidMessage(message)
    try:
        size = len(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        message = "Invalid message format: payload.metadata: lone surrogates are not text"
        raise InvalidMessage(message) from None
    if size > MAX_METADATA:
        message = f"The metadata is larger than {MAX_METADATA} bytes."
        raise MetadataTooLarge(message, limit=MAX_METADATA)
    return cast("dict[str, Any]", value)


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in cast("list[Any]", value))


OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "level": (_integer(0, 2), "0, 1 or 2"),
    "temperature": (_number(0, 2), "a number from 0 to 2"),
    "top_p": (_number(0, 1), "a number from 0 to 1"),
    "max_tokens": (_integer(1, 1_000_000), "a whole number of at least 1"),
    "services": (_names, "a list of service names"),
}
"""The closed schema of options: no option can choose a provider, a URL, a key, headers or a system prompt."""


def checked_options(value: Any, services: frozenset[str]) -> Mapping[str, Any]:
    """The options of a request. Raises `InvalidOption` naming the first wrong one."""
    if not isinstance(value, dict):
        message = "options must be an object"
        raise InvalidOption(message)
    options = cast("dict[str, Any]", value)
    for name, given in options.items():
        if name not in OPTIONS:
            message = f"Unknown option '{name}'. Known: {', '.join(sorted(OPTIONS))}."
            raise InvalidOption(message, option=name)
        fits, wanted = OPTIONS[name]
        if not fits(given):
            message = f"Option '{name}' must be {wanted}."
            raise InvalidOption(message, option=name)
    for name in options.get("services", ()):
        if name not in services:
            message = f"Unknown service '{name}'. Known: {', '.join(sorted(services)) or 'none'}."
            raise InvalidOption(message, option="services")
    return options
