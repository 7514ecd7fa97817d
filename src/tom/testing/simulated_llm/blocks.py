"""From a script to bytes in Anthropic's messages dialect; the twin of `rendering.py`."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tom.testing.simulated_llm.faults import Fault
from tom.testing.simulated_llm.rendering import STATUS, Rendered, answer, frame, refusal, spoil
from tom.testing.simulated_llm.script import Call, Script

_FRAGMENT = 12
"""Letters of a call's arguments in one event."""
_SIGNATURE = "c2ltdWxhdGVk"
_STOPS = {
    "stop": "end_turn",
    "": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}
_TYPES = {
    Fault.UNAUTHORIZED: (401, "authentication_error"),
    Fault.NOT_FOUND: (404, "not_found_error"),
    Fault.BAD_REQUEST: (400, "invalid_request_error"),
    Fault.RATE_LIMITED: (429, "rate_limit_error"),
    Fault.RATE_LIMITED_SILENTLY: (429, "rate_limit_error"),
    Fault.FLAPPING: (529, "overloaded_error"),
}


def refusal_in_blocks(script: Script) -> bytes | None:
    """The complete answer of a script that answers with a status and nothing else, or None."""
    if script.trouble is None or script.trouble not in _TYPES:
        return refusal(script)
    status, kind = _TYPES[script.trouble]
    error = {"type": kind, "message": STATUS[script.trouble][1]["message"]}
    body = {"type": "error", "error": error, "request_id": "req_simulated"}
    return answer(status, json.dumps(body).encode(), script.headers)


@lru_cache(maxsize=256)
def render_blocks(script: Script, model: str, *, stream: bool) -> Rendered:
    """Render a script for one kind of request; faults that change the content are in it."""
    streamed = stream and not script.plain
    media = "text/event-stream; charset=utf-8" if streamed else "application/json"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    if streamed:
        start = _event("message_start", message=_envelope(script, model, ended=False))
        opened, *pieces = list(_pieces(script)) or [b""]
        first = start + opened
        stop = {"stop_reason": _STOPS[script.finish], "stop_sequence": None}
        told = {"usage": {"output_tokens": _usage(script)[1]}} if script.tells_usage else {}
        ends = [_event("message_delta", delta=stop, **told), _event("message_stop")]
    else:
        whole = {**_envelope(script, model, ended=True), "content": list(_content(script))}
        document = json.dumps(whole, ensure_ascii=False).encode()
        cut = max(1, len(document) // 8)
        first, ends = b"", []
        pieces = [document[at : at + cut] for at in range(0, len(document), cut)]
    if script.trouble is Fault.ERROR_EVENT:
        first, pieces, ends = _with_error(script, first, pieces, streamed=streamed)
    else:
        first, pieces, ends = spoil(script, first, pieces, ends, streamed=streamed)
        if streamed and script.trouble is Fault.DOUBLED:
            first = _each_twice(first[: len(first) // 2])
    opening = head + (frame(first) if first else b"")
    framed = tuple(map(frame, pieces))
    ending = b"".join(map(frame, ends)) + b"0\r\n\r\n"
    return Rendered(opening, framed, ending, b"".join((opening, *framed, ending)))


def flood_of(filler: bytes, *, blocks: bool) -> tuple[bytes, bytes, bytes]:
    """How a huge answer begins, one event of it, and how it ends, in either dialect."""
    if blocks:
        event = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n' % filler
        return b'{"type":"message","content":[{"type":"text","text":"', event, b'"}],"stop_reason":"end_turn"}'
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % filler
    return b'{"choices":[{"message":{"content":"', event, b'"},"finish_reason":"stop"}]}'


def _each_twice(events: bytes) -> bytes:
    """Every event of a text of several, sent twice."""
    return b"".join((event + b"\n\n") * 2 for event in events.split(b"\n\n") if event)


def _with_error(
    script: Script, first: bytes, pieces: list[bytes], *, streamed: bool
) -> tuple[bytes, list[bytes], list[bytes]]:
    error = {"type": "overloaded_error", "message": "Overloaded at https://api.anthropic.com/v1"}
    if not streamed:
        return b"", [json.dumps({"type": "error", "error": error}).encode()], []
    return first, [*pieces[: script.after + 1], _event("error", error=error)], []


def _event(kind: str, **fields: Any) -> bytes:
    text = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode()


def _envelope(script: Script, model: str, *, ended: bool) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "id": "msg_simulated",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
    }
    whole |= {"stop_reason": _STOPS[script.finish] if ended else None, "stop_sequence": None}
    if script.tells_usage:
        prompt, completion = _usage(script)
        whole["usage"] = {"input_tokens": prompt, "output_tokens": completion if ended else 1}
    return whole


def _pieces(script: Script) -> Iterator[bytes]:
    """The events of all blocks, one piece each."""
    opened: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if script.thoughts:
        thoughts = [{"type": "thinking_delta", "thinking": thought} for thought in script.thoughts]
        signed = [*thoughts, {"type": "signature_delta", "signature": _SIGNATURE}]
        opened.append(({"type": "thinking", "thinking": "", "signature": ""}, signed))
    if script.pieces:
        opened.append(
            ({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in script.pieces])
        )
    for number, call in enumerate(script.calls):
        cuts = range(0, len(call.arguments), _FRAGMENT)
        parts = [{"type": "input_json_delta", "partial_json": call.arguments[at : at + _FRAGMENT]} for at in cuts]
        block: dict[str, Any] = {"type": "tool_use", "id": _id(call, number), "name": call.name, "input": {}}
        opened.append((block, parts or [{"type": "input_json_delta", "partial_json": ""}]))
    for index, (block, deltas) in enumerate(opened):
        yield _event("content_block_start", index=index, content_block=block)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)


def _content(script: Script) -> Iterator[dict[str, Any]]:
    if script.thoughts:
        yield {"type": "thinking", "thinking": "".join(script.thoughts), "signature": _SIGNATURE}
    if script.pieces:
        yield {"type": "text", "text": "".join(script.pieces)}
    for number, call in enumerate(script.calls):
        yield {"type": "tool_use", "id": _id(call, number), "name": call.name, "input": _object(call.arguments)}


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return {"broken": arguments}


def _usage(script: Script) -> tuple[int, int]:
    return script.usage or (11, len(script.pieces) + len(script.thoughts) + len(script.calls))


def _id(call: Call, number: int) -> str:
    return call.id or f"toolu_simulated_{number}"
