"""The OpenAI-compatible door: models, and chat completions with Tom's own tools behind them."""

from collections.abc import Mapping
from typing import Any, Final

from tom.openapi.conversations import ID
from tom.openapi.describing import (
    EVENTS,
    Answer,
    Content,
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
    record,
    ref,
    shown,
    text,
    whole,
)
from tom.openapi.messages import RUN

_CONTENT: Final[Schema] = {"anyOf": [
    text(),
    listed({"anyOf": [
        record({"type": {"const": "text"}, "text": text()}),
        record({"type": {"const": "image_url"}, "image_url": record({"url": text("`data:` only.")}, {"detail": text()})}),
    ]}),
    {"type": "null"},
]}  # fmt: skip
_FUNCTION: Final = record({"name": text(pattern=r"^[A-Za-z0-9_-]{1,64}$")}, {
    "description": text(), "parameters": mapping("A JSON schema."), "strict": nullable(flag()),
})  # fmt: skip

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Model": record({"id": text(), "object": {"const": "model"}, "created": whole(), "owned_by": text()}),
    "ModelList": record({"object": {"const": "list"}, "data": listed(ref("Model"))}),
    "ChatMessage": record({"role": one_of("system", "developer", "user", "assistant", "tool")}, {
        "content": _CONTENT, "name": text(), "tool_calls": listed(ref("ToolCall")), "tool_call_id": text(),
    }),
    "ClientTool": record({"type": {"const": "function"}, "function": _FUNCTION}),
    "ChatCompletionRequest": closed({
        "model": text("`tom`: Tom chooses; `tom-0`, `tom-1`, `tom-2`: a level; or an allowed model.", minLength=1),
        "messages": listed(ref("ChatMessage"), minItems=1),
    }, {
        "stream": nullable(flag()), "stream_options": nullable(record({}, {"include_usage": flag()})),
        "temperature": nullable(number(minimum=0, maximum=2)), "top_p": nullable(number(minimum=0, maximum=1)),
        "max_tokens": nullable(whole(minimum=1)), "max_completion_tokens": nullable(whole(minimum=1)),
        "stop": {"anyOf": [text(), listed(text(), maxItems=4), {"type": "null"}]}, "seed": nullable(whole()),
        "tools": nullable(listed(ref("ClientTool"), maxItems=128)),
        "tool_choice": {"anyOf": [
            one_of("none", "auto", "required"),
            record({"type": {"const": "function"}, "function": record({"name": text()})}), {"type": "null"},
        ]},
        "parallel_tool_calls": nullable(flag()), "response_format": nullable(mapping()),
        "user": nullable(text("Recorded; never who is calling.")),
        "metadata": nullable(mapping("`conversation_id`: go on there; then only what is new in `messages` counts.")),
        "n": nullable({"const": 1, "type": "integer"}),
    }),
    "CompletionUsage": record({
        "prompt_tokens": whole(minimum=0), "completion_tokens": whole(minimum=0), "total_tokens": whole(minimum=0),
    }, additionalProperties=True),
    "ChatCompletion": record({
        "id": text(), "object": {"const": "chat.completion"}, "created": whole(), "model": text(),
        "choices": listed(record({
            "index": whole(), "message": record({"role": {"const": "assistant"}, "content": nullable(text())}, {
                "tool_calls": listed(ref("ToolCall")), "refusal": nullable(text()),
            }),
            "finish_reason": one_of("stop", "length", "tool_calls", "content_filter"), "logprobs": {"type": "null"},
        }), minItems=1, maxItems=1),
        "usage": ref("CompletionUsage"),
        "tom": record({"conversation_id": text(), "run_id": text(), "status": text()}, {
            "approval_id": text(), "elicitation_id": text(),
        }, additionalProperties=True),
    }, additionalProperties=True),
    "CompletionStream": record({"data": text("One chunk as JSON; at the end `[DONE]`.")}, {"event": text()}, description=(
        "One of the server-sent events: chunks of `chat.completion.chunk`, the first with the role, the last with "
        "`finish_reason`, one with the usage where it was asked for; a comment `: ping` comes every 15 s."
    )),
}  # fmt: skip

