"""The simulated endpoint is a product: what its README says holds, on the wire."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import aiohttp
import pytest

from tom.testing.simulated_llm import Call, Fault, Script, SimulatedLLM

pytestmark = pytest.mark.anyio

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = PLAIN | {"stream": True}
USAGE = STREAM | {"stream_options": {"include_usage": True}}


@pytest.fixture
def endpoint():
    with SimulatedLLM() as simulated:
        yield simulated


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def post(client, endpoint, body=PLAIN) -> tuple[int, bytes]:
    async with client.post(f"{endpoint.url}/chat/completions", json=body) as response:
        return response.status, await response.read()


def events(body: bytes) -> list:
    lines = [line for line in body.decode().split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def deltas(body: bytes) -> list[dict]:
    return [event["choices"][0]["delta"] for event in events(body) if event["choices"]]


def text_of(body: bytes) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(body))


# --- the dialect


async def test_a_stream_is_shaped_as_documented(client, endpoint):
    endpoint.reply(Script.text("Hello dear world", thinking="Hm hm"))
    _, body = await post(client, endpoint, USAGE)
    first, *middle, last, usage = events(body)
    for event in (first, *middle, last, usage):
        assert event["object"] == "chat.completion.chunk"
        assert event["model"] == "m"
        assert {"id", "created", "choices"} <= set(event)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["delta"] for event in middle] == [
        {"reasoning_content": "Hm "}, {"reasoning_content": "hm"}, {"content": "Hello "}, {"content": "dear "}, {"content": "world"},
    ]  # fmt: skip
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


async def test_usage_is_told_only_when_it_is_asked_for(client, endpoint):
    _, body = await post(client, endpoint, STREAM)
    assert not any("usage" in event for event in events(body))


async def test_a_whole_answer_is_shaped_as_documented(client, endpoint):
    endpoint.reply(Script.text("Hello", usage=(3, 4)))
    _, body = await post(client, endpoint)
    answer = json.loads(body)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize("streamed", [True, False])
async def test_calls_can_be_parallel(client, endpoint, streamed):
    endpoint.reply(Script.tool_calls(("f", {"city": "تهران", "n": 1}), Call("g", "{}", "own-id"), text="Wait."))
    _, body = await post(client, endpoint, STREAM if streamed else PLAIN)
    if not streamed:
        message = json.loads(body)["choices"][0]["message"]
        found = [
            (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]
        ]
    else:
        assert events(body)[-1]["choices"][0]["finish_reason"] == "tool_calls"
        calls: dict[int, list[str]] = {}
        for piece in (piece for delta in deltas(body) for piece in delta.get("tool_calls", ())):
            function = piece["function"]
            call = calls.setdefault(piece["index"], [piece.get("id"), function.get("name"), ""])
            call[2] += function["arguments"]
        found = [tuple(call) for _, call in sorted(calls.items())]
    assert found == [("call_simulated_0", "f", '{"city": "تهران", "n": 1}'), ("own-id", "g", "{}")]


async def test_the_official_routes_and_no_others(client, endpoint):
    async with client.get(f"{endpoint.url}/models") as response:
        listed = await response.json()
    assert {"id": "simulated", "object": "model", "created": 1_700_000_000, "owned_by": "simulated"} in listed["data"]
    async with client.get(f"{endpoint.url}/nothing") as response:
        assert response.status == 404
    async with client.post(f"{endpoint.url}/chat/completions", data=b"{") as response:
        assert response.status == 400
    assert endpoint.calls == 0


# --- scripts


async def test_the_queue_then_what_is_answered_otherwise(client, endpoint):
    endpoint.reply(Script.text("one"), Script.text("two"))
    endpoint.otherwise(Script.text("else"))
    assert [text_of((await post(client, endpoint, STREAM))[1]) for _ in range(4)] == ["one", "two", "else", "else"]


async def test_a_rule_by_the_person_s_words_comes_first(client, endpoint):
    endpoint.reply(Script.text("queued"))
    endpoint.when("FORE.*cast", Script.text("sunny"))
    ask = STREAM | {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "the forecast?"}]}, {"role": "assistant"}]
    }
    assert text_of((await post(client, endpoint, ask))[1]) == "sunny"
    assert text_of((await post(client, endpoint, STREAM))[1]) == "queued"


async def test_a_script_may_be_a_function_of_the_request(client, endpoint):
    endpoint.otherwise(
        lambda request: Script.text(f"{request.last_role} {request.last_user_text} {request.tool_names}")
    )
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert text_of((await post(client, endpoint, STREAM | {"tools": tools}))[1]) == "user hi ['f']"


async def test_requests_are_kept_and_counted(client, endpoint):
    for number in range(3):
        await post(client, endpoint, PLAIN | {"messages": [{"role": "user", "content": str(number)}]})
    assert endpoint.calls == 3
    assert [request.last_user_text for request in endpoint.requests] == ["0", "1", "2"]
    assert endpoint.requests[0].headers["content-type"] == "application/json"


async def test_clearing_forgets_scripts_and_keeps_counts(client, endpoint):
    endpoint.reply(Script.text("queued"))
    endpoint.otherwise(Script.fault(Fault.SERVER_ERROR))
    endpoint.when(".", Script.fault(Fault.UNAUTHORIZED))
    assert (await post(client, endpoint))[0] == 401
    endpoint.clear()
    assert (await post(client, endpoint))[0] == 200
    assert endpoint.calls == 2


async def test_a_function_that_fails_is_an_answer(client, endpoint):
    endpoint.otherwise(lambda _: 1 / 0)
    status, body = await post(client, endpoint)
    assert (status, "ZeroDivisionError" in body.decode()) == (500, True)
    endpoint.clear()
    assert (await post(client, endpoint))[0] == 200


async def test_many_at_a_time(client, endpoint):
    endpoint.otherwise(
        lambda request: Script.chunks(20, 5, delay=0.001) if request.last_user_text == "hi" else Script.text()
    )
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(post(client, endpoint, STREAM)) for _ in range(50)]
    assert {len(text_of(task.result()[1])) for task in asked} == {100}
    assert (endpoint.calls, endpoint.open_streams, endpoint.aborted) == (50, 0, 0)


# --- time


async def test_a_paced_stream_keeps_an_absolute_schedule(client, endpoint):
    endpoint.reply(Script.chunks(20, 22, delay=0.01))
    start = time.monotonic()
    async with client.post(f"{endpoint.url}/chat/completions", json=STREAM) as response:
        first = await response.content.readany()
        begun = time.monotonic() - start
        rest = await response.content.read()
    took = time.monotonic() - start
    assert len(text_of(first + rest)) == 20 * 22
    assert begun < 0.1
    assert 0.2 <= took < 0.5


async def test_without_a_delay_chunks_may_be_written_one_by_one(client):
    with SimulatedLLM(chunks_per_write=1, otherwise=Script.chunks(64, 22)) as single, SimulatedLLM() as whole:
        whole.otherwise(Script.chunks(64, 22))
        one, all_at_once = await post(client, single, USAGE), await post(client, whole, USAGE)
    assert one == all_at_once
    assert len(text_of(one[1])) == 64 * 22


# --- faults, on the wire


@contextmanager
def talking_to(endpoint, body=STREAM):
    content = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as peer:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        peer.sendall(head.encode() + content)
        yield peer


def read_all(peer) -> bytes:
    received = b""
    while part := peer.recv(65536):
        received += part
    return received


def test_refuse_closes_the_port_until_it_is_cleared(endpoint):
    endpoint.otherwise(Script.fault(Fault.REFUSE, seconds=0))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=5)
    endpoint.clear()
    socket.create_connection(("127.0.0.1", endpoint.port), timeout=5).close()


def test_refuse_can_end_by_itself(endpoint):
    endpoint.reply(Script.fault(Fault.REFUSE, seconds=0.1), Script.text("back"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=5)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with talking_to(endpoint) as peer:
                assert b"back" in peer.recv(65536)
            return
        except ConnectionRefusedError:
            pass
    pytest.fail("it never listened again")


def test_reset_resets_at_accept(endpoint):
    endpoint.reply(Script.fault(Fault.RESET), Script.text("fine"))
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as peer:
        peer.recv(1)
    with talking_to(endpoint) as peer:
        assert b"fine" in peer.recv(65536)


def test_reset_resets_a_kept_connection_too(endpoint):
    with talking_to(endpoint) as peer:
        assert peer.recv(65536)
        endpoint.reply(Script.fault(Fault.RESET))
        peer.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_silence_sends_nothing(endpoint):
    endpoint.reply(Script.fault(Fault.SILENCE))
    with talking_to(endpoint) as peer:
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        assert endpoint.open_streams == 1
    assert endpoint.wait_until(lambda: endpoint.aborted == 1)


def test_stall_sends_some_chunks_and_stays(endpoint):
    endpoint.reply(Script.fault(Fault.STALL, text="a b c d e", after=2))
    with talking_to(endpoint) as peer:
        received = peer.recv(65536)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
    assert received.count(b'"content":"') == 3, "the role and two chunks"


def test_cut_ends_without_an_end(endpoint):
    endpoint.reply(Script.fault(Fault.CUT, text="a b c d e", after=2))
    with talking_to(endpoint) as peer:
        received = read_all(peer)
    assert received.count(b'"content":"') == 3
    assert not received.endswith(b"0\r\n\r\n")


def test_drip_keeps_its_rate(endpoint):
    endpoint.reply(Script.fault(Fault.DRIP, rate=100))
    with talking_to(endpoint) as peer:
        start, received = time.monotonic(), b""
        while len(received) < 30:
            received += peer.recv(65536)
    assert 0.25 < time.monotonic() - start < 2


def test_huge_is_as_large_as_it_says_and_takes_no_memory(endpoint):
    endpoint.reply(Script.fault(Fault.HUGE, size=20_000_000))
    total = 0
    with talking_to(endpoint) as peer:
        while not (part := peer.recv(1 << 20)).endswith(b"0\r\n\r\n"):
            assert part
            total += len(part)
    assert total > 19_000_000


def test_doubled_sends_each_event_twice(endpoint):
    endpoint.reply(Script.fault(Fault.DOUBLED, text="one two"))
    with talking_to(endpoint, STREAM) as peer:
        received = peer.recv(65536)
    for part in (b'"one "', b'"two"', b'"finish_reason":"stop"', b"[DONE]"):
        assert received.count(part) == 2


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        (Fault.UNAUTHORIZED, 401, "invalid_api_key"),
        (Fault.NOT_FOUND, 404, "model_not_found"),
        (Fault.BAD_REQUEST, 400, "invalid_request_error"),
        (Fault.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (Fault.RATE_LIMITED_SILENTLY, 429, "rate_limit_exceeded"),
        (Fault.SERVER_ERROR, 500, "<html>"),
        (Fault.BAD_SSE, 200, "no event stream"),
        (Fault.ERROR_EVENT, 200, "Overloaded"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_faults_that_are_answers(client, endpoint, fault, status, part, streamed):
    endpoint.reply(Script.fault(fault))
    found, body = await post(client, endpoint, STREAM if streamed else PLAIN)
    assert (found, part in body.decode()) == (status, True)


@pytest.mark.parametrize(("fault", "told"), [(Fault.RATE_LIMITED, "9"), (Fault.RATE_LIMITED_SILENTLY, None)])
async def test_a_limit_says_when_to_come_back_or_not(client, endpoint, fault, told):
    endpoint.reply(Script.fault(fault, retry_after="9"))
    async with client.post(f"{endpoint.url}/chat/completions", json=PLAIN) as response:
        assert response.headers.get("Retry-After") == told


@pytest.mark.parametrize("queued", [True, False])
async def test_flapping_fails_and_then_answers(client, endpoint, queued):
    script = Script.fault(Fault.FLAPPING, times=2, text="up again")
    (endpoint.reply if queued else endpoint.otherwise)(script)
    answers = [await post(client, endpoint, STREAM) for _ in range(3)]
    assert [status for status, _ in answers] == [503, 503, 200]
    assert text_of(answers[2][1]) == "up again"


@pytest.mark.parametrize("streamed", [True, False])
async def test_bad_json_and_empty_are_what_they_say(client, endpoint, streamed):
    endpoint.reply(Script.fault(Fault.BAD_JSON), Script.fault(Fault.EMPTY))
    ask = STREAM if streamed else PLAIN
    _, bad = await post(client, endpoint, ask)
    with pytest.raises(ValueError):
        events(bad) if streamed else json.loads(bad)
    _, empty = await post(client, endpoint, ask)
    assert (text_of(empty) if streamed else json.loads(empty)["choices"][0]["message"]["content"]) == ""


# --- HTTP as such


def test_requests_may_come_in_pieces_and_one_behind_the_other(endpoint):
    content = json.dumps(PLAIN).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as peer:
        for byte in request:
            peer.sendall(bytes([byte]))
        peer.sendall(request * 2)
        assert endpoint.wait_until(lambda: endpoint.calls == 3)
    assert endpoint.connections == 1


def test_a_client_may_ask_for_the_end_of_the_connection_or_a_go_ahead(endpoint):
    content = json.dumps(PLAIN).encode()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as peer:
        peer.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(content))  # fmt: skip
        assert peer.recv(100).startswith(b"HTTP/1.1 100 ")
        peer.sendall(content)
        assert b"200 OK" in read_all(peer)


# --- life


def test_a_taken_port_is_an_error(endpoint):
    with pytest.raises(OSError):
        SimulatedLLM(port=endpoint.port).start()


def test_it_ends_with_streams_open():
    with SimulatedLLM(otherwise=Script.fault(Fault.SILENCE)) as endpoint, talking_to(endpoint) as peer:
        assert endpoint.wait_until(lambda: endpoint.open_streams == 1)
        endpoint.stop()
        assert peer.recv(1) == b""


async def test_it_is_an_async_context_as_well(client):
    async with SimulatedLLM(Script.text("queued")) as endpoint:
        assert text_of((await post(client, endpoint, STREAM))[1]) == "queued"


# --- told over HTTP


async def control(client, endpoint, body) -> int:
    async with client.post(f"{endpoint.origin}/control/script", json=body) as response:
        return response.status


async def test_scripts_can_be_given_over_http(client, endpoint):
    told = {
        "clear": True,
        "queue": [{"text": "one", "thinking": "hm"}, {"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}, {"chunks": 3, "size": 2}],
        "when": [{"match": "weather", "script": {"text": "sunny"}}],
        "otherwise": {"fault": "unauthorized"},
    }  # fmt: skip
    assert await control(client, endpoint, told) == 200
    assert text_of((await post(client, endpoint, STREAM))[1]) == "one"
    assert "tool_calls" in deltas((await post(client, endpoint, STREAM))[1])[1]
    assert len(text_of((await post(client, endpoint, STREAM))[1])) == 6
    assert (await post(client, endpoint, STREAM))[0] == 401
    ask = STREAM | {"messages": [{"role": "user", "content": "weather"}]}
    assert text_of((await post(client, endpoint, ask))[1]) == "sunny"
    async with client.get(f"{endpoint.origin}/control/calls") as response:
        told = await response.json()
    assert (told["calls"], told["aborted"], told["requests"][-1]) == (5, 0, ask)


@pytest.mark.parametrize(
    "body",
    [[], {"queue": [{}]}, {"queue": [{"fault": "nonsense"}]}, {"queue": [{"text": "x", "speed": 1}]}, {"queue": 7},
     {"when": [{"match": "("  , "script": {"text": "x"}}]}, {"otherwise": {"tool_calls": [{}]}}],
)  # fmt: skip
async def test_a_script_that_is_not_understood_changes_nothing(client, endpoint, body):
    endpoint.reply(Script.text("still here"))
    assert await control(client, endpoint, body) == 422
    assert text_of((await post(client, endpoint, STREAM))[1]) == "still here"


# --- the program


@contextmanager
def program(*arguments: str):
    command = [sys.executable, "-m", "tom.testing.simulated_llm", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child.stdout.readline().strip(), child
        finally:
            child.terminate()
            assert child.wait(10) == 0


async def test_the_program_serves_chunks_and_a_tool_call_first(client):
    with program("--chunks", "5", "--chunk-bytes", "7", "--delay-ms", "1", "--tool-first", 'f:{"a":1}') as (url, _):
        async with client.post(f"{url}/chat/completions", json=STREAM) as response:
            first = await response.read()
        after = STREAM | {"messages": [*PLAIN["messages"], {"role": "tool", "tool_call_id": "x", "content": "y"}]}
        async with client.post(f"{url}/chat/completions", json=after) as response:
            second = await response.read()
    assert deltas(first)[1]["tool_calls"][0]["function"]["name"] == "f"
    assert len(text_of(second)) == 35
