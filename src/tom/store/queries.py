"""The statements of `queries.sql`, by name."""

import re
from collections.abc import Mapping
from importlib import resources

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?);\n", re.MULTILINE | re.DOTALL)


def load_queries() -> Mapping[str, str]:
    """Name → statement."""
    text = resources.files("tom.store").joinpath("queries.sql").read_text("utf-8")
    return {name: " ".join(statement.split()) for name, statement in _NAMED.findall(text)}
