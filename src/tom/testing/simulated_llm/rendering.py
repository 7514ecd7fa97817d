"""From a script to bytes. Rendered once and kept, so that a benchmark's answer costs one write."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tom.testing.simulated_llm.faults import Fault
from tom.testing.simulated_llm.script import Call, Script

CREATED = 1_700_000_000
_FRAGMENT = 12
"""Letters of a call's arguments in one chunk."""
STATUS: dict[Fault, tuple[int, dict[str, Any]]] = {
    Fault.UNAUTHORIZED: (
        401,
        {
            "message": "Incorrect API key provided: sk-simulated-0123456789. Find yours at "
            "https://platform.openai.com/account/api-keys.",
            "type": "invalid_request_error",
            "code": "invalid_api_key",
        },
    ),
    Fault.NOT_FOUND: (
        404,
        {"message": "The model does not exist.", "type": "invalid_request_error", "code": "model_not_found"},
    ),
    Fault.BAD_REQUEST: (
        400,
        {"message": "The request is not understood.", "type": "invalid_request_error", "code": None},
    ),
    Fault.RATE_LIMITED: (429, {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}),
    Fault.RATE_LIMITED_SILENTLY: (
        429,
        {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"},
    ),
    Fault.FLAPPING: (503, {"message": "The server is overloaded.", "type": "server_error", "code": None}),
}
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 411: "Length Required"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer on the wire: ``opening`` (head and first event), the ``pieces`` that are paced, and the ``ending``."""

    opening: bytes
    pieces: tuple[bytes, ...]
    ending: bytes
    whole: bytes


def answer(status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A complete HTTP answer; the body is JSON unless ``headers`` say otherwise."""
    named = {"Content-Type": "application/json", **dict(headers), "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode() + body


def frame(content: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def refusal(script: Script) -> bytes | None:
    """The complete answer of a script that answers with a status and nothing else, or None."""
    if script.trouble is Fault.SERVER_ERROR:
        page = b"<html><body>Internal error at http://10.0.0.1/internal</body></html>"
        return answer(500, page, (("Content-Type", "text/html"),))
    if script.trouble is Fault.BAD_SSE:
        return answer(
            200, b"<!doctype html>\nthis is: no event stream\n\n" * 3, (("Content-Type", "text/event-stream"),)
        )
    if script.trouble is not None and script.trouble in STATUS:
        status, error = STATUS[script.trouble]
        return answer(status, json.dumps({"error": {**error, "param": None}}).encode(), script.headers)
    if script.body is not None:
        return answer(script.status, script.body, script.headers)
    return None


@lru_cache(maxsize=256)
def render(script: Script, model: str, *, stream: bool, include_usage: bool) -> Rendered:
    """Render a script for one kind of request; faults that change the content are in it."""
    streamed = stream and not script.plain
    media = "text/event-stream; charset=utf-8" if streamed else "application/json"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    if streamed:
        first, *pieces = (_event(delta, model) for delta in _deltas(script))
        ends = [_event({}, model, finish=script.finish or "stop")]
        if include_usage and script.tells_usage:
            ends.append(b"data: %b\n\n" % _json({**_envelope(model), "choices": [], "usage": _usage(script)}))
        ends.append(b"data: [DONE]\n\n")
    else:
        document = _document(script, model)
        cut = max(1, len(document) // 8)
        first, ends = b"", []
        pieces = [document[at : at + cut] for at in range(0, len(document), cut)]
    first, pieces, ends = spoil(script, first, pieces, ends, streamed=streamed)
    opening = head + (frame(first) if first else b"")
    framed = tuple(map(frame, pieces))
    ending = b"".join(map(frame, ends)) + b"0\r\n\r\n"
    return Rendered(opening, framed, ending, b"".join((opening, *framed, ending)))


def spoil(
    script: Script, first: bytes, pieces: list[bytes], ends: list[bytes], *, streamed: bool
) -> tuple[bytes, list[bytes], list[bytes]]:
    """The events of an answer with what the script's fault does to their content."""
    at = min(script.after, max(0, len(pieces) - 1))
    match script.trouble:
        case Fault.DOUBLED if streamed:
            return first * 2, [twin for piece in pieces for twin in (piece, piece)], [end * 2 for end in ends]
        case Fault.DOUBLED:
            return first, pieces * 2, ends
        case Fault.BAD_JSON if streamed:
            spoilt = pieces[at][: len(pieces[at]) // 2] + b"\n\n"
            return first, [*pieces[:at], spoilt, *pieces[at + 1 :]], ends
        case Fault.BAD_JSON:
            return first, pieces[:-1], ends
        case Fault.ERROR_EVENT:
            error = {
                "error": {"message": "Overloaded at https://api.openai.com/v1", "type": "server_error", "code": 502}
            }
            text = _json(error)
            return (first, [*pieces[:at], b"data: %b\n\n" % text], []) if streamed else (b"", [text], [])
        case _:
            return first, pieces, ends


def _envelope(model: str, kind: str = "chat.completion.chunk") -> dict[str, Any]:
    return {"id": "chatcmpl-simulated", "object": kind, "created": CREATED, "model": model}


def _event(delta: dict[str, Any], model: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: %b\n\n" % _json({**_envelope(model), "choices": [choice]})


def _deltas(script: Script) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if script.calls and not script.pieces else ""}
    for thought in script.thoughts:
        yield {"reasoning_content": thought}
    for piece in script.pieces:
        yield {"content": piece}
    for index, call in enumerate(script.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": _id(call, index), "type": "function", "function": function}]}
        for at in range(0, len(call.arguments), _FRAGMENT):
            fragment = {"arguments": call.arguments[at : at + _FRAGMENT]}
            yield {"tool_calls": [{"index": index, "function": fragment}]}


def _document(script: Script, model: str) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(script.pieces) or None, "refusal": None}
    if script.trouble is Fault.EMPTY:
        message["content"] = ""
    if script.thoughts:
        message["reasoning_content"] = "".join(script.thoughts)
    if script.calls:
        message["tool_calls"] = [
            {"id": _id(call, index), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for index, call in enumerate(script.calls)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": script.finish or "stop"}
    whole = {**_envelope(model, "chat.completion"), "choices": [choice]}
    return _json({**whole, "usage": _usage(script)} if script.tells_usage else whole)


def _usage(script: Script) -> dict[str, int]:
    prompt, completion = script.usage or (11, len(script.pieces) + len(script.thoughts) + len(script.calls))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _id(call: Call, index: int) -> str:
    return call.id or f"call_simulated_{index}"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
