"""Errors: what each code means, which follow from an operation's row alone, and their shape in either dialect."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tom.openapi.describing import Schema, Told, listed, mapping, number, one_of, record, ref, text
from tom.openapi.operations import Dialect, Operation, Rate

WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
CHANGING: Final = WITH_BODY | {"DELETE"}
VALIDATION: Final = "validation_error"

STATUSES: Final[Mapping[int, str]] = {
    400: "The request contradicts itself or the settings, or is no JSON",
    401: "No credential, or not a valid one",
    403: "The credential does not reach this far, or this is not allowed",
    404: "It does not exist, or belongs to somebody else: the answer is the same",
    409: "It contradicts what is there",
    410: "The time for it is over",
    413: "The request is too large",
    415: "The body is no `application/json`",
    421: "The `Host` is none of this server's",
    422: "The request is not valid",
    429: "Too many requests; wait `retry_after` seconds",
    500: "A defect: the log has more under the request's id",
    502: "The language model, or the agent, failed",
    503: "Not at the moment; try again after `Retry-After` seconds",
    504: "The language model, or the agent, did not answer in time",
    507: "The disk is full: nothing was stored, reading goes on",
}

SENTENCES: Final[Mapping[str, str]] = {
    "admin_disabled": "The admin routes are off: no ADMIN_TOKEN is set.",
    "after_out_of_range": "'after' is not a sequence number of this conversation.",
    "agent_failed": "Backend service failed for user alice",
    "agent_timeout": "Backend service timed out for user alice",
    "agent_unavailable": "Backend service unavailable for user alice",
    "already_answered": "This was answered already.",
    "approval_not_found": "There is no such approval.",
    "archive_unavailable": "The archive cannot be reached.",
    "arguments_changed": "These are not the arguments that were asked about; look at the ask again.",
    "attachment_too_large": "attachments[0] is larger than 5242880 bytes.",
    "authentication_required": "Authentication required",
    "bypass_not_found": "This address is not on the list.",
    "conflicting_credentials": "Two credentials were given, and they are not the same.",
    "context_too_small": "The message does not fit into the model's context.",
    "conversation_busy": "A run is active in this conversation.",
    "elicitation_not_found": "There is no such question.",
    "expired": "The time to answer this is over.",
    "internal_error": "Internal error.",
    "invalid_admin_token": "The admin token is wrong.",
    "invalid_answer": "The answer does not fit what was asked.",
    "invalid_cursor": "'before' is not a cursor of an earlier page.",
    "invalid_date": "A date is RFC 3339 or YYYY-MM-DD, and the first is not after the last.",
    "invalid_field": "This setting cannot be changed here.",
    "invalid_format": "'format' must be prometheus.",
    "invalid_ip": "This is no address or network.",
    "invalid_json": "Request body is not valid JSON",
    "invalid_limit": "'limit' must be a whole number from 1 to 200.",
    "invalid_memory_limit": "The memory limit is greater than what is allowed.",
    "invalid_offset": "'offset' must be a whole number of at least 0.",
    "invalid_request": "The request is not valid.",
    "invalid_token": "This credential is not valid.",
    "invalid_value": "The value does not fit this setting.",
    "missing_admin_token": "The header X-Admin-Token is missing.",
    "model_not_allowed": "The model 'x' cannot be chosen.",
    "model_not_found": "There is no model 'x'.",
    "network_too_wide": "A network of the list is at most a /16, or a /48 of IPv6.",
    "not_found": "Not found.",
    "not_supervised": "Nothing would start Tom again.",
    "option_conflict": "'model' and 'level' exclude each other.",
    "option_not_allowed": "This option may not be used.",
    "origin_not_allowed": "Cross-site request refused",
    "payload_too_large": "The request body is too large.",
    "private_conversations": "An admin cannot read the conversations of others.",
    "provider_error": "The language model is unavailable.",
    "queue_full": "Too many requests are waiting in this conversation.",
    "quota_exceeded": "Your daily limit is reached.",
    "rate_limited": "Too many requests; wait a moment.",
    "request_id_conflict": "'request_id' and the header 'Idempotency-Key' differ.",
    "request_id_reused": "This request_id was used for a different request.",
    "role_not_allowed": "This role may not be used.",
    "run_not_found": "There is no such run.",
    "run_not_retryable": "Only a failed or cancelled run can be retried.",
    "scope_missing": "Token lacks scope 'chat'",
    "session_elsewhere": "Another process works on this session at the moment.",
    "session_not_found": "There is no such session.",
    "shutting_down": "Tom is restarting; send the message again in a moment.",
    "storage_full": "The message was not stored: the disk is full.",
    "storage_unavailable": "The message was not stored: the history cannot be written.",
    "token_in_url": "Tokens are not accepted in the URL",
    "tool_ambiguous": "Several services have a tool of this name; name the service too.",
    "tool_not_found": "There is no such tool.",
    "unsupported_media_type": "Content-Type must be application/json.",
    "unsupported_parameter": "'functions' is not supported.",
    "conversation_conflict": "'metadata.conversation_id' and the header 'X-Tom-Conversation' differ.",
    "unexpected_result": "The result of a call that nobody waits for.",
    "answer_pending": "The answer is not there yet; the run goes on.",
    "deadline": "The run took longer than allowed.",
    "validation_error": "Request validation failed: content: field required",
    "wrong_host": "Unknown host",
}
"""Code -> the sentence of an example. A code that is not here is told by its own name."""

_TYPES: Final[Mapping[int, str]] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def from_row(operation: Operation, *, takes_body: bool) -> dict[int, tuple[str, ...]]:
    """Status -> codes that an operation may answer for what its row says, and for a body that does not fit."""
    found: dict[int, tuple[str, ...]] = {421: ("wrong_host",), 500: ("internal_error",)}
    if operation.path.startswith("/admin/"):
        found[401] = ("missing_admin_token", "invalid_admin_token", "invalid_token", "conflicting_credentials")
        found[403] = ("scope_missing",)
        found[429] = ("rate_limited",)
        found[503] = ("admin_disabled", "shutting_down")
    elif operation.dialect is Dialect.TOM:
        found |= {401: ("authentication_required",), 403: ("scope_missing",), 503: ("shutting_down",)}
    elif operation.scope is not None:
        found[401] = ("authentication_required", "invalid_token", "conflicting_credentials")
        found[403] = ("scope_missing",)
        found[503] = ("shutting_down", "storage_unavailable")
        if not operation.house:
            found[502] = ("agent_failed",)
            found[503] = ("agent_unavailable", "shutting_down", "storage_unavailable")
            found[504] = ("agent_timeout",)
    if operation.scope is not None and operation.method in CHANGING:
        found[403] = (*found.get(403, ()), "origin_not_allowed")
    if operation.scope is not None:
        found[400] = ("token_in_url",)
    if operation.rate is not Rate.NONE:
        found[429] = ("rate_limited",)
    if operation.method in WITH_BODY:
        found |= {413: ("payload_too_large",), 415: ("unsupported_media_type",)}
    if takes_body:
        found[400] = (*found.get(400, ()), "invalid_json")
        found |= {} if operation.dialect is Dialect.TOM else {422: (VALIDATION,)}
    return found


def refusals_of(operation: Operation, told: Told) -> dict[int, tuple[str, ...]]:
    """Status -> all codes of it, those of the row and the operation's own, in the order of statuses."""
    row = from_row(operation, takes_body=told.body is not None)
    joined = {status: dict.fromkeys(codes) for status, codes in row.items()}
    for status, codes in told.refusals.items():
        joined.setdefault(status, {}).update(dict.fromkeys(codes))
    return {status: tuple(joined[status]) for status in sorted(joined)}


