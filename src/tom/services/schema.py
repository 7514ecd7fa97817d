"""A service's JSON Schema as a model may be shown it.

Whatever the service wrote, the result is one object schema without references, in keywords that every provider takes.
It may allow more than the service does, never less: what is exact is checked before the call (`arguments.py`).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from tom.services.cleaning import clean
from tom.services.subschemas import rewritten, target_of

MOST_BYTES = 64 * 1024
DEEPEST = 32
REFERENCE_DEPTHS = (16, 4, 2, 1, 0)
"""How many references deep to look; the next smaller one is tried when the result would be too large."""

_MOST_NODES = 10_000
_PERMISSIVE_OBJECT: Mapping[str, Any] = {"type": "object", "additionalProperties": True}
_KEPT = frozenset(
    {
        *("type", "properties", "required", "items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"),
        *("not", "enum", "const", "default", "description", "title", "format", "pattern", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"),
        *("uniqueItems", "minProperties", "maxProperties", "examples", "nullable", "propertyNames", "contains"),
    }
)
_ROOT_ONLY = frozenset({"type", "properties", "required", "additionalProperties", "description", "title"})
_NULL = {"type": "null"}


class SchemaUnusable(ValueError):
    """The tool's schema cannot be shown to a model."""


class _TooLarge(Exception):
    """The copy has grown beyond what may be shown."""


def parameters_for_model(schema: Any) -> dict[str, Any]:
    """Rewrite ``schema``; raises `SchemaUnusable` with one sentence that says why it cannot be."""
    if schema is None or schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise SchemaUnusable("its schema is not an object")
    root = cast("dict[str, Any]", schema)
    if _size(root) > MOST_BYTES:
        raise SchemaUnusable(f"its schema is larger than {MOST_BYTES} bytes")
    for depth in REFERENCE_DEPTHS:
        try:
            shown = _as_object(_Copy(root, depth).of(root, (), 0))
        except _TooLarge:
            continue
        if _size(shown) <= MOST_BYTES:
            return shown
    raise SchemaUnusable(f"its schema is larger than {MOST_BYTES} bytes when written out")


def _size(schema: Mapping[str, Any]) -> int:
    try:
        return len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except RecursionError:
        raise SchemaUnusable("its schema is nested too deeply") from None


class _Copy:
    """One attempt at a copy without references."""

    def __init__(self, root: Mapping[str, Any], reference_depth: int) -> None:
        self._root = root
        self._reference_depth = reference_depth
        self._nodes = 0

    def of(self, node: Any, references: tuple[str, ...], depth: int) -> dict[str, Any]:
        """The copy of one schema; ``references`` are those that led to it."""
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _TooLarge
        if node is False:
            return {"not": {}}
        if not isinstance(node, Mapping) or depth > DEEPEST:
            return {}
        schema = cast("Mapping[str, Any]", node)
        inner = {keyword: value for keyword, value in schema.items() if keyword in _KEPT}
        copy = _plainer(rewritten(inner, lambda one: self.of(one, references, depth + 1)))
        if "$ref" in schema:
            copy = {**self._behind(schema["$ref"], references, depth), **copy}
        return copy

    def _behind(self, reference: object, references: tuple[str, ...], depth: int) -> dict[str, Any]:
        target = target_of(reference, self._root)
        if target is None:
            return {}
        name = str(reference)
        if name in references or len(references) >= self._reference_depth:
            return dict(_PERMISSIVE_OBJECT) if _is_object(target) else {}
        return self.of(target, (*references, name), depth + 1)


def _is_object(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    kind = cast("Mapping[str, Any]", schema).get("type", "object" if "properties" in schema else None)
    return kind == "object"


def _plainer(schema: dict[str, Any]) -> dict[str, Any]:
    """Write the keywords that some provider refuses as ones that all take, and strip what cannot be seen."""
    copy = {keyword: _cleaned(value) for keyword, value in schema.items() if keyword != "properties"}
    if "properties" in schema:
        if any(clean(name) != name for name in schema["properties"]):
            raise SchemaUnusable("a parameter's name has invisible characters")
        copy["properties"] = schema["properties"]
    if "const" in copy:
        copy["enum"] = [copy.pop("const")]
    if "required" in copy:
        copy["required"] = [name for name in _listed(copy["required"]) if isinstance(name, str)]
    kinds = [kind for kind in _listed(copy.get("type")) if isinstance(kind, str)]
    if isinstance(copy.get("type"), list):
        copy["type"] = kinds[0] if len(kinds) == 1 else kinds
        if not kinds:
            del copy["type"]
    if isinstance(copy.get("items"), list):  # a tuple as drafts before 2020-12 wrote it
        copy["prefixItems"] = copy.pop("items")
    return _with_null(copy) if copy.pop("nullable", None) is True else copy


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """``nullable`` of OpenAPI, in the words of JSON Schema."""
    if isinstance(schema.get("type"), str) and schema["type"] != "null":
        schema["type"] = [schema["type"], "null"]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and _NULL not in schema[keyword]:
            schema[keyword] = [*schema[keyword], dict(_NULL)]
    if "enum" in schema and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _cleaned(one) for name, one in cast("dict[str, Any]", value).items()}
    return value


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


def _as_object(schema: dict[str, Any]) -> dict[str, Any]:
    """The root: an object with properties and no alternatives, as providers demand of it."""
    if "object" not in _listed(schema.get("type", "object")):
        raise SchemaUnusable("its arguments are not an object")
    shown = {keyword: value for keyword, value in schema.items() if keyword in _ROOT_ONLY}
    properties: dict[str, Any] = dict(shown.get("properties", {}))
    required = _required(schema)
    for part in schema.get("allOf", ()):
        _join(properties, [part])
        required |= _required(part)
    for keyword in ("anyOf", "oneOf"):
        alternatives: list[dict[str, Any]] = [one for one in schema.get(keyword, ()) if "not" not in one]
        _join(properties, alternatives)
        if alternatives:
            required |= set[str].intersection(*map(_required, alternatives))
    for name in sorted(required - set(properties)):  # some providers demand that what is required is described
        properties[name] = {}
    shown |= {"type": "object", "properties": properties, "required": [name for name in properties if name in required]}
    if not shown["required"]:
        del shown["required"]
    if any(keyword in schema for keyword in ("allOf", "anyOf", "oneOf")):
        shown.pop("additionalProperties", None)
    return shown


def _required(schema: Mapping[str, Any]) -> set[str]:
    return set(schema.get("required", ()))


def _join(properties: dict[str, Any], parts: Iterable[dict[str, Any]]) -> None:
    """Add the parts' properties; one that they describe differently may be either."""
    for part in parts:
        for name, described in part.get("properties", {}).items():
            known = properties.setdefault(name, described)
            if known != described:
                either = known["anyOf"] if set(known) == {"anyOf"} else [known]
                properties[name] = {"anyOf": either if described in either else [*either, described]}
