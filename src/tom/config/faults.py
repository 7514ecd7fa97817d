"""What is wrong, collected while settings are resolved, each with where it was written."""

from collections.abc import Mapping
from typing import Any

from tom.config import schema
from tom.config.environment import Environment
from tom.config.expand import Lookup
from tom.config.invalid import problem
from tom.config.secret import Secret


class Faults:
    """Errors and warnings of one reading. ``origins`` says which paths a variable has set."""

    def __init__(self, file: str, env: Environment) -> None:
        """``file`` is how the file is called in errors."""
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.origins: Mapping[schema.Path, str] = {}
        self._file = file
        self._env = env

    def refuse(self, path: schema.Path, sentence: str) -> None:
        """Something at a path must not be so."""
        variable = self.origins.get(path) or next(
            (
                name
                for origin, name in self.origins.items()
                if sentence.startswith("unknown key") and origin[: len(path)] == path
            ),
            None,
        )
        if variable:
            reads_on = schema.told(("_",), sentence).removeprefix("_")
            self.errors.append(problem(self._env.source(variable), f"{variable}{reads_on}"))
        else:
            self.errors.append(problem(self._file, schema.told(path, sentence)))

    def either(self, first: schema.Path, one: Any, second: schema.Path, other: Any) -> Any:
        """The value of a setting that has two names; a variable wins over the file."""
        if one is None or other is None or one == other:
            return other if one is None else one
        if (first in self.origins) != (second in self.origins):
            return one if first in self.origins else other
        self.refuse(first, f"{schema.dotted(second)} has a different value")
        return one

    def looked_up(self, path: schema.Path, given: Secret, lookup: Lookup) -> Secret:
        """A secret of the file, resolved; empty when that is impossible, which is then an error."""
        try:
            return lookup.secret(given)
        except ValueError as error:
            self.refuse(path, str(error))
            return Secret("")
