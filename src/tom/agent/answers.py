"""Whether a person's answer to a service's form fits the form. Restricted JSON Schema: flat objects of simple fields."""

from collections.abc import Mapping
from typing import Any

from tom.errors import InvalidAnswer


def check_content(schema: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Raise `InvalidAnswer` with ``errors`` (``field``, ``message``) when ``content`` does not fit ``schema``."""
    from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415 - most agents never need it

    validator = Draft202012Validator(dict(schema), format_checker=FormatChecker())
    errors = [
        {"field": ".".join(str(step) for step in error.absolute_path) or _missing(error), "message": error.message}
        for error in validator.iter_errors(dict(content))
    ]
    errors += [{"field": name, "message": "was not asked for"} for name in content if name not in _asked(schema)]
    if errors:
        message = "The answer does not fit what was asked: " + "; ".join(
            f"{error['field']}: {error['message']}" for error in errors
        )
        raise InvalidAnswer(message, errors=errors)


def _asked(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema.get("properties", {})


def _missing(error: Any) -> str:
    """The field that a `required` error speaks of."""
    required = error.validator_value if error.validator == "required" else ()
    return next((name for name in required if name not in error.instance), "")