def fault_schema(status: int, codes: Iterable[str], dialect: Dialect) -> Schema:
    """The body of an error of this status, its codes named."""
    named = one_of(*codes)
    if dialect is Dialect.OPENAI:
        return _completion_fault(status, named)
    if dialect is Dialect.TOM:
        return record(
            {"status": {"const": "ERROR"}, "message": text(), "request_id": text()}, additionalProperties=True
        )
    if status == 429:
        return record({"error": one_of("rate_limited"), "retry_after": number("Seconds.", minimum=0)})
    told = record({"code": named, "message": text()}, {"details": mapping()}, **_with_fields(codes))
    return record({"error": told, "request_id": text()})


def _with_fields(codes: Iterable[str]) -> Schema:
    """A ``validation_error`` says which fields do not fit; other codes of its status need not."""
    if VALIDATION not in codes:
        return {}
    named: Schema = {"required": ["details"], "properties": {"details": ref("FieldErrors")}}
    return {"if": {"properties": {"code": {"const": VALIDATION}}}, "then": named}


def fault_example(status: int, code: str, dialect: Dialect) -> Any:
    """Such a body."""
    message = SENTENCES.get(code, code.replace("_", " ").capitalize() + ".")
    if dialect is Dialect.OPENAI:
        error = {"message": message, "type": fault_type(status), "param": None, "code": code}
        more = {"retry_after": 2.0} if status == 429 else {}
        return {"error": error, **more, "request_id": REQUEST_ID}
    if dialect is Dialect.TOM:
        return {"status": "ERROR", "message": message.removesuffix("."), "request_id": REQUEST_ID}
    if status == 429:
        return {"error": "rate_limited", "retry_after": 2.0}
    error: dict[str, Any] = {"code": code, "message": message}
    if code == VALIDATION:
        error["details"] = {"errors": [{"loc": ["body", "content"], "msg": "field required", "type": "missing"}]}
    return {"error": error, "request_id": REQUEST_ID}


def fault_type(status: int) -> str:
    """The ``type`` that OpenAI's clients expect."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _completion_fault(status: int, named: Schema) -> Schema:
    error = record({
        "message": text(), "type": one_of(fault_type(status)), "param": {"type": ["string", "null"]}, "code": named,
    })  # fmt: skip
    if status == 429:
        return record({"error": error, "request_id": text(), "retry_after": number("Seconds.", minimum=0)})
    return record({"error": error, "request_id": text()})


REQUEST_ID: Final = "01K9ZQ4T8M5Y7W2E6R3A1B0C9D"

FIELD_ERRORS: Final[Schema] = record(
    {
        "errors": listed(
            record({"loc": listed({"type": ["string", "integer"]}), "msg": text(), "type": text()}), minItems=1
        )
    },
    additionalProperties=True,
)
"""``details`` of a ``validation_error``: which fields, and why. The body itself is never repeated."""
