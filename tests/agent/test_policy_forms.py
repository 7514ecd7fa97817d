"""Answers to the forms of services: checked in bounded time, whatever form a service sends."""

import time

import pytest

from tom.agent.answers import check_content
from tom.errors import InvalidAnswer


def form(**fields):
    return {"type": "object", "properties": fields, "required": list(fields)[:1]}


def errors_of(schema, content):
    with pytest.raises(InvalidAnswer) as refused:
        check_content(schema, content)
    return {error["field"]: error["message"] for error in refused.value.details["errors"]}


def test_what_fits_the_form_is_taken():
    schema = form(
        name={"type": "string", "pattern": "^[a-z]+$"},
        mail={"type": "string", "format": "email"},
        id={"type": "integer"},
    )
    check_content(schema, {"name": "ann", "mail": "ann@example.org", "id": 7})


def test_what_does_not_is_refused_by_field():
    schema = form(name={"type": "string", "pattern": "^[a-z]+$"}, mail={"type": "string", "format": "email"})
    found = errors_of(schema, {"name": "Ann 1", "mail": "nobody", "more": 1})
    assert found.keys() == {"name", "mail", "more"}
    assert found["more"] == "was not asked for"
    assert errors_of(schema, {}).keys() == {"name"}


@pytest.mark.promise("P23")
@pytest.mark.parametrize("pattern", ["^(.|.)*!$", "^(a+)+$", "(x+x+)+y"])
def test_a_pattern_that_would_take_for_ever_takes_no_time(pattern):
    started = time.monotonic()
    assert errors_of(form(name={"type": "string", "pattern": pattern}), {"name": "x" * 50_000}).keys() == {"name"}
    assert time.monotonic() - started < 2


@pytest.mark.promise("P23")
@pytest.mark.parametrize(
    "field",
    [{"pattern": "("}, {"minimum": "x"}, {"type": 7}, {"$ref": "http://127.0.0.1:9/"}, {"$ref": "#/properties/n"}, 7],
)
def test_a_form_that_is_itself_wrong_is_left_to_its_service(field):
    check_content(form(n=field), {"n": 1})
