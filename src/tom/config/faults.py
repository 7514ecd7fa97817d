"""What is wrong, collected while settings are resolved, each with where it was written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tom.config import schema
from tom.config.environment import Environment
from tom.config.expand import Lookup
from tom.config.invalid import problem
from tom.config.secret import Secret
from tom.config.variables import VARIABLES
from tom.config.written import Written


class Faults:
    """Errors and warnings of one reading. ``origins`` says which paths a variable has set."""

    def __init__(self, config: Path, env: Environment) -> None:
        """``config`` is the path of config.yml, whether or not it is there."""
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.origins: Mapping[schema.Path, str] = {}
        self.written = Written()
        self._config = config
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
            self.errors.append(problem(self._file(path).name, schema.told(path, sentence)))

    def plain(self, path: schema.Path, sentence: str) -> None:
        """Something is wrong with what a path says, in a sentence of its own."""
        self.errors.append(problem(self.source(path), sentence))

    def source(self, path: schema.Path) -> str:
        """Who says what is at a path, as errors call it: ``environment``, ``.env`` or a file's name."""
        variable = self.origins.get(path)
        if variable:
            return self._env.source(variable)
        return self._file(path).name if self.written.says(path) or not self._of_variable(path) else "environment"

    def directory(self, path: schema.Path) -> Path:
        """The directory of the file that says what is at a path; the working directory for a variable."""
        return Path.cwd() if path in self.origins else self._file(path).parent

    def says(self, path: schema.Path) -> bool:
        """Whether anybody says what is at a path."""
        return path in self.origins or self.written.says(path)

    def blank(self, name: str) -> bool:
        """Whether a variable is named without a value, and nobody gives it one."""
        path = next(tuple(variable.path.split(".")) for variable in VARIABLES if variable.name == name)
        return name in self._env.blank | self.written.blank and not self.says(path)

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

    def secret(self, path: schema.Path, given: Secret | None) -> Secret:
        """The same for a secret that may be missing; a variable's value is taken as it stands."""
        if not given or path in self.origins:
            return given or Secret("")
        return self.looked_up(path, given, Lookup(self._env.values, self._file(path).parent))

    def _file(self, path: schema.Path) -> Path:
        file = self.written.file(path)
        return file.path if file is not None else self._config

    @staticmethod
    def _of_variable(path: schema.Path) -> bool:
        return any(variable.path == schema.dotted(path) for variable in VARIABLES)
