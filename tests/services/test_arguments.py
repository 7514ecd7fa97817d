"""Arguments are checked against the service's own schema, and no schema can hold the agent up."""

import time

import pytest

from tom.services.arguments import LONGEST_MESSAGE, ArgumentRules

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^[A-Z]"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "where": {"$ref": "#/$defs/where"},
        "unit": {"anyOf": [{"enum": ["C", "F"]}, {"type": "null"}]},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"where": {"type": "object", "required": ["lat"], "properties": {"lat": {"type": "number"}}}},
}
PREFIX = "Parameter validation failed for tool 'weather': "


def problem(schema, **arguments):
    found = ArgumentRules(schema).problem("weather", arguments)
    return None if found is None else found.text


@pytest.mark.parametrize(
    "arguments",
    [{"city": "Paris"}, {"city": "Paris", "unit": None}, {"city": "Paris", "unit": "C", "where": {"lat": 1}}],
)
def test_what_the_schema_allows_passes(arguments):
    assert problem(CITY, **arguments) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "city - 'city' is a required property"),
        ({"city": 5}, "city - 5 is not of type 'string'"),
        ({"city": "paris"}, "city - 'paris' does not match '^[A-Z]'"),
        ({"city": "Paris", "days": 9}, "days - 9 is greater than the maximum of 7"),
        ({"city": "Paris", "where": {}}, "where.lat - 'lat' is a required property"),
        ({"city": "Paris", "where": {"lat": "x"}}, "where.lat - 'x' is not of type 'number'"),
        ({"city": "Paris", "x": 1}, "arguments - Additional properties are not allowed ('x' was unexpected)"),
        ({"city": 5, "days": 9}, "city - 5 is not of type 'string' (2 errors)"),
    ],
)
def test_what_it_does_not_is_named(arguments, message):
    assert problem(CITY, **arguments) == PREFIX + message


def test_a_long_value_is_not_repeated_whole():
    assert len(problem({"properties": {"n": {"type": "integer"}}}, n="x" * 10_000)) < 400


def test_older_drafts_are_read_as_what_they_say_they_are():
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"n": {"type": "number", "minimum": 1, "exclusiveMinimum": True}},
    }
    assert problem(schema, n=1) is not None
    assert problem(schema, n=2) is None


def test_a_recursive_schema_is_followed_as_deep_as_the_arguments_go():
    node = {"type": "object", "properties": {"child": {"$ref": "#/$defs/n"}}, "additionalProperties": False}
    schema = {"properties": {"root": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    assert problem(schema, root={"child": {"child": {}}}) is None
    assert "root.child.child" in problem(schema, root={"child": {"child": {"x": 1}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"x": {"$ref": "#/$defs/nowhere"}}},
        {"properties": {"x": {"$ref": "file:///etc/passwd"}}},
        {"$id": "http://127.0.0.1:9/", "properties": {"x": {"$ref": "other"}}},
        {"$ref": "#"},
        {"type": 5},
        {"properties": []},
        {"properties": {"x": {"type": "strin"}}},
        {"properties": {"x": {"pattern": "("}}},
        {"patternProperties": {"^(a+)+$": {"type": "integer"}}, "additionalProperties": False},
        {"$dynamicRef": "#nowhere"},
        "no schema",
        None,
    ],
)
def test_what_cannot_be_checked_is_left_to_the_service(schema):
    started = time.monotonic()
    assert problem(schema, x="a" * 40 + "!") is None
    assert time.monotonic() - started < 2


def test_a_pattern_that_backtracks_takes_no_time():
    started = time.monotonic()
    found = problem({"properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}, x="a" * 50_000 + "!")
    assert found is not None
    assert time.monotonic() - started < 2


def test_references_that_multiply_end():
    doubling = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    schema = {"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {**doubling, "d60": {"type": "string"}}}
    started = time.monotonic()
    assert problem(schema, x=1) is None
    assert time.monotonic() - started < 5


def test_what_is_wrong_is_told_as_data_too():
    found = ArgumentRules(CITY).problem("weather", {"city": 5, "days": 9, "other": "x" * 1000})
    assert found.data["tool_name"] == "weather"
    told = {(one["field"], one["type"]): one for one in found.data["validation_errors"]}
    assert told["city", "type"] == {"field": "city", "message": "5 is not of type 'string'", "type": "type", "input": 5}
    assert told["days", "maximum"]["input"] == 9
    extra = told["arguments", "additionalProperties"]["input"]
    assert len(extra) <= LONGEST_MESSAGE
    assert extra.startswith('{"city": 5')
    missing = ArgumentRules(CITY).problem("weather", {}).data["validation_errors"]
    assert missing == [{"field": "city", "message": "'city' is a required property", "type": "required", "input": {}}]
