"""Schemas for people: what a field is, in a few words of HTML."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final, cast

_DEEPEST: Final = 4
_NAMES: Final[Mapping[str, str]] = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "object",
    "array": "list", "null": "null",
}  # fmt: skip


def kind_of(schema: Mapping[str, Any]) -> str:
    """What a value is: ``list of Event``, ``text or null``, ``"allow" or "deny"``."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f'<a href="#shape-{name}">{name}</a>'
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return " or ".join(_code(value) for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(kind_of(one) for one in schema[key]))
    kinds: Any = schema.get("type", "any value")
    names = cast("list[str]", kinds) if isinstance(kinds, list) else [str(kinds)]
    return " or ".join(_named(name, schema) for name in names)


def rules_of(schema: Mapping[str, Any]) -> str:
    """Its bounds: ``1 to 200``, ``at most 500 characters``, ``50 unless said``."""
    rules = [*_bounds(schema)]
    if "default" in schema:
        rules.append(f"{_code(schema['default'])} unless said")
    return ", ".join(rules)


def table_of(schema: Mapping[str, Any]) -> str:
    """The fields of an object as a table; empty where there are none."""
    rows = "".join(_rows(schema, "", _DEEPEST))
    if not rows:
        return ""
    head = "<thead><tr><th>field</th><th>value</th></tr></thead>"
    return f'<div class="scroll" tabindex="0" role="group" aria-label="Fields"><table>{head}<tbody>{rows}</tbody></table></div>'


def row(name: str, schema: Mapping[str, Any], description: str, *, required: bool) -> str:
    """One field or parameter."""
    must = ' <span class="must">required</span>' if required else ""
    rules = rules_of(schema)
    kind = f'<span class="kind">{kind_of(schema)}{", " + rules if rules else ""}</span>'
    words = f"<p>{ticked(description)}</p>" if description else ""
    return f'<tr><th scope="row"><code>{escape(name)}</code>{must}</th><td>{words}{kind}</td></tr>'


def ticked(sentence: str) -> str:
    """A sentence with its `code` as code."""
    pieces = escape(sentence).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


def _rows(schema: Mapping[str, Any], before: str, depth: int) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        path = f"{before}{name}"
        yield row(path, inner, inner.get("description", ""), required=name in required and not before)
        below, mark = (inner.get("items", {}), "[].") if "items" in inner else (inner, ".")
        if depth and "properties" in below:
            yield from _rows(below, path + mark, depth - 1)


def _named(name: str, schema: Mapping[str, Any]) -> str:
    if name == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    more = schema.get("additionalProperties")
    if name == "object" and isinstance(more, dict) and more:
        return f"object of {kind_of(cast('Mapping[str, Any]', more))}"
    return _NAMES.get(name, name)


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"{low} to {high}"
    elif low is not None:
        yield f"at least {low}"
    elif high is not None:
        yield f"at most {high}"
    if schema.get("maxLength"):
        yield f"at most {schema['maxLength']:,} characters".replace(",", "\u202f")
    if schema.get("maxItems"):
        yield f"at most {schema['maxItems']}"
    if schema.get("format"):
        yield str(schema["format"])


def _code(value: Any) -> str:
    return f"<code>{escape(json.dumps(value, ensure_ascii=False))}</code>"
