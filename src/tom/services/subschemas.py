"""Where a JSON Schema holds further schemas, so that a property that is called ``$ref`` is not taken for one."""

from collections.abc import Callable, Mapping
from typing import Any, cast

IN_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
IN_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
SINGLE = frozenset(
    {
        *("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"),
        *("additionalItems", "unevaluatedItems", "unevaluatedProperties"),
    }
)

type Rewrite = Callable[[Any], Any]


def rewritten(schema: Mapping[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    """A copy of ``schema`` in which each schema directly inside it is replaced by ``rewrite`` of it.

    A value of a kind that the keyword does not take is left out.
    """
    copy: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in IN_MAPS:
            if isinstance(value, Mapping):
                inside = cast("Mapping[str, Any]", value)
                copy[keyword] = {name: rewrite(inner) for name, inner in inside.items()}
        elif keyword in IN_LISTS or (keyword == "items" and isinstance(value, list)):
            if isinstance(value, list):
                copy[keyword] = [rewrite(inner) for inner in cast("list[Any]", value)]
        elif keyword in SINGLE:
            copy[keyword] = value if isinstance(value, bool) else rewrite(value)
        else:
            copy[keyword] = value
    return copy


def target_of(reference: object, root: Any) -> Any | None:
    """What a local JSON pointer (``#``, ``#/$defs/x``) points to in ``root``; None for anything else.

    Remote references are never fetched, by whatever name they go.
    """
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found = root
    for token in reference[1:].split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = cast("Mapping[str, Any]", found).get(key)
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(cast("list[Any]", found)):
            found = cast("list[Any]", found)[int(key)]
        else:
            return None
    return found if reference == "#" or reference.startswith("#/") else None
