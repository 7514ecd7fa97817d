"""What a service may ask its person, and what it may not; pure.

A form has flat fields of texts, numbers, choices and yes or no. A form that asks for a secret is declined: what a
person types into a form passes through the service's words and is stored; secrets are given at an address of their
own (mode ``url``), where Tom sees nothing of them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.services.cleaning import clean, clean_within, whole, whole_value
from tom.telemetry.redaction import telling

MESSAGE_BYTES = 2048
MOST_QUESTIONS = 10
MOST_FIELDS = 30
_SCHEMA_CHARACTERS = 16_384
_TEXT_BYTES = 500
_LONGEST_URL = 4096
_LONGEST_PATTERN = 1000

_TYPES = frozenset({"string", "number", "integer", "boolean", "array"})
_FIELD_KEYWORDS = frozenset(
    {
        *("type", "title", "description", "format", "minLength", "maxLength", "pattern", "minimum", "maximum"),
        *("default", "enum", "enumNames", "oneOf", "items", "minItems", "maxItems"),
    }
)
_CHOICE_KEYWORDS = frozenset({"type", "title", "enum", "enumNames", "oneOf", "anyOf", "const"})
_TEXTS = frozenset({"title", "description"})
_SIZES = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_BOUNDS = frozenset({"minimum", "maximum"})
_WORDS = frozenset({"title", "description", "format", "pattern"})
_LISTS = frozenset({"enum", "enumNames", "oneOf", "anyOf"})
_SECRET_WORDS = re.compile(
    r"""(?ix) \b(?: pass(?:word|wd|phrase|code) | (?:api|access|private|secret|licen[cs]e)[ _-]?(?:key|token)
      | (?:auth\w*|access|bearer|refresh|session|secret)[ _-]?token | secret | credentials? | one[ -]?time[ ](?:code|pin)
      | otp | 2fa | mfa | totp | pin(?:[ -]?code)? | cvv | cvc | ssn | social[ ]security
      | (?:credit|debit)?[ ]?card[ ]number | iban | seed[ ]phrase | recovery[ ](?:code|phrase|key) )s?\b"""
)
_ASKED_FOR = re.compile(
    r"""(?ix) \b(?:enter|type|give|tell|provide|send|paste|input|share|what[ ]is|what's|need|confirm)\b [^.?!\n]{0,60}"""
)
_NEGATED = re.compile(r"(?i)\b(?:do not|don't|never|without|no)\b[^.;:)\n]*")
"""A field may well say what is not to be entered into it."""


def question_of_form(message: str, schema: Mapping[str, Any], key: str = "") -> Elicitation:
    """The question with its texts cleaned; keywords that no form has are left out. Not yet judged."""
    return Elicitation("form", clean_within(message, MESSAGE_BYTES), _shown(whole_value(dict(schema))), key=whole(key))


def question_of_url(message: str, url: str, key: str = "") -> Elicitation:
    """The question that sends the person to an address. Not yet judged."""
    return Elicitation("url", clean_within(message, MESSAGE_BYTES), url=whole(url), key=whole(key))


def refusal_of(question: Elicitation) -> str | None:
    """Why the person is not asked this, for people and models; None when they are."""
    if question.mode == "url":
        return _refusal_of_url(question.url)
    fields = cast("Mapping[str, Any]", question.schema.get("properties", {}))
    if len(fields) > MOST_FIELDS or len(json.dumps(question.schema, default=str)) > _SCHEMA_CHARACTERS:
        return "its form is too large"
    for name, field in fields.items():
        if clean(name) != name or not _is_flat(field):
            return f"its field '{clean_within(name, 60)}' cannot be shown in a form"
        if _wants_secret(name, field):
            return _secret(f"its field '{clean_within(name, 60)}'")
    if any(_is_free(field) for field in fields.values()) and _asks_for_secret(question.message):
        return _secret("it")
    return None


def completed(question: Elicitation, answer: ElicitationAnswer) -> ElicitationAnswer:
    """The answer with the form's defaults for what was left out; without content unless it is accepted."""
    if answer.outcome != "accept" or question.mode != "form":
        return ElicitationAnswer(answer.outcome)
    fields = cast("Mapping[str, Mapping[str, Any]]", question.schema.get("properties", {}))
    given = {name: field["default"] for name, field in fields.items() if "default" in field}
    return ElicitationAnswer("accept", {**given, **answer.content})


# --- forms -------------------------------------------------------------------------------------------------------


