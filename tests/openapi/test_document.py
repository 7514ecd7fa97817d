"""The document tells every operation, and what it tells holds together."""

import json
import re
from itertools import chain

import pytest
import schemathesis
from jsonschema import Draft202012Validator

from tom.openapi.document import document, rendered
from tom.openapi.faults import SENTENCES
from tom.openapi.operations import GATEWAY, OPERATIONS
from tom.policy.permissions import Scope

ROWS = (*OPERATIONS, *GATEWAY)


@pytest.fixture(scope="module")
def told():
    return document()


def operations(told):
    return {one["operationId"]: one for methods in told["paths"].values() for one in methods.values()}


def resolved(told, value):
    while isinstance(value, dict) and "$ref" in value:
        place = told
        for key in value["$ref"].removeprefix("#/").split("/"):
            place = place[key]
        value = place
    return value


def contents(told):
    """(where, schema, examples) of every body."""
    for name, one in operations(told).items():
        for kind, content in one.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {kind}", content["schema"], content.get("examples", {})
        for status, response in one["responses"].items():
            for kind, content in resolved(told, response).get("content", {}).items():
                yield f"{name} {status} {kind}", content["schema"], content.get("examples", {})


def test_every_row_is_told_at_its_method_and_path(told):
    shown = {
        (method.upper(), path): one["operationId"]
        for path, all_ in told["paths"].items()
        for method, one in all_.items()
    }
    assert shown == {(row.method, row.path): row.name for row in ROWS}


def test_every_parameter_of_a_path_is_told(told):
    for path, methods in told["paths"].items():
        for one in methods.values():
            named = {parameter["name"] for parameter in one.get("parameters", ()) if parameter["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path)), path


def test_every_body_has_an_example_and_every_example_fits(told):
    for where, schema, examples in contents(told):
        if "openmetrics" not in where:
            assert examples, where
        if "event-stream" in where:  # its schema is that of one event, its example shows several
            continue
        validator = Draft202012Validator({"components": told["components"], **schema})
        for example in examples.values():
            assert not [error.message for error in validator.iter_errors(example["value"])], where


def test_every_schema_is_one(told):
    for name, schema in told["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Za-z0-9]+", name)


def test_every_reference_leads_somewhere_and_nothing_is_left_over(told):
    found = set(re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(told)))
    for reference in found:
        assert resolved(told, {"$ref": reference}) is not None
    parts = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in told["components"][kind]
    }
    assert parts - found <= {"#/components/schemas/Frame"}


def test_links_lead_to_operations_that_take_what_they_carry(told):
    known = operations(told)
    links = [
        link
        for one in known.values()
        for response in one["responses"].values()
        for link in response.get("links", {}).values()
    ]
    led = {link["operationId"] for link in links}
    assert {"sendMessage", "getSession", "deleteSession", "listEvents", "retryRun", "stopRun", "answerApproval",
            "removeBypass"} <= led  # fmt: skip
    for link in links:
        takes = {parameter["name"] for parameter in known[link["operationId"]].get("parameters", ())}
        assert set(link.get("parameters", {})) <= takes, link


def test_what_needs_a_credential_says_which_and_what_without_it_comes(told):
    known = operations(told)
    for row in ROWS:
        security = known[row.name]["security"]
        if row.scope is None:
            assert security == []
            continue
        assert security
        assert {"401", "403", "421", "500"} <= set(known[row.name]["responses"]), row.name
        assert ({"admin": []} in security) == (row.scope is Scope.ADMIN)


def refusals(told, name, status):
    """The codes that an operation may answer with this status."""
    response = resolved(told, operations(told)[name]["responses"][status])
    return set(response["content"]["application/json"]["examples"])


def test_a_token_in_the_url_is_told_wherever_a_credential_is_needed(told):
    for row in ROWS:
        if row.scope is not None:
            assert "token_in_url" in refusals(told, row.name, "400"), row.name


def test_a_retry_takes_a_request_id_and_says_what_may_be_wrong_with_it(told):
    retry = operations(told)["retryRun"]
    body = resolved(told, retry["requestBody"]["content"]["application/json"]["schema"])
    assert set(body["properties"]) == {"request_id"}
    assert body["additionalProperties"] is False
    assert retry["requestBody"]["required"] is False
    assert "Idempotency-Key" in {one["name"] for one in retry["parameters"]}
    assert {"invalid_json", "request_id_conflict"} <= refusals(told, "retryRun", "400")
    assert "request_id_reused" in refusals(told, "retryRun", "409")
    assert "validation_error" in refusals(told, "retryRun", "422")


def test_a_ticket_may_be_refused_for_its_body(told):
    assert "invalid_json" in refusals(told, "createTicket", "400")


@pytest.mark.parametrize(
    "name", ["sendMessage", "getUsage", "listEvents", "exportSession", "reviewService", "addBypass"]
)
def test_a_validation_error_has_its_fields_and_other_codes_need_not(told, name):
    response = resolved(told, operations(told)[name]["responses"]["422"])
    schema = response["content"]["application/json"]["schema"]
    validator = Draft202012Validator({"components": told["components"], **schema})
    fields = [{"loc": ["query", "x"], "msg": "it is wrong", "type": "value_error"}]
    codes = schema["properties"]["error"]["properties"]["code"]["enum"]

    def fits(code, **more):
        return validator.is_valid({"error": {"code": code, "message": "x", **more}, "request_id": "r"})

    assert fits("validation_error", details={"errors": fields, "hint": "…"})
    assert not fits("validation_error")
    assert not fits("validation_error", details={})
    assert not fits("validation_error", details={"errors": []})
    assert all(fits(code) for code in codes if code != "validation_error")


def test_codes_of_examples_have_their_sentence(told):
    shown = set(re.findall(r'"code": ?"([a-z_]+)"', json.dumps(told)))
    derived = {"provider", "service", "resource", "prompt", "limit", "token", "tool", "too", "text", "metadata",
               "attachment", "invalid", "model", "managed", "changed", "unknown", "context"}  # fmt: skip
    assert not {code for code in shown - set(SENTENCES) if code.split("_")[0] not in derived}


def test_the_provider_cannot_be_chosen_or_seen(told):
    options = told["components"]["schemas"]["Options"]
    assert options["additionalProperties"] is False
    assert not {"provider", "base_url", "api_key", "headers", "system", "system_prompt"} & set(options["properties"])
    assert "provider" not in told["components"]["schemas"]["OpenedSession"]["properties"]


def test_the_document_is_one_that_tools_take():
    schema = schemathesis.openapi.from_dict(json.loads(rendered()))
    assert len(list(chain(schema.get_all_operations()))) == len(ROWS)
