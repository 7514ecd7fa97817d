"""What a service may ask its person; forms that ask for secrets are declined."""

import pytest

from tom.conversation.elicitation import Elicitation, ElicitationAnswer
from tom.services.questions import completed, question_of_form, question_of_url, refusal_of

pytestmark = pytest.mark.promise("P9")


def form(message="Please fill in", **fields):
    return question_of_form(message, {"type": "object", "properties": fields, "required": list(fields)[:1]})


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    "question",
    [
        form(name=TEXT, email={"type": "string", "format": "email"}),
        form(city={"type": "string", "enum": ["Rome", "Oslo"]}),
        form(seats={"type": "integer"}, window={"type": "boolean"}),
        form(days={"type": "array", "items": {"type": "string", "enum": ["Mo", "Tu"]}}),
        form(titled={"type": "string", "oneOf": [{"const": "a", "title": "A"}]}),
        form("How many tokens may it cost?", prompt_tokens={"type": "integer"}),
        form(number={"type": "integer", "description": "Do NOT enter a pin number or other secrets"}),
        form("Reset the password of Ann?", sure={"type": "boolean"}),
        form("No password is needed.", reason=TEXT),
        form(name={"type": "string", "pattern": "^[a-z]+$", "minLength": 1, "maxLength": 5, "default": "x"}),
        form(seats={"type": "integer", "minimum": 1, "maximum": 2.5}),
        question_of_url("Log in", "https://login.example/start?state=1"),
    ],
)
def test_what_may_be_asked(question):
    assert refusal_of(question) is None


@pytest.mark.parametrize(
    "question",
    [
        form(password=TEXT),
        form(apiKey=TEXT),
        form(value={"type": "string", "format": "password"}),
        form(value={"type": "string", "title": "Your passphrase"}),
        form(value={"type": "string", "description": "The API key of your account"}),
        form(pin={"type": "integer"}),
        form(card_number=TEXT),
        form("Please enter your password", value=TEXT),
        form("What is your one-time code?", value=TEXT),
        form(first=TEXT, access_token=TEXT),
    ],
)
def test_a_secret_is_not_asked_for_in_a_form(question):
    assert "a secret in a form" in refusal_of(question)


@pytest.mark.parametrize(
    "question",
    [
        form(nested={"type": "object", "properties": {}}),
        form(free={"type": "array", "items": {"type": "string"}}),
        form(hidden={"type": "string", "enum": ["a\u200b"]}),
        form(**{"na\u202eme": TEXT}),
        form(odd={"type": ["string", "null"]}),
        form(n={"type": "string", "pattern": "("}),
        form(n={"type": "string", "pattern": "x" * 1001}),
        form(n={"type": "string", "pattern": 7}),
        form(n={"type": "number", "minimum": "x"}),
        form(n={"type": "number", "maximum": True}),
        form(n={"type": "string", "minLength": -1}),
        form(n={"type": "string", "maxLength": "9"}),
        form(n={"type": "string", "format": {}}),
        form(n={"type": "string", "enum": "text"}),
        form(n={"type": "string", "enum": []}),
        form(n={"type": "string", "oneOf": 7}),
        form(n={"type": "array", "items": {"enum": ["a"]}, "minItems": 1.5}),
        form(n={"type": "array", "items": {"enum": ["a"], "type": 7}}),
        form(n={"type": "array", "items": {"enum": [{"a": 1}]}}),
        form(no_schema="text"),
        form(**{f"field_{n}": TEXT for n in range(31)}),
        form(long={"type": "string", "enum": ["x" * 20_000]}),
    ],
)
def test_what_no_form_can_show_is_declined(question):
    assert refusal_of(question)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//example.com",
        "https://",
        "https://user:pw@example.com/",
        "https://exa\u200bmple.com/",
        "https://example.com/a b",
        "https://[::1",
        "https://example.com/" + "x" * 5000,
    ],
)
def test_an_address_that_cannot_be_opened_is_declined(url):
    assert refusal_of(question_of_url("Go there", url))


def test_choices_have_nothing_but_what_makes_them_choices():
    hostile = {"$ref": "http://169.254.169.254/", "pattern": "^(.|.)*!$", "allOf": [{"$ref": "#"}]}
    question = form(
        days={"type": "array", "items": {"enum": ["Mo"], **hostile}},
        day={"type": "string", "oneOf": [{"const": "Mo", "title": "Monday", **hostile}]},
    )
    assert refusal_of(question) is None
    assert question.schema["properties"] == {
        "days": {"type": "array", "items": {"enum": ["Mo"]}},
        "day": {"type": "string", "oneOf": [{"const": "Mo", "title": "Monday"}]},
    }


def test_texts_are_cleaned_and_cut_and_foreign_keywords_left_out():
    schema = {
        "properties": {"x": {"type": "string", "title": "T\u202eitle", "$ref": "#", "examples": [1]}},
        "$defs": {},
    }
    question = question_of_form("Say\u200b it" + "!" * 5000, schema)
    assert question.message.startswith("Say it!")
    assert len(question.message.encode()) <= 2048
    assert question.schema == {
        "type": "object",
        "properties": {"x": {"type": "string", "title": "Title"}},
        "required": [],
    }


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": None, "required": "x"}])
def test_an_odd_schema_is_a_form_without_fields(schema):
    assert question_of_form("x", schema).schema == {"type": "object", "properties": {}, "required": []}


def test_defaults_fill_what_was_left_out_of_an_accepted_form():
    question = form(a={"type": "string", "default": "one"}, b={"type": "integer", "default": 2})
    assert completed(question, ElicitationAnswer("accept", {"b": 3})).content == {"a": "one", "b": 3}
    assert completed(question, ElicitationAnswer("decline", {"b": 3})) == ElicitationAnswer("decline")
    assert completed(Elicitation("url", "x", url="https://x.y"), ElicitationAnswer("accept", {"b": 3})).content == {}
