"""What a run asks of its person, as a terminal shows it: exact, with everything hidden made visible; and typed answers."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

SHOWN_DIGEST: Final = 8
_SECRETS: Final = re.compile(r"pass(word|phrase|wd)|secret|token|api.?key|\bpin\b|cvv|card.?number", re.IGNORECASE)
_TRUE: Final = frozenset({"y", "yes", "true", "on", "1"})
_FALSE: Final = frozenset({"n", "no", "false", "off", "0"})


class Misfit(Exception):
    """What was typed is not what the field takes; the text says what it takes."""


def visible(text: str) -> str:
    """``text`` with every character that cannot be seen, or turns others around, written as an escape."""
    return "".join(letter if _is_plain(letter) else _escape(letter) for letter in text)


def _is_plain(letter: str) -> bool:
    return letter in {" ", "\n"} or unicodedata.category(letter)[0] not in {"C", "Z"}


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short_digest(ask: Mapping[str, Any]) -> str:
    """The first characters of the digest of an approval's arguments."""
    return str(ask["arguments_digest"]).removeprefix("sha256:")[:SHOWN_DIGEST]


def is_approval(ask: Mapping[str, Any]) -> bool:
    """Whether a call asks; else a service has a question."""
    return "approval_id" in ask


def id_of(ask: Mapping[str, Any]) -> str:
    """The id of an approval or elicitation."""
    return ask["approval_id"] if is_approval(ask) else ask["elicitation_id"]


def title(ask: Mapping[str, Any]) -> str:
    """One line for an ask."""
    if is_approval(ask):
        return visible(f"{ask['service']} · {ask['tool']} ({ask['class']})").replace("\n", " ")
    return visible(f"{ask['service']} asks: {ask['message']}").replace("\n", " ")


def arguments_text(arguments: Mapping[str, Any]) -> str:
    """Arguments as JSON over several lines; text in it is what it is, hidden characters are escapes."""
    return visible(json.dumps(arguments, ensure_ascii=False, indent=2))


def approval_lines(ask: Mapping[str, Any]) -> list[str]:
    """All that one should know before saying yes; never a model's words about it."""
    lines = [f"{ask['service']} · {ask['tool']}  wants to run ({ask['class']})"]
    lines += [f"Why asked: {ask['reason']}"] if ask.get("reason") else []
    if ask.get("tainted"):
        lines.append(f"Written after reading: {', '.join(ask.get('sources') or ()) or 'text of others'}")
    lines = [visible(line) for line in lines]
    lines += ["Arguments:", *("  " + line for line in arguments_text(ask["arguments"]).splitlines())]
    until = f", expires {ask['expires_at']}" if ask.get("expires_at") else ""
    return [*lines, f"Asked {ask['asked_at']}{until}", f"Digest {short_digest(ask)}"]


def question_lines(ask: Mapping[str, Any]) -> list[str]:
    """A service's question, marked as the service's own words."""
    lines = [visible(f"The service {ask['service']} asks (these are its words):")]
    lines += ["  " + line for line in visible(ask["message"]).splitlines()]
    if ask["mode"] == "url":
        address = str(ask.get("url", ""))
        lines += [f"Host:    {visible(_host(address))}", f"Address: {visible(address)}"]
    return lines


def lines_of(ask: Mapping[str, Any]) -> list[str]:
    """The whole of an ask."""
    return approval_lines(ask) if is_approval(ask) else question_lines(ask)


def _host(address: str) -> str:
    try:
        place = urlsplit(address)
        return (
            _host_name(place.hostname or "(none)")
            + (f" port {place.port}" if place.port else "")
            + f" over {place.scheme}"
        )
    except ValueError:
        return "(not readable)"


def _host_name(host: str) -> str:
    """The host; beside one in letters beyond ASCII how it is looked up, for those can look like others."""
    if host.isascii():
        return host
    labels = re.split("[.\u3002]", unicodedata.normalize("NFKC", host).lower())
    spelled = [label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels]
    return f"{host} ({'.'.join(spelled)})"


# --- forms ---------------------------------------------------------------------------------------------------------


def fields_of(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], bool]]:
    """The fields of a form in order: name, its schema, whether it is required."""
    required: set[str] = set(schema.get("required") or ())
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties") or {}
    return [(name, field, name in required) for name, field in properties.items()]


def asks_for_secret(schema: Mapping[str, Any]) -> str:
    """The name of a field that looks like a secret, which no form may ask for; empty when there is none."""
    for name, field, _ in fields_of(schema):
        if field.get("format") == "password" or _SECRETS.search(f"{name} {field.get('title', '')}"):
            return name
    return ""


def field_line(name: str, field: Mapping[str, Any], *, required: bool) -> str:
    """What a field is for and what it takes."""
    choices = [str(choice) for choice in _choices(field)]
    told = [
        str(field.get("title") or name),
        f"({', '.join(choices) or field.get('format') or field.get('type', 'text')})",
    ]
    told += [f"— {field['description']}"] if field.get("description") else []
    told += [f"[{field['default']}]"] if "default" in field else []
    return visible(" ".join([*told, "" if required else "optional"])).replace("\n", " ").strip()


def read_field(typed: str, field: Mapping[str, Any], *, required: bool) -> Any:
    """The value that was typed for a field; None when it was left out. Raises `Misfit`."""
    text = typed.strip()
    if not text:
        if "default" in field:
            return field["default"]
        if required:
            raise Misfit("An answer is required")
        return None
    if field.get("type") == "array":
        items: Mapping[str, Any] = field.get("items") or {}
        return [_one(part.strip(), items) for part in text.split(",") if part.strip()]
    return _one(text, field)


def _one(text: str, field: Mapping[str, Any]) -> Any:
    choices = _choices(field)
    if choices:
        found = next((choice for choice in choices if str(choice) == text), None)
        if found is None:
            raise Misfit(f"One of: {', '.join(str(choice) for choice in choices)}")
        return found
    kind = field.get("type", "string")
    if kind == "boolean":
        if text.lower() not in _TRUE | _FALSE:
            raise Misfit("yes or no")
        return text.lower() in _TRUE
    if kind in {"integer", "number"}:
        return _number(text, field, whole=kind == "integer")
    shortest, longest = field.get("minLength", 0), field.get("maxLength")
    if len(text) < shortest or (longest is not None and len(text) > longest):
        raise Misfit(f"{shortest} to {longest if longest is not None else 'any number of'} characters")
    return text


def _number(text: str, field: Mapping[str, Any], *, whole: bool) -> float:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        raise Misfit("A whole number" if whole else "A number") from None
    low, high = field.get("minimum"), field.get("maximum")
    if (low is not None and number < low) or (high is not None and number > high) or not math.isfinite(number):
        raise Misfit(f"From {'…' if low is None else low} to {'…' if high is None else high}")
    return number


def _choices(field: Mapping[str, Any]) -> list[Any]:
    titled: Iterable[Mapping[str, Any]] = field.get("oneOf") or field.get("anyOf") or ()
    return list(field.get("enum") or [one["const"] for one in titled if "const" in one])