_MODEL: Final[Mapping[str, Any]] = {"id": "tom", "object": "model", "created": 1795280700, "owned_by": "tom"}
_COMPLETION: Final[Mapping[str, Any]] = {
    "id": f"chatcmpl-{RUN}", "object": "chat.completion", "created": 1795280700, "model": "tom",
    "choices": [{
        "index": 0, "message": {"role": "assistant", "content": "The Aras, 1.1 kg."}, "finish_reason": "stop",
        "logprobs": None,
    }],
    "usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42},
    "tom": {"conversation_id": ID, "run_id": RUN, "status": "completed"},
}  # fmt: skip
_STREAM: Final = (
    f'data: {{"id":"chatcmpl-{RUN}","object":"chat.completion.chunk","created":1795280700,"model":"tom","choices":'
    '[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    "data: [DONE]\n\n"
)

TOLD: Final[Mapping[str, Told]] = {
    "listModels": Told(
        summary="The models",
        text="`tom` chooses by itself how hard a question is; `tom-0` to `tom-2` say it; others as the settings allow.",
        answers={200: answered("They are these.", ref("ModelList"), shown("list", "The first", {
            "object": "list", "data": [_MODEL],
        }))},
    ),
    "getModel": Told(
        summary="One model",
        text="Whether it may be asked for.",
        parameters=(in_path("model", "Its id.", "tom"),),
        answers={200: answered("It is this.", ref("Model"), shown("tom", "Tom", _MODEL))},
        refusals={404: ("model_not_found",)},
    ),
    "createChatCompletion": Told(
        summary="Complete a chat",
        text="Tom's own tools run inside, under its policy; calls of tools that the client brought are handed back. "
        "Without a conversation the call stands alone and is kept for a day.",
        parameters=(
            header("X-Tom-Conversation", text(pattern=r"^[A-Za-z0-9._:-]{1,128}$"), "As `metadata.conversation_id`."),
            header("Idempotency-Key", text(pattern=r"^[A-Za-z0-9._:-]{1,128}$"), "A repetition runs once."),
        ),
        body=Content(
            schema=ref("ChatCompletionRequest"),
            examples=(
                shown("plain", "A question", {
                    "model": "tom", "messages": [{"role": "user", "content": "Which tent is the lightest?"}],
                }),
                shown("stream", "As a stream", {
                    "model": "tom-0", "stream": True, "stream_options": {"include_usage": True},
                    "messages": [{"role": "user", "content": "Hello!"}],
                }),
            ),
        ),
        body_required=True,
        answers={200: Answer(
            text="The answer; a stream when the request says so.",
            contents=(
                Content(schema=ref("ChatCompletion"), examples=(shown("answer", "An answer", _COMPLETION),)),
                Content(schema=ref("CompletionStream"), kind=EVENTS, examples=(shown("stream", "A stream", _STREAM),)),
            ),
        )},
        refusals={
            400: (
                "unsupported_parameter", "model_not_allowed", "invalid_image_url", "conversation_conflict", "unexpected_result",
            ),
            403: ("quota_exceeded",), 404: ("prompt_not_found",),
            409: ("request_id_reused", "queue_full", "session_elsewhere"),
            413: ("attachment_too_large",),
            422: (
                "invalid_conversation_id", "text_too_long", "metadata_too_large", "invalid_attachment",
                "model_has_no_vision", "invalid_arguments", "context_too_small", "limit_reached", "token_limit",
                "tool_limit", "too_many_asks",
            ),
            502: (
                "provider_error", "model_bad_call", "provider_unreachable", "provider_rate_limited", "provider_refused",
                "provider_bad_request", "provider_bad_answer", "provider_empty", "provider_declined", "provider_too_large",
            ),
            503: ("provider_not_available",), 504: ("provider_timeout", "deadline", "answer_pending"),
            507: ("storage_full",),
        },
    ),
}  # fmt: skip
