"""The words in which operations are told: schemas, parameters, bodies, answers, links. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

type Schema = Mapping[str, Any]

JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter; those of a path are required."""

    name: str
    where: str
    schema: Schema
    text: str
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A value worth showing, with a name of its own."""

    name: str
    summary: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A body in one media type."""

    schema: Schema
    examples: Sequence[Example] = ()
    kind: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where an answer leads: ``parameters`` and ``body`` are runtime expressions or fixed values."""

    name: str
    operation: str
    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    body: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A success: without ``contents`` it has no body. ``headers``: name -> (schema, text)."""

    text: str
    contents: Sequence[Content] = ()
    headers: Mapping[str, tuple[Schema, str]] = field(default_factory=dict[str, tuple[Schema, str]])
    links: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told of one operation beside its row.

    ``refusals`` are its own codes by status; those that follow from the row (credential, scope, rate, size) are added
    by `tom.openapi.faults`. ``shown``: errors worth an example, as (status, code, message, details).
    """

    summary: str
    text: str
    answers: Mapping[int, Answer]
    parameters: Sequence[Parameter] = ()
    body: Content | None = None
    body_required: bool = False
    refusals: Mapping[int, Sequence[str]] = field(default_factory=dict[int, Sequence[str]])


# --- schemas -----------------------------------------------------------------------------------------------------


def ref(name: str) -> Schema:
    """A schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str = "", /, **more: Any) -> Schema:
    """A string."""
    return _described({"type": "string", **more}, description)


def whole(description: str = "", /, **more: Any) -> Schema:
    """An integer."""
    return _described({"type": "integer", **more}, description)


def number(description: str = "", /, **more: Any) -> Schema:
    """A number."""
    return _described({"type": "number", **more}, description)


def flag(description: str = "", /, **more: Any) -> Schema:
    """True or false."""
    return _described({"type": "boolean", **more}, description)


def one_of(*values: Any, of: str = "string", description: str = "") -> Schema:
    """One of these values."""
    return _described({"type": of, "enum": list(values)}, description)


def listed(items: Schema, description: str = "", /, **more: Any) -> Schema:
    """A list."""
    return _described({"type": "array", "items": items, **more}, description)


def mapping(description: str = "", /, values: Schema | bool = True, **more: Any) -> Schema:
    """An object whose keys are not known beforehand."""
    return _described({"type": "object", "additionalProperties": values, **more}, description)


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, /, **more: Any) -> Schema:
    """An object that an answer has; further keys may come with later versions."""
    properties = {**required, **(optional or {})}
    return {"type": "object", **({"required": list(required)} if required else {}), "properties": properties, **more}


def closed(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, /, **more: Any) -> Schema:
    """An object that a request has: an unknown key is refused."""
    return record(required, optional, additionalProperties=False, **more)


def nullable(schema: Schema) -> Schema:
    """Or null."""
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    widened: dict[str, Any] = {**schema, "type": [schema["type"], "null"]}
    return {**widened, "enum": [*schema["enum"], None]} if "enum" in schema else widened


def time(description: str = "") -> Schema:
    """A moment: RFC 3339 in UTC with milliseconds."""
    return text(description, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def day(description: str = "") -> Schema:
    """A day such as 2026-01-31."""
    return text(description, format="date")


def _described(schema: dict[str, Any], description: str) -> Schema:
    return {**schema, "description": description} if description else schema


# --- parts that come often ---------------------------------------------------------------------------------------


def query(name: str, schema: Schema, description: str, example: Any = None) -> Parameter:
    """A parameter of the query."""
    return Parameter(name=name, where="query", schema=schema, text=description, example=example)


def in_path(name: str, description: str, example: str) -> Parameter:
    """A parameter of the path. What is malformed is not found, so every text is a value."""
    return Parameter(name=name, where="path", schema=text(minLength=1), text=description, example=example)


def header(name: str, schema: Schema, description: str) -> Parameter:
    """A header of the request."""
    return Parameter(name=name, where="header", schema=schema, text=description)


def answered(description: str, schema: Schema, *examples: Example, links: Sequence[Link] = ()) -> Answer:
    """A success with JSON."""
    return Answer(text=description, contents=(Content(schema=schema, examples=examples),), links=links)


def shown(name: str, summary: str, value: Any) -> Example:
    """An example."""
    return Example(name=name, summary=summary, value=value)
