"""Asks: what waits for a person, and their answers."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.conversations import DIGEST, ID, NOW
from tom.openapi.describing import (
    Content,
    Link,
    Schema,
    Told,
    answered,
    closed,
    flag,
    in_path,
    listed,
    mapping,
    nullable,
    one_of,
    record,
    ref,
    shown,
    text,
    time,
)
from tom.openapi.messages import RUN

APPROVAL: Final = "01K9ZQ4W0A2C4E6G8J0K2M4N6P"
ELICITATION: Final = "01K9ZQ4X1B3D5F7H9J1K3M5N7Q"

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Approval": record({
        "approval_id": text(), "run_id": text(), "conversation_id": text(), "service": text(), "tool": text(),
        "class": text("What such a call can do."), "reason": text("Why somebody is asked."),
        "arguments_digest": text("To be sent back with the answer."),
        "tainted": flag("The run has read what no trusted party wrote."), "asked_at": time(),
        "expires_at": nullable(time()),
    }, {"arguments": mapping("Secrets are masked.")}, additionalProperties=True),
    "Elicitation": record({
        "elicitation_id": text(), "run_id": text(), "service": text(), "mode": one_of("form", "url"),
        "asked_at": time(), "expires_at": nullable(time()),
    }, {"conversation_id": text(), "message": text(), "schema": mapping("What the content must fit."), "url": text()},
        additionalProperties=True),
    "ApprovalList": record({"approvals": listed(ref("Approval"))}),
    "ElicitationList": record({"elicitations": listed(ref("Elicitation"))}),
    "Decision": closed({
        "decision": one_of("allow", "deny"),
        "arguments_digest": text("The digest that was shown.", minLength=1, maxLength=128),
    }, {
        "arguments": nullable(mapping("Edited arguments: they are what runs. Only with `allow`.")),
        "note": text("For the record.", maxLength=500, pattern=r"^[^\u0000]*$"),
        "remember": one_of("once", "conversation"),
    }),
    "Decided": record({
        "approval_id": text(), "decision": one_of("allow", "deny"), "answered_at": time(),
    }, additionalProperties=True),
    "AnswerToService": closed({"outcome": one_of("accept", "decline", "cancel")}, {
        "content": nullable(mapping("What the service asked for. Only with `accept`.")),
    }),
    "Answered": record({
        "elicitation_id": text(), "outcome": one_of("accept", "decline", "cancel"), "answered_at": time(),
    }, additionalProperties=True),
}  # fmt: skip

_APPROVAL: Final[Mapping[str, Any]] = {
    "approval_id": APPROVAL, "run_id": RUN, "conversation_id": ID, "service": "shop", "tool": "order",
    "class": "write_external", "arguments": {"product": 7}, "arguments_digest": f"sha256:{DIGEST}",
    "reason": "It writes outside of Tom.", "tainted": False, "asked_at": NOW, "expires_at": "2026-11-24T17:05:00.123Z",
}  # fmt: skip
_ELICITATION: Final[Mapping[str, Any]] = {
    "elicitation_id": ELICITATION, "run_id": RUN, "conversation_id": ID, "service": "shop", "mode": "form",
    "message": "Where shall it go?", "schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "asked_at": NOW, "expires_at": "2026-11-24T17:05:00.123Z",
}  # fmt: skip
_CLOSED: Final = ("already_answered",)

TOLD: Final[Mapping[str, Told]] = {
    "listApprovals": Told(
        summary="What waits for a yes",
        text="Oldest first. A call is shown with its arguments; secrets among them are masked.",
        answers={
            200: answered(
                "The open approvals.", ref("ApprovalList"), shown("one", "One", {"approvals": [_APPROVAL]}),
                links=(Link(
                    name="answer",
                    operation="answerApproval",
                    text="Allow or deny it.",
                    parameters={"approval_id": "$response.body#/approvals/0/approval_id"},
                    body={
                        "decision": "deny", "arguments_digest": "$response.body#/approvals/0/arguments_digest",
                    },
                ),),
            )
        },
    ),
    "answerApproval": Told(
        summary="Allow or deny a call",
        text="The first answer counts, from whichever device. The digest binds it to the arguments that were shown.",
        parameters=(in_path("approval_id", "The approval.", APPROVAL),),
        body=Content(
            schema=ref("Decision"),
            examples=(
                shown("allow", "Once", {"decision": "allow", "arguments_digest": f"sha256:{DIGEST}"}),
                shown("deny", "With a reason", {
                    "decision": "deny", "arguments_digest": f"sha256:{DIGEST}", "note": "Too expensive.",
                }),
            ),
        ),
        body_required=True,
        answers={200: answered(
            "It is recorded.", ref("Decided"),
            shown("allowed", "Allowed", {"approval_id": APPROVAL, "decision": "allow", "answered_at": NOW}),
        )},
        refusals={
            404: ("approval_not_found",), 409: (*_CLOSED, "arguments_changed"), 410: ("expired",),
            422: ("invalid_answer",), 507: ("storage_full",),
        },
    ),
    "listElicitations": Told(
        summary="What services ask",
        text="Oldest first. `schema` is what the answer must fit.",
        answers={
            200: answered(
                "The open questions.", ref("ElicitationList"), shown("one", "One", {"elicitations": [_ELICITATION]}),
                links=(Link(
                    name="answer",
                    operation="answerElicitation",
                    text="Answer it.",
                    parameters={"elicitation_id": "$response.body#/elicitations/0/elicitation_id"},
                    body={"outcome": "decline"},
                ),),
            )
        },
    ),
    "answerElicitation": Told(
        summary="Answer a service's question",
        text="With `accept` the content must fit the schema that was asked; the question stays open when it does not.",
        parameters=(in_path("elicitation_id", "The question.", ELICITATION),),
        body=Content(
            schema=ref("AnswerToService"),
            examples=(
                shown("accept", "An answer", {"outcome": "accept", "content": {"city": "Shiraz"}}),
                shown("decline", "None", {"outcome": "decline"}),
            ),
        ),
        body_required=True,
        answers={200: answered(
            "It is recorded.", ref("Answered"),
            shown("answered", "Answered", {"elicitation_id": ELICITATION, "outcome": "accept", "answered_at": NOW}),
        )},
        refusals={
            404: ("elicitation_not_found",), 409: _CLOSED, 410: ("expired",), 422: ("invalid_answer",),
            507: ("storage_full",),
        },
    ),
}  # fmt: skip
