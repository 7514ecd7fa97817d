"""Messages and what follows them: runs, events, frames of a stream."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.conversations import DIGEST, HISTORY, ID, NOW, SESSION, USAGE
from tom.openapi.describing import (
    EVENTS,
    Answer,
    Content,
    Link,
    Schema,
    Told,
    answered,
    closed,
    flag,
    header,
    in_path,
    listed,
    mapping,
    nullable,
    number,
    one_of,
    query,
    record,
    ref,
    shown,
    text,
    time,
    whole,
)

RUN: Final = "01K9ZQ4V3N7X1T5R9P2M6K8H4F"
SAID: Final = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
"""A text in which something can be seen."""

_REQUEST_ID: Final = text(
    "Makes a repetition one: the same id with the same content runs once.", pattern=r"^[A-Za-z0-9._:-]{1,128}$"
)
_NAME: Final = text(minLength=1, maxLength=256)

_ENCLOSED: Final[Mapping[str, Schema]] = {
    "Picture": closed({
        "type": {"const": "image"}, "media_type": one_of("image/png", "image/jpeg", "image/webp", "image/gif"),
        "data": text("Base64, 5 MiB at most.", contentEncoding="base64"),
    }, {"name": text(minLength=1, maxLength=200)}),
    "EnclosedText": closed({
        "type": {"const": "text"}, "name": text(minLength=1, maxLength=200),
        "data": text("5 MiB at most. The model is told that it is nobody's instruction.", minLength=1),
    }),
    "EnclosedResource": closed({
        "type": {"const": "resource"}, "service": text(minLength=1, maxLength=2048),
        "uri": text("A resource that `GET /resources` lists.", minLength=1, maxLength=2048),
    }),
}  # fmt: skip

SCHEMAS: Final[Mapping[str, Schema]] = {
    **_ENCLOSED,
    "Options": closed({}, {
        "model": text("A model of the active provider; not together with `level`.", minLength=1, maxLength=256),
        "level": one_of(0, 1, 2, of="integer", description="How hard it is; chooses the model."),
        "temperature": number(minimum=0, maximum=2), "top_p": number(minimum=0, maximum=1),
        "max_tokens": whole("The longest reply; at most what the settings allow.", minimum=1),
        "tool_name": text("A tool to be called first: `tool` or `service.tool`.", minLength=1, maxLength=256),
        "services": listed(text(), "Only tools of these services."), "thinking": one_of("off", "low", "high"),
    }),
    "NewMessage": closed({
        "content": text("What is said.", minLength=1, maxLength=200_000, pattern=SAID),
    }, {
        "role": one_of("user", "system", "assistant", description="Another than `user` needs the scope `roles`."),
        "memory_limit": whole("How many messages this prompt may have.", minimum=1), "options": ref("Options"),
        "request_id": _REQUEST_ID, "metadata": mapping("At most 16 KiB of JSON."),
        "attachments": listed(
            {"oneOf": [ref("Picture"), ref("EnclosedText"), ref("EnclosedResource")]}, maxItems=4
        ),
        "if_busy": one_of("queue", "reject", "interrupt", description="What to do while a run is active."),
    }),
    "Reply": record({
        "session_id": text(),
        "message": record({
            "role": {"const": "assistant"}, "content": text(), "created_at": time(),
            "metadata": record({
                "finish_reason": one_of(
                    "stop", "length", "tool_limit_reached", "content_filter", "cancelled", "tool_calls"
                ), "run_id": text(), "seq": whole(minimum=1), "cached": flag("A repetition: the model was not asked again."),
            }, {"dropped_options": listed(text(), "Options that the model does not support.")}, additionalProperties=True),
        }),
        "usage": ref("Usage"), "history": listed(ref("HistoryMessage"), "The window; no instructions."),
    }),
    "Unfinished": record({
        "session_id": text(), "run_id": text(), "status": one_of("waiting", "running", "queued"), "seq": whole(minimum=0),
    }, {"approval": ref("Approval"), "elicitation": ref("Elicitation")}),
    "Retry": closed({}, {"request_id": _REQUEST_ID}),
    "Stopped": record({"stopped": flag(), "run_id": nullable(text())}),
    "Stop": closed({}, {
        "run_id": text("This run only; otherwise the active one.", pattern=r"^[A-Za-z0-9._:-]{1,128}$"),
        "queued": flag("Drop what is waiting, too."),
    }),
    "ToolCall": record({
        "id": text(), "type": {"const": "function"}, "function": record({"name": text(), "arguments": text()}),
    }),
    "Event": record({
        "id": text(), "conversation_id": text(), "seq": whole(minimum=1), "timestamp": time(),
        "type": text("Such as `message.received`, `model.replied`, `tool.called`, `run.completed`."),
        "role": nullable(text()), "content": nullable(text()), "tool_calls": nullable(listed(ref("ToolCall"))),
        "tool_call_id": nullable(text()), "model": nullable(text()),
        "usage": nullable(ref("Usage")), "extra": nullable(mapping()), "token_count": nullable(whole(minimum=0)),
        "request_id": nullable(text()),
    }),
    "EventList": record({
        "session_id": text(), "events": listed(ref("Event")), "first_seq": whole(minimum=0), "last_seq": whole(minimum=0),
        "next_after": whole("The value of `after` that goes on from here.", minimum=0),
        "epoch": text("Another epoch than before: begin again at 0."),
    }),
    "Frame": record({"status": one_of("accepted", "processing", "chunk", "event", "complete", "error")}, {
        "request_id": nullable(text()), "conversation_id": text(), "run_id": text(), "seq": whole(minimum=1),
        "durable": flag(), "queued": whole(minimum=0), "chunk": mapping(), "metadata": mapping(), "event": ref("Event"),
        "error": mapping(), "turn": whole(minimum=0), "attempt": whole(minimum=1), "offset": whole(minimum=0),
    }),
    "EventStream": record({"data": text("One `Frame` as JSON.")}, {
        "id": text("The seq of a stored event."),
        "event": one_of("accepted", "processing", "chunk", "event", "complete", "error"), "retry": whole(),
    }, description=(
        "One of the server-sent events; a comment `: ping` comes every 15 s. The last one is `complete` or `error`, or "
        "`processing` with a chunk of type `waiting`."
    )),
}  # fmt: skip

_STREAM: Final = (
    f'id: 2\nevent: accepted\ndata: {{"request_id":"r1","status":"accepted","conversation_id":"{ID}",'
    f'"run_id":"{RUN}","seq":2,"durable":true,"queued":0}}\n\n'
    'event: chunk\ndata: {"request_id":"r1","status":"chunk","chunk":{"type":"text","data":"The Aras",'
    f'"metadata":{{"type":"delta","hop":0}}}},"conversation_id":"{ID}","run_id":"{RUN}","turn":0,"attempt":1,'
    '"offset":0}\n\n'
)
_REPLY: Final[Mapping[str, Any]] = {
    "session_id": ID,
    "message": {
        "role": "assistant", "content": "The Aras, 1.1 kg.", "created_at": NOW,
        "metadata": {"finish_reason": "stop", "run_id": RUN, "seq": 5, "cached": False},
    },
    "usage": USAGE, "history": list(HISTORY),
}  # fmt: skip
_WAITING: Final[Mapping[str, Any]] = {
    "session_id": ID, "run_id": RUN, "status": "waiting", "seq": 6,
    "approval": {
        "approval_id": "01K9ZQ4W0A", "run_id": RUN, "conversation_id": ID, "service": "shop", "tool": "order",
        "class": "write_external", "arguments": {"product": 7}, "arguments_digest": f"sha256:{DIGEST}",
        "reason": "It writes outside of Tom.", "tainted": False, "asked_at": NOW, "expires_at": None,
    },
}  # fmt: skip
_RUNNING: Final[Mapping[str, Any]] = {"session_id": ID, "run_id": RUN, "status": "running", "seq": 2}
EVENT: Final[Mapping[str, Any]] = {
    "id": ID, "conversation_id": ID, "seq": 5, "timestamp": NOW, "type": "model.replied", "role": "assistant",
    "content": "The Aras, 1.1 kg.", "tool_calls": None, "tool_call_id": None, "model": "gpt-4.1", "usage": USAGE,
    "extra": {"run_id": RUN, "turn": 0, "attempt": 1, "finish_reason": "stop"}, "token_count": 15, "request_id": None,
}  # fmt: skip
_EVENT_LIST: Final[Mapping[str, Any]] = {
    "session_id": ID, "events": [EVENT], "first_seq": 1, "last_seq": 6, "next_after": 5, "epoch": "e1",
}  # fmt: skip

_FAILURES: Final[Mapping[int, tuple[str, ...]]] = {
    502: (
        "provider_error", "provider_unreachable", "provider_rate_limited", "provider_refused", "provider_bad_request",
        "provider_bad_answer", "provider_empty", "provider_declined", "provider_too_large",
    ),
    503: ("provider_not_available",), 504: ("provider_timeout",), 507: ("storage_full",),
}  # fmt: skip
"""How a run may fail; the message is kept and may be retried."""

_RUN_LIMITS: Final = ("context_too_small", "limit_reached", "token_limit", "tool_limit", "too_many_asks")
_SESSION_OF_REPLY: Final = {"session_id": "$response.body#/session_id"}


def _links(run_id: str) -> tuple[Link, ...]:
    """Where a reply, or a run that goes on, leads; ``run_id``: where the answer has it."""
    run = {**_SESSION_OF_REPLY, "run_id": run_id}
    return (
        Link(name="events", operation="listEvents", text="Read what happened.", parameters=_SESSION_OF_REPLY),
        Link(name="stop", operation="stopRun", text="Stop it.", parameters=_SESSION_OF_REPLY, body={"run_id": run_id}),
        Link(name="retry", operation="retryRun", text="Answer it again, if it failed or was stopped.", parameters=run),
    )


_OUTCOMES: Final[Mapping[int, Answer]] = {
    200: Answer(
        text="The reply; as a stream where `Accept` asks for `text/event-stream`.",
        contents=(
            Content(schema=ref("Reply"), examples=(shown("reply", "An answer", _REPLY),)),
            Content(schema=ref("EventStream"), kind=EVENTS, examples=(shown("stream", "How it begins", _STREAM),)),
        ),
        links=_links("$response.body#/message/metadata/run_id"),
    ),
    202: Answer(
        text="The run goes on, or waits for a person: `GET /sessions/{session_id}/events` has the rest.",
        contents=(
            Content(
                schema=ref("Unfinished"),
                examples=(
                    shown("waiting", "A person is asked", _WAITING),
                    shown("running", "It takes its time", _RUNNING),
                ),
            ),
        ),
        links=_links("$response.body#/run_id"),
    ),
}
_PREFER: Final = header("Prefer", text(), "`respond-async`: answer 202 at once.")
_KEY: Final = header(
    "Idempotency-Key", text(pattern=r"^[A-Za-z0-9._:-]{1,128}$"), "The same as `request_id`; both must agree."
)

TOLD: Final[Mapping[str, Told]] = {
    "sendMessage": Told(
        summary="Say something and get the reply",
        text="The message is stored before anything is answered. The run goes on when the client goes away; "
        "`request_id` makes a repetition safe. With `Accept: text/event-stream` the reply is streamed.",
        parameters=(SESSION, _KEY, _PREFER),
        body=Content(
            schema=ref("NewMessage"),
            examples=(
                shown("plain", "A question", {"content": "Which tent is the lightest?"}),
                shown("careful", "Safe to send again, answered briefly", {
                    "content": "Order it.", "request_id": "r1", "options": {"level": 0, "max_tokens": 200},
                }),
            ),
        ),
        body_required=True,
        answers=_OUTCOMES,
        refusals={
            400: (
                "invalid_memory_limit", "model_not_allowed", "tool_not_found", "tool_ambiguous", "option_conflict",
                "request_id_conflict",
            ),
            403: ("role_not_allowed", "option_not_allowed", "quota_exceeded"),
            404: ("session_not_found", "resource_not_found", "prompt_not_found"),
            409: ("request_id_reused", "conversation_busy", "queue_full", "session_elsewhere"),
            413: ("attachment_too_large",),
            422: (
                "text_too_long", "metadata_too_large", "invalid_attachment", "model_has_no_vision", "invalid_arguments",
                *_RUN_LIMITS,
            ),
            **_FAILURES,
        },
    ),
    "retryRun": Told(
        summary="Answer a message again",
        text="For a run that has failed or was stopped; there is no second message of the person. Options that came with it "
        "are the caller's to use as well.",
        parameters=(SESSION, in_path("run_id", "The run.", RUN), _KEY, _PREFER),
        body=Content(
            schema=ref("Retry"), examples=(shown("safe", "Safe to send again", {"request_id": "r2"}),),
        ),
        answers=_OUTCOMES,
        refusals={
            400: ("request_id_conflict",), 403: ("option_not_allowed", "quota_exceeded"),
            404: ("session_not_found", "run_not_found"), 409: ("run_not_retryable", "request_id_reused", "conversation_busy", "queue_full", "session_elsewhere"),
            422: _RUN_LIMITS,
            **_FAILURES,
        },
    ),
    "stopRun": Told(
        summary="Stop what runs",
        text="What was said so far is kept. To stop what does not run is no error.",
        parameters=(SESSION,),
        body=Content(
            schema=ref("Stop"),
            examples=(shown("all", "This, and what waits", {"queued": True}),),
        ),
        answers={
            200: answered(
                "Whether something was stopped.", ref("Stopped"),
                shown("stopped", "Stopped", {"stopped": True, "run_id": RUN}),
                shown("idle", "Nothing ran", {"stopped": False, "run_id": None}),
            )
        },
        refusals={404: ("session_not_found", "run_not_found")},
    ),
    "listEvents": Told(
        summary="Read events, or follow them",
        text="Everything that happened, numbered without holes. `wait` holds the answer back until there is something "
        "new. With `Accept: text/event-stream` the answer stays open; `Last-Event-ID` says where to go on. Who has as many "
        "of them open as they may have sockets is refused with 429.",
        parameters=(
            SESSION,
            query("after", whole(minimum=0, default=0), "The last seq that the client has.", 0),
            query("limit", whole(minimum=1, maximum=2000, default=500), "How many at most.", 500),
            query("wait", whole(minimum=0, maximum=60, default=0), "Seconds to wait for the next one.", 0),
            header("Last-Event-ID", text(), "The same as `after`, for a stream that goes on."),
        ),
        answers={
            200: Answer(
                text="The events after `after`.",
                contents=(
                    Content(schema=ref("EventList"), examples=(shown("list", "One event", _EVENT_LIST),)),
                    Content(schema=ref("EventStream"), kind=EVENTS, examples=(shown("stream", "A stream", _STREAM),)),
                ),
            )
        },
        refusals={404: ("session_not_found",), 422: ("validation_error", "after_out_of_range")},
    ),
}  # fmt: skip
