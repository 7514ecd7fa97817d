"""Tools' schemas in the form that providers take."""

from collections.abc import Mapping
from typing import Any, cast

_CHOICES = ("anyOf", "oneOf", "allOf")
_REFUSED_AT_TOP = (*_CHOICES, "not", "enum", "const", "if", "then", "else")


def object_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as a plain object: providers take no choices at the top, so all they speak of becomes optional.

    Arguments are validated against the service's own schema afterwards, so nothing is lost but a hint.
    """
    plain = {key: value for key, value in schema.items() if key not in _REFUSED_AT_TOP}
    properties: dict[str, Any] = dict(plain.get("properties") or {})
    for kind in _CHOICES:
        for choice in cast("list[Any]", schema.get(kind) or ()):
            spoken = cast("dict[str, Any]", choice).get("properties") if isinstance(choice, dict) else None
            if isinstance(spoken, dict):
                properties = {**cast("dict[str, Any]", spoken), **properties}
    return {**plain, "type": "object", "properties": properties}


def has_choices(schema: Mapping[str, Any]) -> bool:
    """Whether the schema has something at its top that providers refuse."""
    return any(key in schema for key in _REFUSED_AT_TOP)
