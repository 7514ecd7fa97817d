"""Reading YAML 1.2 that somebody else wrote: size, tags, duplicate keys and aliases are bounded.

The text is composed into nodes, which know their line, and these are turned into plain values here: nothing in the
file can name a type. Dates stay text, ``22222:22`` too.
"""

from pathlib import Path
from typing import Any, NoReturn, cast

LIMIT = 1_048_576
_MAX_ALIAS_DEPTH = 10
_MAX_NODES = 100_000
_PREFIX = "tag:yaml.org,2002:"
_TRUTHS = {"true": True, "false": False}


class YamlInvalid(Exception):
    """The text is no acceptable YAML; the message begins with the place, when there is one."""


def read_yaml(path: Path, *, mergeable: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The mapping in a file; ``mergeable`` keys may stand twice at the top, their blocks are merged.

    Raises FileNotFoundError, or YamlInvalid with one line for the operator.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        message = f"{path.name}: {error.strerror}"
        raise YamlInvalid(message) from error
    if len(content) > LIMIT:
        message = f"{path.name}: larger than 1 MiB"
        raise YamlInvalid(message)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{path.name} line {line}, column 1: not UTF-8"
        raise YamlInvalid(message) from error
    return parse_yaml(text, name=path.name, mergeable=mergeable)


def parse_yaml(text: str, *, name: str, mergeable: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The mapping in a text; an empty text is an empty mapping. ``name`` is how errors call the file."""
    value = parse_value(text, name=name, mergeable=mergeable)
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"{name}: YAML configuration must define a mapping at the root level."
        raise YamlInvalid(message)
    return cast("dict[str, Any]", value)


def parse_value(text: str, *, name: str, mergeable: frozenset[str] = frozenset()) -> Any:
    """Any value; YamlInvalid as above."""
    from ruamel.yaml import YAML, YAMLError  # noqa: PLC0415 - only who reads a file pays for it

    try:
        root = YAML(typ="safe", pure=True).compose(text)
        return None if root is None else _Reading(name, mergeable).value(root, top=True)
    except YAMLError as error:
        raise YamlInvalid(_located(name, error)) from None
    except RecursionError:
        message = f"{name}: nested too deeply"
        raise YamlInvalid(message) from None


def key_lines(text: str) -> dict[tuple[str | int, ...], int]:
    """In which line each key and list item of a text stands, from 1; YamlInvalid where it is no YAML."""
    from ruamel.yaml import YAML, YAMLError  # noqa: PLC0415 - as above

    lines: dict[tuple[str | int, ...], int] = {}
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        if root is not None:
            _note_lines(root, (), lines, set())
    except (YAMLError, RecursionError) as error:
        raise YamlInvalid(_located("text", error)) from None
    return lines


def _note_lines(
    node: Any, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], seen: set[int]
) -> None:
    """An alias is not followed: its keys stand where its anchor is."""
    if id(node) in seen or not isinstance(node.value, list):
        return
    seen.add(id(node))
    for place, item in enumerate(cast("list[Any]", node.value)):
        key, value = cast("tuple[Any, Any]", item) if isinstance(item, tuple) else (None, item)
        below = (*path, place if key is None else str(key.value))
        lines.setdefault(below, (value if key is None else key).start_mark.line + 1)
        _note_lines(value, below, lines, seen)


def _located(name: str, error: Any) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or "not YAML"
    if mark is None:
        return f"{name}: {' '.join(str(reason).split())}"
    return f"{name} line {mark.line + 1}, column {mark.column + 1}: {' '.join(str(reason).split())}"


class _Reading:
    """Nodes to values, counting what aliases multiply."""

    def __init__(self, name: str, mergeable: frozenset[str]) -> None:
        self._name = name
        self._mergeable = mergeable
        self._open: set[int] = set()
        self._done: dict[int, tuple[Any, int, int]] = {}  # node → value, alias depth, nodes when written out

    def value(self, node: Any, *, top: bool = False) -> Any:
        value, _, _ = self._visit(node, top=top)
        return value

    def _visit(self, node: Any, *, top: bool = False) -> tuple[Any, int, int]:
        known = self._done.get(id(node))
        if known is not None:  # met before: this is an alias
            value, depth, size = known
            if depth + 1 > _MAX_ALIAS_DEPTH:
                self._refuse(node, f"aliases nested deeper than {_MAX_ALIAS_DEPTH}")
            return value, depth + 1, size
        if id(node) in self._open:
            self._refuse(node, "an anchor contains itself")
        self._open.add(id(node))
        if node.tag == f"{_PREFIX}map" and isinstance(node.value, list):
            result = self._mapping(node, top=top)
        elif node.tag == f"{_PREFIX}seq" and isinstance(node.value, list):
            result = self._sequence(node)
        else:
            result = (self._scalar(node), 0, 1)
        if result[2] > _MAX_NODES:
            self._refuse(node, f"more than {_MAX_NODES} values")
        self._open.discard(id(node))
        self._done[id(node)] = result
        return result

    def _mapping(self, node: Any, *, top: bool) -> tuple[dict[str, Any], int, int]:
        values: dict[str, Any] = {}
        depth, size = 0, 1
        for key_node, value_node in node.value:
            if not isinstance(key_node.value, str):
                self._refuse(key_node, "a key must be text")
            key = key_node.value
            value, below, count = self._visit(value_node)
            depth, size = max(depth, below), size + count
            if key not in values:
                values[key] = value
            elif top and key in self._mergeable:
                values[key] = self._merged(key_node, key, values[key], value)
            else:
                self._refuse(key_node, f"duplicate key {key!r}")
        return values, depth, size

    def _sequence(self, node: Any) -> tuple[list[Any], int, int]:
        visited = [self._visit(child) for child in node.value]
        depth = max((item[1] for item in visited), default=0)
        return [item[0] for item in visited], depth, 1 + sum(item[2] for item in visited)

    def _merged(self, node: Any, path: str, first: Any, second: Any) -> Any:
        if isinstance(first, dict) and isinstance(second, dict):
            merged = dict(cast("dict[str, Any]", first))
            for key, value in cast("dict[str, Any]", second).items():
                merged[key] = self._merged(node, f"{path}.{key}", merged[key], value) if key in merged else value
            return merged
        if first != second:
            self._refuse(node, f"'{path}' is given twice with different values")
        return cast("Any", first)

    def _scalar(self, node: Any) -> Any:
        kind = node.tag.removeprefix(_PREFIX)
        text = node.value
        if kind in {"str", "timestamp", "value", "merge"}:
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in _TRUTHS:
            return _TRUTHS[text.lower()]
        try:
            if kind == "int":
                return _integer(text)
            if kind == "float":
                return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())
        except ValueError:
            self._refuse(node, "not a number")
        return self._refuse(node, f"tag {node.tag!r} is not allowed")

    def _refuse(self, node: Any, reason: str) -> NoReturn:
        mark = node.start_mark
        message = f"{self._name} line {mark.line + 1}, column {mark.column + 1}: {reason}"
        raise YamlInvalid(message)


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign, digits = (-1, digits[1:]) if digits.startswith("-") else (1, digits.removeprefix("+"))
    for prefix, radix in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], radix)
    return sign * int(digits)
