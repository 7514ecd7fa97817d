"""Whether a person's answer to a service's form fits the form. Restricted JSON Schema: flat objects of simple fields.

The form is the service's: it is looked at as bounded as the arguments of its tools are (`services/arguments.py`).
"""

from collections.abc import Mapping
from typing import Any

from tom.errors import InvalidAnswer
from tom.services.arguments import ArgumentRules


def check_content(schema: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Raise `InvalidAnswer` with ``errors`` (``field``, ``message``) when ``content`` does not fit ``schema``."""
    problems = ArgumentRules(schema, formats=True).problems(content)
    errors = [{"field": field, "message": message} for field, message in problems]
    asked: Mapping[str, Any] = schema.get("properties", {})
    errors += [{"field": name, "message": "was not asked for"} for name in content if name not in asked]
    if errors:
        message = "The answer does not fit what was asked: " + "; ".join(
            f"{error['field']}: {error['message']}" for error in errors
        )
        raise InvalidAnswer(message, errors=errors)