def _shown(schema: Mapping[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties")
    required = schema.get("required")
    known: Mapping[str, Any] = cast("Mapping[str, Any]", fields) if isinstance(fields, Mapping) else {}
    names = [name for name in cast("list[Any]", required) if name in known] if isinstance(required, list) else []
    shown = {name: _shown_field(field) for name, field in known.items()}
    return {"type": "object", "properties": shown, "required": names}


def _shown_field(field: Any) -> Any:
    if not isinstance(field, Mapping):
        return field
    kept = {word: value for word, value in cast("Mapping[str, Any]", field).items() if word in _FIELD_KEYWORDS}
    return {
        word: clean_within(value, _TEXT_BYTES) if word in _TEXTS and isinstance(value, str) else _shown_choice(value)
        for word, value in kept.items()
    }


def _shown_choice(value: Any) -> Any:
    """Choices with nothing but what makes them choices."""
    if isinstance(value, list):
        return [_shown_choice(one) for one in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    kept = {word: one for word, one in cast("Mapping[str, Any]", value).items() if word in _CHOICE_KEYWORDS}
    return {word: _shown_choice(one) if word in _LISTS else one for word, one in kept.items()}


def _is_flat(field: Any) -> bool:
    if not isinstance(field, Mapping):
        return False
    known = cast("Mapping[str, Any]", field)
    kind = known.get("type", "string")
    if not isinstance(kind, str) or kind not in _TYPES or not _is_well_formed(known):
        return False
    if kind == "array":
        if not isinstance(known.get("items"), Mapping):
            return False
        items = cast("Mapping[str, Any]", known["items"])
        return _is_well_formed(items) and bool(choices_of(items)) and _are_shown(items)
    return _are_shown(known)


def _are_shown(field: Mapping[str, Any]) -> bool:
    """Whether all choices can be shown as they are."""
    return all(isinstance(value, str) and clean(value) == value for value in choices_of(field))


def _is_well_formed(field: Mapping[str, Any]) -> bool:
    """Whether every keyword has a value of its kind: what is not a bound cannot be compared with an answer."""
    return all(_fits_keyword(word, value) for word, value in field.items())


def _fits_keyword(word: str, value: Any) -> bool:
    if word in _SIZES:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if word in _BOUNDS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if word in _WORDS:
        return isinstance(value, str) and (word != "pattern" or _is_pattern(value))
    if word == "type":
        return isinstance(value, str) and value in _TYPES
    return word not in _LISTS or (isinstance(value, list) and bool(cast("list[Any]", value)))


def _is_pattern(text: str) -> bool:
    try:
        return len(text) <= _LONGEST_PATTERN and bool(re.compile(text))
    except (re.error, RecursionError, OverflowError):
        return False


def choices_of(field: Mapping[str, Any]) -> list[Any]:
    """The values from which a field (or one entry of a list of choices) is chosen; empty: it is free."""
    plain = field.get("enum")
    if isinstance(plain, list):
        return cast("list[Any]", plain)
    for word in ("oneOf", "anyOf"):
        titled = field.get(word)
        if isinstance(titled, list):
            options = cast("list[Any]", titled)
            return [cast("dict[str, Any]", one).get("const") for one in options if isinstance(one, dict)]
    return []


def _is_free(field: Any) -> bool:
    known = cast("Mapping[str, Any]", field)
    return known.get("type", "string") == "string" and not choices_of(known)


def _wants_secret(name: str, field: Any) -> bool:
    known = cast("Mapping[str, Any]", field)
    if known.get("type") in {"boolean", "array"} or choices_of(known):
        return False
    if known.get("format") == "password" or telling(name) or _SECRET_WORDS.search(name.replace("_", " ")):
        return True
    texts = [known[word] for word in _TEXTS if isinstance(known.get(word), str)]
    return any(_SECRET_WORDS.search(_NEGATED.sub("", text)) for text in texts)


def _asks_for_secret(message: str) -> bool:
    return any(_SECRET_WORDS.search(part) for part in _ASKED_FOR.findall(_NEGATED.sub("", message)))


def _secret(what: str) -> str:
    return f"{what} asks for a secret in a form; secrets are only given at an address of the service's own"


def _refusal_of_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in {"https", "http"} or parts.username or len(url) > _LONGEST_URL:
        return "its address cannot be opened"
    if clean(url) != url or any(character.isspace() for character in url):
        return "its address has characters that cannot be seen"
    return None
