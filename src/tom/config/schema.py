"""Checking a file's tree against `sections.Root`, and saying what is wrong with it in the operator's words."""

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tom.config.sections import Root

type Path = tuple[str | int, ...]

_ROUNDS = 3
_READS_ON = ("must ", "is ", "has ", "needs ", "cannot ")
_SENTENCES = {
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_parsing_size": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_pattern_mismatch": "must be a path such as /ws/chat",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def check(tree: Mapping[str, Any]) -> tuple[Root | None, list[tuple[Path, str]]]:
    """The tree as sections, or every fault with its path."""
    try:
        return Root.model_validate(tree), []
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors(include_url=False, include_input=True)]
        return None, list(dict.fromkeys(faults))


def told(path: Path, sentence: str) -> str:
    """``users[1].services.weather.enabel: unknown key, …`` or ``login.idle_days must be at least 1``."""
    if not path:
        return sentence
    return f"{dotted(path)}{' ' if sentence.startswith(_READS_ON) else ': '}{sentence}"


def number(value: float) -> str:
    """A bound as people write it."""
    return str(int(value)) if value == int(value) else str(value)


def dotted(path: Path) -> str:
    """``users[1].username``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def remains(tree: Mapping[str, Any], faults: list[tuple[Path, str]]) -> Root | None:
    """What is left when all that is faulty is taken out, so that the rest can be looked at too; for that only."""
    copied = _copy(tree)
    for _ in range(_ROUNDS):
        for path, _sentence in faults:
            _drop(copied, path)
        root, faults = check(copied)
        if root is not None:
            return root
    return None


def spelled(names: list[str], tree: Mapping[str, Any]) -> Path:
    """The path that ``TOM_<PATH>`` means: known keys in their own spelling, list places as numbers."""
    annotation: Any = Root
    node: Any = tree
    path: list[str | int] = []
    for name in names:
        kind = inner(annotation)
        part: str | int = name.lower()
        if get_origin(kind) is list and name.isdigit():
            part = int(name)
        elif keys := known_keys(kind):
            part = next((key for key in keys if key.lower() == name.lower()), part)
        elif isinstance(node, dict):
            existing = (key for key in cast("dict[str, Any]", node) if key.lower() == name.lower())
            part = next(existing, name if path and path[-1] == "env" else part)
        elif path and path[-1] == "env":
            part = name
        path.append(part)
        annotation = below(kind, part)
        node = _child(node, part)
    return tuple(path)


def holds(path: Path) -> Any:
    """The type at a path; None when there is none."""
    annotation: Any = Root
    for part in path:
        annotation = below(annotation, part)
    return inner(annotation)


def below(annotation: Any, part: str | int) -> Any:
    """The type of a key, list place or named entry inside a type; None when there is none."""
    kind = inner(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if (field.alias or name) == part:
                return field.annotation
        return None
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    return arguments[0] if get_origin(kind) is list else None


def known_keys(annotation: Any) -> list[str]:
    """The keys of a section; empty for everything else."""
    kind = inner(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return []


def inner(annotation: Any) -> Any:
    """The type without what surrounds it: annotations and None."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in {Union, UnionType}:
            some = [item for item in get_args(annotation) if item is not type(None)]
            if len(some) != 1:
                return annotation
            annotation = some[0]
        else:
            return annotation


def _fault(fault: Any) -> tuple[Path, str]:
    path: Path = tuple(part for part in fault["loc"] if part != "[key]")
    return path, _unknown(path) if fault["type"] == "extra_forbidden" else _sentence(fault)


def _sentence(fault: Any) -> str:
    kind: str = fault["type"]
    context: dict[str, Any] = fault.get("ctx", {})
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"must be {words} {number(context[name])}"
    sentence = _SENTENCES.get(kind, "is not valid")
    match kind:
        case "value_error":
            sentence = str(context["error"])
        case "literal_error":
            sentence = "must be one of: " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
        case "string_too_short":
            sentence = "must not be empty"
        case "string_too_long":
            sentence = f"must be at most {context['max_length']} characters"
        case "string_type" if isinstance(fault.get("input"), bool | int | float):
            sentence += "; put it in quotes"
        case _:
            pass
    return sentence


def _unknown(path: Path) -> str:
    return unknown(str(path[-1]), known_keys(holds(path[:-1])))


def unknown(key: str, known: list[str]) -> str:
    """``unknown key, did you mean 'role'?``."""
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
    return f"unknown key, did you mean {near[0]!r}?" if near else "unknown key"


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_copy(item) for item in cast("list[Any]", value)]
    return value


def _child(node: Any, part: str | int) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None


def _drop(tree: Any, path: Path) -> None:
    node = tree
    for part in path[:-1]:
        node = _child(node, part)
        if node is None:
            return
    last = path[-1]
    if isinstance(node, list) and isinstance(last, int) and path[0] == "users" and len(path) == 2:
        node[last] = {"username": f"nobody-{last}"}  # keeps the place, and with it the number of those behind
    elif isinstance(node, dict) and last in node:
        del node[last]
    elif len(path) > 1:  # a required key is missing, or a list is wrong: it is the whole that is faulty
        _drop(tree, path[:-1])
