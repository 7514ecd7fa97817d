"""What the environment and `.env` say, and how it overrides the file. `variables` has those that are documented."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tom.config import schema
from tom.config.invalid import problem
from tom.config.secret import Secret
from tom.config.variables import NONE_WHEN_BLANK, VARIABLES
from tom.config.yamltext import YamlInvalid, parse_value


class Environment:
    """Variables by precedence: the environment, `.env` of the working directory, `.env` of the data directory."""

    def __init__(self, env: Mapping[str, str], *dotenv_directories: Path) -> None:
        """Blank values are as if they were not there."""
        self.values: dict[str, str] = {}
        self.blank: set[str] = set()
        """Names that are there without a value."""
        self.errors: list[str] = []
        """What keeps a `.env` from being read."""
        self.layers: list[tuple[str, Mapping[str, str | None]]] = [("environment", env)]
        """Each with what it is called: `environment`, or the path of a `.env`."""
        for path in dict.fromkeys(directory / ".env" for directory in dotenv_directories):
            self.layers.append((str(path), self._dotenv(path)))
        for _, layer in self.layers:
            for name, value in layer.items():
                if not value or not value.strip():
                    self.blank.add(name)
                else:
                    self.values.setdefault(name, value)

    def source(self, name: str) -> str:
        """``environment`` or ``.env``."""
        return ".env" if self.place(name).endswith(".env") else "environment"

    def place(self, name: str) -> str:
        """``environment``, or the path of the `.env` that says it."""
        found = (place for place, layer in self.layers if (layer.get(name) or "").strip())
        return next(found, "environment")

    def _dotenv(self, path: Path) -> Mapping[str, str | None]:
        if not path.is_file():
            return {}
        from dotenv import dotenv_values  # noqa: PLC0415 - only where there is such a file

        try:
            return dotenv_values(path, interpolate=False, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
            self.errors.append(problem(".env", f"{path} {reason}"))
            return {}

    def apply(self, tree: dict[str, Any]) -> tuple[dict[schema.Path, str], list[str]]:
        """Override the file's tree in place. Answers which variable set which path, and errors."""
        origins: dict[schema.Path, str] = {}
        errors: list[str] = []
        for variable in VARIABLES:
            text = self.values.get(variable.name)
            if text is None and variable.name == NONE_WHEN_BLANK and variable.name in self.blank:
                text = ""
            if text is None or variable.read is None:
                continue
            path = tuple(variable.path.split("."))
            try:
                _put(tree, path, variable.read(variable.name, text))
                origins[path] = variable.name
            except ValueError as error:
                errors.append(problem(self.source(variable.name), str(error)))
        for name, text in self.values.items():
            if not name.startswith("TOM_") or "__" not in name:
                continue
            path = schema.spelled(name.removeprefix("TOM_").split("__"), tree)
            try:
                _put(tree, path, _typed(path, text))
                origins[path] = name
            except ValueError as error:
                errors.append(problem(self.source(name), f"{name} {error}"))
        return origins, errors


def _typed(path: schema.Path, text: str) -> Any:
    """Text, or the list or mapping that the key needs, in YAML or JSON."""
    if not text.lstrip().startswith(("[", "{")) or schema.holds(path) in {str, Secret}:
        return text
    try:
        return parse_value(text, name="value")
    except YamlInvalid:
        message = "must be valid YAML or JSON"
        raise ValueError(message) from None


def _put(tree: dict[str, Any], path: schema.Path, value: Any) -> None:
    node: Any = tree
    for part, following in itertools.pairwise(path):
        fresh: Any = [] if isinstance(following, int) else {}
        node = _entered(node, part, fresh)
    _entered(node, path[-1], value, replace=True)


def _entered(node: Any, part: str | int, fresh: Any, *, replace: bool = False) -> Any:
    if isinstance(node, list) and isinstance(part, int):
        items = cast("list[Any]", node)
        if part == len(items):
            items.append(fresh)
        elif part > len(items):
            message = f"leaves out place {len(items)} of the list"
            raise ValueError(message)
        elif replace or items[part] is None:
            items[part] = fresh
        return items[part]
    if isinstance(node, dict):
        keys = cast("dict[str | int, Any]", node)
        if replace or keys.get(part) is None:
            keys[part] = fresh
        return keys[part]
    message = "cannot be put where the file has something else"
    raise ValueError(message)
