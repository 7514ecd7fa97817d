"""Arguments for a tool, read from a sentence by plain rules.

Quoted text goes to text parameters, numbers to numbers, zones, clock times, dates, paths and addresses to the
parameters whose name or description speaks of them. What a rule does not find is missing, never guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tom.llm.places import zones_in

_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»|`([^`]+)`|(?<!\w)\'([^\']+)\'(?!\w)')
_URL = re.compile(r"https?://\S+")
_CLOCK = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)\b")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_PATH = re.compile(r"(?<!\S)(?:~|\.{1,2})?/\S*")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\d)")

_SPEAKS_OF = {
    "zones": re.compile(r"time.?zone|\btz\b|\biana\b", re.IGNORECASE),
    "clocks": re.compile(r"hh:mm|\btime of day|^time\b", re.IGNORECASE),
    "dates": re.compile(r"\bdate\b|yyyy-mm-dd", re.IGNORECASE),
    "urls": re.compile(r"\bur[il]\b|\blink\b|web address", re.IGNORECASE),
    "paths": re.compile(r"path|\bfile\b|folder|director|\brepo", re.IGNORECASE),
}


_EXAMPLES: Mapping[str, Any] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


@dataclass(slots=True)
class Findings:
    """What a sentence contains, each kind in its order; taking one uses it up."""

    text: str
    quotes: list[str] = field(default_factory=list[str])
    urls: list[str] = field(default_factory=list[str])
    clocks: list[str] = field(default_factory=list[str])
    dates: list[str] = field(default_factory=list[str])
    paths: list[str] = field(default_factory=list[str])
    numbers: list[str] = field(default_factory=list[str])
    zones: list[str] = field(default_factory=list[str])

    def take(self, kind: str) -> str | None:
        """The next one of ``kind``, or None."""
        found: list[str] = getattr(self, kind)
        return found.pop(0) if found else None

    def says(self, words: str) -> bool:
        """Whether the sentence has one of the words of an identifier."""
        said = set(words_of(self.text))
        return any(word in said for word in words_of(words))


@dataclass(frozen=True, slots=True)
class Filling:
    """The arguments found, and the required parameters for which nothing was."""

    arguments: dict[str, Any]
    missing: tuple[str, ...]
    used_zone: bool = False


def words_of(text: str) -> list[str]:
    """The words of a sentence or an identifier, in lower case, plurals cut."""
    spaced = re.sub(r"([a-z\d])([A-Z])", r"\1 \2", text)
    words = re.findall(r"[^\W_]+", spaced.lower())
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words]


def find(text: str) -> Findings:
    """Read a sentence. What was understood as one kind is not read again as another."""
    rest = text
    taken: dict[str, list[str]] = {}
    for kind, pattern in (
        ("quotes", _QUOTED), ("urls", _URL), ("dates", _DATE), ("clocks", _CLOCK), ("paths", _PATH), ("numbers", _NUMBER),
    ):  # fmt: skip
        taken[kind] = [next((group for group in match.groups() if group), match[0]) for match in pattern.finditer(rest)]
        if kind == "clocks":
            taken[kind] = [f"{int(match[1]):02d}:{match[2]}" for match in pattern.finditer(rest)]
        if kind in {"paths", "urls"}:
            taken[kind] = [place.rstrip(",.;:!?)") or place for place in taken[kind]]
        rest = pattern.sub(" ", rest)
    return Findings(text, zones=zones_in(text), **taken)


def fill(schema: Mapping[str, Any], found: Findings, *, remainder: str, timezone: str) -> Filling:
    """Fill the parameters of ``schema`` from what was ``found``.

    ``remainder`` is the sentence after the tool's name, for a tool with one text parameter; ``timezone`` stands in
    when the tool wants one zone and the sentence names none.
    """
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = [name for name in (schema.get("required") or ()) if name in properties]
    zones = len(found.zones)
    arguments: dict[str, Any] = {}
    for name in (*required, *(name for name in properties if name not in required)):
        value = _value(name, _resolve(properties[name], schema), found, required=name in required)
        if value is not None:
            arguments[name] = value
    missing = [name for name in required if name not in arguments]
    if len(missing) == 1:
        (name,) = missing
        wanted = _resolve(properties[name], schema)
        kind = _kind(name, wanted)
        if kind == "zones" and len(required) == 1:
            arguments[name] = timezone
        elif kind == "quotes" and wanted.get("type") == "string" and remainder:
            arguments[name] = remainder
    missing = [
        name for name in missing if name not in arguments and "default" not in _resolve(properties[name], schema)
    ]
    return Filling(arguments, tuple(missing), used_zone=len(found.zones) < zones)


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that show what a tool wants."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    shown: dict[str, Any] = {}
    for name in schema.get("required") or ():
        wanted = _resolve(properties.get(name, {}), schema)
        default = "Europe/Paris" if _kind(name, wanted) == "zones" else "…"
        choices: list[Any] = wanted.get("enum") or [_EXAMPLES.get(str(wanted.get("type")), default)]
        shown[name] = choices[0]
    return shown


def _value(name: str, wanted: Mapping[str, Any], found: Findings, *, required: bool) -> Any:  # noqa: PLR0911 - a table of types
    """The value for one parameter, or None. An optional one needs to be spoken of."""
    if "const" in wanted:
        return wanted["const"] if required else None
    if wanted.get("enum"):
        said = found.text.lower()
        return next((choice for choice in wanted["enum"] if re.search(_word(str(choice)), said)), None)
    kind = wanted.get("type")
    if kind == "boolean":
        return True if found.says(name) else None
    if kind == "string":
        return _text(name, wanted, found, spoken=required or found.says(name))
    if not (required or found.says(name)):
        return None
    if kind in {"integer", "number"}:
        return _number(found.take("numbers"), whole=kind == "integer")
    if kind == "array" and _resolve(wanted.get("items", {}), {}).get("type") in {"string", None}:
        values, found.quotes = found.quotes, []
        return values or None
    return None


def _text(name: str, wanted: Mapping[str, Any], found: Findings, *, spoken: bool) -> str | None:
    """The value for a text parameter: of the kind it speaks of, else something quoted."""
    kind = _kind(name, wanted)
    value = found.take(kind) if spoken or kind != "quotes" else None
    return found.take("quotes") if value is None and spoken and kind != "zones" else value


def _number(text: str | None, *, whole: bool) -> int | float | None:
    if text is None:
        return None
    if whole:
        return int(text) if "." not in text else None
    return float(text) if "." in text else int(text)


def _word(choice: str) -> str:
    return rf"(?<!\w){re.escape(choice.lower())}(?!\w)"


def _kind(name: str, wanted: Mapping[str, Any]) -> str:
    """What a text parameter speaks of: its name decides, then its format, then its description."""
    spoken = " ".join(words_of(name))
    formats = {"uri": "urls", "url": "urls", "date": "dates", "time": "clocks"}
    for text in (spoken, formats.get(str(wanted.get("format")), ""), str(wanted.get("description", ""))):
        for kind, pattern in _SPEAKS_OF.items():
            if text == kind or pattern.search(text):
                return kind
    return "quotes"


def _resolve(wanted: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter with ``$ref``, ``anyOf`` and lists of types reduced to their first real type."""
    for _ in range(8):
        if not isinstance(wanted, dict):
            return {}
        schema = cast("dict[str, Any]", wanted)
        reference = schema.get("$ref")
        choices = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(reference, str):
            wanted = _pointed(reference, root)
        elif isinstance(choices, list):
            real = [choice for choice in cast("list[Any]", choices) if choice != {"type": "null"}]
            rest = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf"}}
            first = cast("dict[str, Any]", real[0]) if real and isinstance(real[0], dict) else {}
            wanted = {**rest, **first}
        else:
            types = schema.get("type")
            if isinstance(types, list):
                return {**schema, "type": next((kind for kind in cast("list[Any]", types) if kind != "null"), None)}
            return schema
    return {}


def _pointed(reference: str, root: Mapping[str, Any]) -> Any:
    """What a local ``$ref`` points at."""
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = cast("dict[str, Any]", found).get(part) if isinstance(found, dict) else None
    return found
