"""What a tool is taken for as long as nobody has reviewed it: its class, and whether its arguments leave the house.

A name that begins with a reading verb is proposed as `read_private`, everything else as `write_external`: a wrong
guess in that direction costs a question, the other one an act. What a service says of its tools (annotations) may raise
a proposal and never lower it. The names of arguments are its words too: whoever wants to carry something away calls it
`city`. So names count only where the service is trusted; elsewhere whatever has room for a message leaves the house.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tom.conversation.tool import ToolClass

READING_VERBS = frozenset({"get", "list", "search", "find", "read", "show", "describe", "count", "check", "fetch"})

ADDRESS_WORDS = frozenset(
    """
    address addresses attendee attendees bcc callback cc domain email emails endpoint host hostname href
    invitee invitees ip link mail mailto origin participant participants phone recipient recipients server
    site topic uri uris url urls webhook website
    """.split()  # noqa: SIM905 - words, not a column
)
"""Words in an argument's name that say where something goes, or who gets it."""

PROSE_WORDS = frozenset(
    """
    answer body caption comment content contents description message messages note notes prompt q query
    question reason reply search statement subject summary text title tweet
    """.split()  # noqa: SIM905 - words, not a column
)
"""Words in an argument's name that say it is free text, which somebody else may get to read."""

ADDRESS_FORMATS = frozenset(
    """
    uri uri-reference uri-template iri iri-reference email idn-email hostname idn-hostname ipv4 ipv6
    """.split()  # noqa: SIM905 - words, not a column
)

NO_TEXT = frozenset({"number", "integer", "boolean", "null"})
"""Types into which no free text fits."""

NO_ROOM = frozenset({"boolean", "null"})
"""Types into which nothing fits: a number has as many digits as one likes."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_MOST_SCHEMAS = 10_000
_INSIDE = ("items", "prefixItems", "contains", "additionalProperties", "anyOf", "oneOf", "allOf", "not", "if", "then")
_NAMED_INSIDE = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A class and a flag that nobody has confirmed. ``outward``: the tool's arguments leave the house."""

    tool_class: ToolClass
    outward: bool


def propose(
    name: str, schema: object, annotations: Mapping[str, Any] | None = None, *, trusted: bool = False
) -> Proposal:
    """What a tool looks like, by its name, the JSON Schema of its arguments and what its service says of it.

    ``annotations`` are MCP's (``readOnlyHint`` …) as JSON; anything that is no truth value is not heard. Total: rubbish
    in the schema is passed over, and a schema too large to be looked at is taken for one with an address. ``trusted``:
    the names of its arguments are somebody's whom one trusts.
    """
    hints = annotations or {}
    tool_class = propose_class(name)
    if hints.get("readOnlyHint") is False:
        tool_class = ToolClass.WRITE_EXTERNAL
    if hints.get("destructiveHint") is True:
        tool_class = ToolClass.DESTRUCTIVE
    return Proposal(tool_class, hints.get("openWorldHint") is True or _sends_out(schema, trusted=trusted))


def class_of(tool: str, classes: Mapping[str, ToolClass]) -> ToolClass:
    """The admin's class for ``tool`` (its bare name) where ``classes`` has one, else the proposed class."""
    return classes.get(tool) or propose_class(tool)


def propose_class(tool: str) -> ToolClass:
    """Propose a class from the tool's name alone."""
    words = _words(tool)
    return ToolClass.READ_PRIVATE if words[:1] and words[0] in READING_VERBS else ToolClass.WRITE_EXTERNAL


def has_undeclared(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Whether there are arguments that a tool's JSON Schema does not name: nobody could look at them beforehand."""
    declared = parameters.get("properties")
    return not arguments.keys() <= (cast("Mapping[str, Any]", declared) if isinstance(declared, Mapping) else {}).keys()


def has_message(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Whether an argument is more than yes, no, nothing or a choice that a tool's JSON Schema names.

    A schema that is itself wrong holds no argument to its choices, so the values are looked at.
    """
    choices: dict[str, list[object]] = {}
    for name, field in _fields(parameters):
        named = field.get("enum")
        listed = cast("Sequence[object]", named) if isinstance(named, Sequence) else ()
        choices.setdefault(name, []).extend([*listed, *([field["const"]] if "const" in field else [])])
    return any(
        not (value is None or isinstance(value, bool) or value in choices.get(name, ()))
        for name, value in arguments.items()
    )


def _sends_out(schema: object, *, trusted: bool) -> bool:
    """Whether a field of the schema takes an address, or free text that an outside party may get."""
    if not trusted:
        return any(_fits(field, NO_ROOM) for _, field in _fields(schema))
    return any(_is_address(name, field) or _is_prose(name, field) for name, field in _fields(schema))


def _is_address(name: str, field: Mapping[str, Any]) -> bool:
    words = _words(name)
    where = words[-1:] == ["to"] or not ADDRESS_WORDS.isdisjoint(words)  # send_to; but not to_date
    return str(field.get("format")) in ADDRESS_FORMATS or (where and _fits(field, NO_TEXT))


def _is_prose(name: str, field: Mapping[str, Any]) -> bool:
    return _fits(field, NO_TEXT) and not PROSE_WORDS.isdisjoint(_words(name))


def _fits(field: Mapping[str, Any], without: Collection[str]) -> bool:
    """Whether a message fits in, where types ``without`` room have none: of a choice there is nothing to tell."""
    if "enum" in field or "const" in field:
        return False
    kinds = field.get("type")
    named: Sequence[object] = cast("Sequence[object]", kinds) if isinstance(kinds, Sequence) else ()
    return not named or any(kind not in without for kind in ([named] if isinstance(named, str) else named))


def _fields(schema: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema inside ``schema`` with the name of the property that it is for; bounded."""
    left: list[tuple[str, object]] = [("", schema)]
    for _ in range(_MOST_SCHEMAS):
        if not left:
            return
        name, found = left.pop()
        if isinstance(found, Mapping):
            field = cast("Mapping[str, Any]", found)
            if name:
                yield name, field
            left.extend((name, field[key]) for key in _INSIDE if key in field)
            for key in _NAMED_INSIDE:
                inside = field.get(key)
                if isinstance(inside, Mapping):
                    left.extend(cast("Mapping[str, object]", inside).items())
        elif isinstance(found, Sequence) and not isinstance(found, str):
            left.extend((name, item) for item in cast("Sequence[object]", found))
    yield "url", {}  # nobody has seen the rest: it is taken for the worst


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
