"""A service's schema as the model sees it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.services.schema import DEEPEST, MOST_BYTES, SchemaUnusable, parameters_for_model

STRING = {"type": "string"}
WHOLE = {"type": "integer"}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["#", "#/$defs/a", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "properties", "$ref", "$defs", "anyOf", "allOf", "oneOf", "items", "required", "const"),
                    *("enum", "nullable", "not", "additionalProperties", "prefixItems", "a", "b"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def shown(**properties):
    return parameters_for_model({"type": "object", "properties": properties})["properties"]


@pytest.mark.parametrize("nothing", [None, True, {}, {"type": "object"}, {"$schema": "x", "$id": "y"}])
def test_no_schema_means_no_arguments(nothing):
    assert parameters_for_model(nothing) == {"type": "object", "properties": {}}


def test_what_providers_take_is_kept():
    schema = {
        "type": "object",
        "description": "Arguments",
        "properties": {
            "text": {"type": "string", "minLength": 1, "pattern": "^a", "default": "a", "description": "d"},
            "kind": {"enum": ["a", "b", None]},
            "either": {"anyOf": [STRING, {"type": "null"}]},
            "list": {"type": "array", "items": {"oneOf": [WHOLE, STRING]}},
            "types": {"type": ["string", "integer"]},
            "map": {"type": "object", "additionalProperties": WHOLE},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    assert parameters_for_model(schema) == schema


def test_const_nullable_and_lists_of_one_type_are_rewritten():
    assert shown(
        a={"const": "x"},
        b={"type": "string", "nullable": True},
        c={"type": ["string"]},
        d={"type": "array", "items": [STRING, WHOLE]},
        e={"type": "string", "enum": ["x"], "nullable": True},
    ) == {
        "a": {"enum": ["x"]},
        "b": {"type": ["string", "null"]},
        "c": {"type": "string"},
        "d": {"type": "array", "prefixItems": [STRING, WHOLE]},
        "e": {"type": ["string", "null"], "enum": ["x", None]},
    }


def test_local_references_are_written_out():
    schema = {
        "type": "object",
        "properties": {
            "where": {"$ref": "#/$defs/place", "description": "Here"},
            "x": {"$ref": "#/definitions/~1a~0b"},
        },
        "$defs": {"place": {"type": "object", "properties": {"city": {"$ref": "#/$defs/city"}}}, "city": STRING},
        "definitions": {"/a~b": WHOLE},
    }
    assert parameters_for_model(schema) == {
        "type": "object",
        "properties": {
            "where": {"type": "object", "properties": {"city": STRING}, "description": "Here"},
            "x": WHOLE,
        },
    }


def test_a_property_called_ref_is_a_property():
    assert shown(**{"$ref": STRING, "$defs": WHOLE}) == {"$ref": STRING, "$defs": WHOLE}


def test_recursion_is_cut_with_a_permissive_object():
    node = {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}, "value": WHOLE}}
    schema = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}
    child = parameters_for_model(schema)["properties"]["root"]["properties"]["child"]
    assert child == {"type": "object", "additionalProperties": True}


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/s.json", "other.json#/a", "#/$defs/nowhere", "#name", 5])
def test_a_reference_that_is_not_local_allows_anything(reference):
    assert shown(x={"$ref": reference}) == {"x": {}}


def test_references_of_references_end_after_sixteen():
    chain = {f"d{n}": {"type": "object", "properties": {"n": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(40)}
    node = parameters_for_model({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": chain})
    depth = 0
    while "properties" in node:
        node, depth = next(iter(node["properties"].values())), depth + 1
    assert depth <= 17


def test_references_that_multiply_are_cut_in_time():
    doubling = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    started = time.monotonic()
    result = parameters_for_model({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubling})
    assert time.monotonic() - started < 2
    assert len(json.dumps(result)) <= MOST_BYTES


def test_what_is_deeper_than_thirty_two_allows_anything():
    schema = STRING
    for _ in range(100):
        schema = {"type": "object", "properties": {"in": schema}}
    node, depth = parameters_for_model(schema), 0
    while node.get("properties"):
        node, depth = node["properties"]["in"], depth + 1
    assert depth <= DEEPEST + 1
    assert node == {}


def test_alternatives_at_the_root_become_one_object():
    by_id = {"type": "object", "properties": {"id": WHOLE, "force": {"type": "boolean"}}, "required": ["id", "force"]}
    by_name = {
        "properties": {"id": STRING, "name": STRING, "force": {"type": "boolean"}},
        "required": ["name", "force"],
    }
    both = parameters_for_model({"anyOf": [by_id, by_name], "required": ["user"], "additionalProperties": False})
    assert both == {
        "type": "object",
        "properties": {
            "id": {"anyOf": [WHOLE, STRING]},
            "force": {"type": "boolean"},
            "name": STRING,
            "user": {},
        },
        "required": ["force", "user"],
    }


def test_parts_at_the_root_are_all_required():
    parts = [{"properties": {"a": STRING}, "required": ["a"]}, {"$ref": "#/$defs/b"}]
    schema = {"type": "object", "allOf": parts, "$defs": {"b": {"properties": {"b": WHOLE}, "required": ["b"]}}}
    assert parameters_for_model(schema)["required"] == ["a", "b"]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string"}, "not an object"),
        ({"type": ["string", "null"]}, "not an object"),
        ("text", "not an object"),
        ([], "not an object"),
        (False, "not an object"),
        ({"properties": {"x" * MOST_BYTES: STRING}}, "larger than"),
        ({"properties": {"a\u200bb": STRING}}, "invisible"),
    ],
)
def test_a_schema_that_no_model_can_use_says_why(schema, reason):
    with pytest.raises(SchemaUnusable, match=reason):
        parameters_for_model(schema)


def test_texts_inside_are_cleaned():
    assert shown(x={"type": "string", "description": "a\u202eb\u200b\U000e0041c\x1b"}) == {
        "x": {"type": "string", "description": "abc"}
    }


@given(ANY_JSON)
def test_anything_gives_a_plain_object_schema_or_a_reason(schema):
    try:
        result = parameters_for_model(schema)
    except SchemaUnusable:
        return
    text = json.dumps(result)
    assert result["type"] == "object"
    assert isinstance(result["properties"], dict)
    assert set(result.get("required", ())) <= set(result["properties"])
    assert len(text) <= MOST_BYTES * 2
    assert not {"anyOf", "oneOf", "allOf", "enum", "not", "$ref", "$defs"} & set(result)
