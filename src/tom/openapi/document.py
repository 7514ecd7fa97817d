"""The OpenAPI 3.1 document: the table of operations, and what is told beside it, as one value."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from tom.openapi import admin, asks, completions, conversations, house, messages, own, tokens
from tom.openapi.describing import JSON, Answer, Content, Link, Parameter, Told
from tom.openapi.faults import STATUSES, fault_example, fault_schema, refusals_of
from tom.openapi.operations import GATEWAY, OPERATIONS, Dialect, Operation
from tom.openapi.prose import GROUPS, INTRODUCTION

VERSION: Final = "1.0"
"""Of the door, not of the program: everybody may read this."""

_PARTS: Final[Mapping[str, Any]] = {
    "Sessions": conversations, "Messages": messages, "Asks": asks, "Own": own, "Completions": completions,
    "Tokens": tokens, "House": house, "Admin": admin,
}  # fmt: skip
_CREDENTIALS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API token: `tom_…`."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same token."},
    "login": {
        "type": "apiKey", "in": "cookie", "name": "__Host-tom",
        "description": "A login's cookie; `tom_login` on the loopback listener.",
    },
    "admin": {"type": "apiKey", "in": "header", "name": "X-Admin-Token", "description": "The operator's token."},
}  # fmt: skip
_REQUEST_ID: Final = {
    "description": "The request's id: the client's own where it sent one.", "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
}  # fmt: skip
_RETRY_AFTER: Final = {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}
_LIMITED: Final = frozenset({429, 503})


@cache
def rendered() -> bytes:
    """The document as ``/openapi.json`` answers it."""
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


def document() -> dict[str, Any]:
    """The document, made anew."""
    responses: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for operation in (*OPERATIONS, *GATEWAY):
        group, told = _told(operation)
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, group, told, responses)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tom", "version": VERSION, "description": INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in GROUPS],
        "paths": paths,
        "components": {
            "schemas": {name: schema for part in _PARTS.values() for name, schema in part.SCHEMAS.items()},
            "responses": dict(sorted(responses.items())),
            "headers": {"X-Request-ID": _REQUEST_ID, "Retry-After": _RETRY_AFTER},
            "securitySchemes": dict(_CREDENTIALS),
        },
    }


def _told(operation: Operation) -> tuple[str, Told]:
    """The group of an operation and what is told of it. KeyError: its row has no text."""
    for group, part in _PARTS.items():
        if operation.name in part.TOLD:
            return group, part.TOLD[operation.name]
    raise KeyError(operation.name)


def _operation(operation: Operation, group: str, told: Told, responses: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [group],
        "summary": told.summary,
        "description": told.text,
        "security": _security(operation),
    }
    if told.parameters:
        shown["parameters"] = [_parameter(parameter) for parameter in told.parameters]
    if told.body is not None:
        shown["requestBody"] = {"required": told.body_required, "content": _contents([told.body])}
    answers = {str(status): _answer(answer) for status, answer in told.answers.items()}
    return shown | {"responses": answers | _refusals(operation, told, responses)}


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.scope is None:
        return []
    if operation in GATEWAY:
        return [{"login": []}]
    ways = [[str(scope) for scope in way] for way in operation.alternatives]
    admin = [{"admin": list[str]()}] if operation.path.startswith("/admin/") else []
    shown = [{name: scopes} for scopes in ways for name in ("bearer", "key")]
    return [*admin, *shown, {"login": []}]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.text,
        "schema": parameter.schema,
    }
    if parameter.where == "path":
        shown["required"] = True
    return shown if parameter.example is None else shown | {"example": parameter.example}


def _contents(contents: Sequence[Content]) -> dict[str, Any]:
    return {content.kind: _content(content) for content in contents}


def _content(content: Content) -> dict[str, Any]:
    examples = {one.name: {"summary": one.summary, "value": one.value} for one in content.examples}
    return {"schema": content.schema, **({"examples": examples} if examples else {})}


def _answer(answer: Answer) -> dict[str, Any]:
    headers = {name: {"description": text, "schema": schema} for name, (schema, text) in answer.headers.items()}
    shown: dict[str, Any] = {
        "description": answer.text,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}, **headers},
    }
    if answer.contents:
        shown["content"] = _contents(answer.contents)
    if answer.links:
        shown["links"] = {link.name: _link(link) for link in answer.links}
    return shown


def _link(link: Link) -> dict[str, Any]:
    shown: dict[str, Any] = {"operationId": link.operation, "description": link.text}
    if link.parameters:
        shown["parameters"] = dict(link.parameters)
    return shown if link.body is None else shown | {"requestBody": link.body}


def _refusals(operation: Operation, told: Told, responses: dict[str, Any]) -> dict[str, Any]:
    """References to the errors of an operation; each different one is kept once in ``responses``."""
    found: dict[str, Any] = {}
    for status, codes in refusals_of(operation, told).items():
        if status in told.answers:
            continue
        name = f"E{status}.{operation.name}" if len(codes) > 2 else f"E{status}.{'.'.join(codes)}"
        name = name if operation.dialect is Dialect.CHAT else f"{name}.{operation.dialect}"
        responses[name] = _fault(operation, status, codes)
        found[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return found


def _fault(operation: Operation, status: int, codes: Sequence[str]) -> dict[str, Any]:
    headers = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
    if status in _LIMITED:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    examples = {
        code: {"summary": code, "value": fault_example(status, code, operation.dialect)}
        for code in dict.fromkeys(codes)
    }
    body = {"schema": fault_schema(status, codes, operation.dialect), "examples": examples}
    return {"description": f"{STATUSES[status]}.", "headers": headers, "content": {JSON: body}}
