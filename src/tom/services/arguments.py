"""Checking a call's arguments against the service's own schema, before the call is made.

The schema comes from the service, so checking must not be a way to hold the agent up: references are followed a
bounded number of times, patterns are matched in linear time, nothing is fetched. What cannot be checked is left to
the service.
"""

import importlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tom.services.subschemas import rewritten, target_of

MOST_REFERENCES = 5_000
MOST_ERRORS = 50
LONGEST_MESSAGE = 300
_DROPPED = frozenset({"$id", "id", "patternProperties"})
_NEED_PATTERNS = frozenset({"additionalProperties", "unevaluatedProperties"})

type Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


class _Unbounded(Exception):
    """Following references has no end in sight."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """One place where arguments break a schema. ``type``: the keyword; ``input``: what stands there, cut when long."""

    field: str
    message: str
    type: str
    input: Any


@dataclass(frozen=True, slots=True)
class ArgumentProblem:
    """Arguments that break a tool's schema; ``tool``: its name as the model has it."""

    tool: str
    misfits: tuple[Misfit, ...]

    @property
    def text(self) -> str:
        """The sentence for the model."""
        first = self.misfits[0]
        more = f" ({len(self.misfits)} errors)" if len(self.misfits) > 1 else ""
        return f"Parameter validation failed for tool '{self.tool}': {first.field} - {first.message}{more}"

    @property
    def data(self) -> dict[str, Any]:
        """The same as data, for the result that is stored."""
        errors = [
            {"field": one.field, "message": one.message, "type": one.type, "input": one.input} for one in self.misfits
        ]
        return {"tool_name": self.tool, "validation_errors": errors}


class ArgumentRules:
    """One tool's schema, compiled at its first use."""

    def __init__(self, schema: Any, *, formats: bool = False) -> None:
        """Check against ``schema``, as the service wrote it; ``formats``: what it says of a text's format counts too."""
        self._schema = schema
        self._formats = formats
        self._validator: Any = None
        self._left = MOST_REFERENCES

    def problem(self, tool: str, arguments: Mapping[str, Any]) -> ArgumentProblem | None:
        """What is wrong with ``arguments``, the most telling first; None when they fit the schema."""
        try:
            errors = self._errors(arguments)
            first = _library("jsonschema.exceptions").best_match(iter(errors[:1]))
        except Exception:  # noqa: BLE001 - a schema that is itself wrong: the service will say what it takes
            return None
        if first is None:
            return None
        others = (error for error in errors[1:])
        return ArgumentProblem(tool, tuple(_misfit(error) for error in (first, *others)))

    def problems(self, values: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Field and message of everything in ``values`` that breaks the schema; nothing where that cannot be told."""
        try:
            return [(_field(error), _message(error)) for error in self._errors(values)]
        except Exception:  # noqa: BLE001 - as above
            return []

    def _errors(self, values: Mapping[str, Any]) -> list[Any]:
        self._left = MOST_REFERENCES
        validator = self._validator or self._compiled()
        return list(itertools.islice(validator.iter_errors(dict(values)), MOST_ERRORS))

    def _compiled(self) -> Any:
        validators = _library("jsonschema.validators")
        schema = _local(self._schema, self._schema)
        kind = validators.validator_for(schema, default=validators.Draft202012Validator)
        kind.check_schema(schema)
        keywords = {"pattern": _pattern, "$ref": self._counted(kind.VALIDATORS["$ref"])}
        nothing = _library("referencing").Registry()  # knows no document but the schema itself, and fetches none
        formats = kind.FORMAT_CHECKER if self._formats else None
        self._validator = validators.extend(kind, keywords)(schema, registry=nothing, format_checker=formats)
        return self._validator

    def _counted(self, follow: Keyword) -> Keyword:
        def reference(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            self._left -= 1
            if self._left < 0:
                raise _Unbounded
            yield from follow(validator, value, instance, schema) or ()

        return reference


def _library(name: str) -> Any:
    """Imported where a tool is first called, for it takes 0.1 s; its types are its own affair."""
    return importlib.import_module(name)


def _local(node: Any, root: Any) -> Any:
    """A copy without what would leave the document: remote and dangling references, and other names for it.

    ``patternProperties`` goes too, with what depends on it: its patterns are matched by a backtracking engine.
    """
    if not isinstance(node, Mapping):
        return node
    schema = cast("Mapping[str, Any]", node)
    left_out = _DROPPED | _NEED_PATTERNS if "patternProperties" in schema else _DROPPED
    kept = {keyword: value for keyword, value in schema.items() if keyword not in left_out}
    if "$ref" in kept and target_of(kept["$ref"], root) is None:
        del kept["$ref"]
    return rewritten(kept, lambda one: _local(one, root))


def _pattern(_validator: Any, pattern: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield _library("jsonschema").ValidationError(f"{instance!r} does not match {pattern!r}")


def _matches(pattern: str, text: str) -> bool:
    """Whether ``pattern`` occurs in ``text``; in linear time, so what needs backtracking counts as matching."""
    library = _library("pydantic_core")
    try:
        wanted = library.core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        library.SchemaValidator(wanted).validate_python(text)
    except library.ValidationError:
        return False
    except library.SchemaError:
        return True
    return True


def _misfit(error: Any) -> Misfit:
    return Misfit(_field(error), _message(error), str(error.validator), _shown(error.instance))


def _shown(value: Any) -> Any:
    """The value itself, or the start of it as text when it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def _field(error: Any) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return ".".join(part for part in (path, *missing[:1]) if part)
    return path or "arguments"


def _message(error: Any) -> str:
    message = str(error.message)
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"
