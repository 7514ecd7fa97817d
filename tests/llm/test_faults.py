"""Each way in which a provider goes wrong, streamed and whole: one clear error in time, and then it works again (F10)."""

import asyncio
import ssl
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tom.config.providers import KNOWN
from tom.config.secret import Secret
from tom.conversation.message import user
from tom.errors import ProviderError, ProviderTimeout
from tom.gateway.selfsigned import ensure_pair
from tom.llm.failures import Veil, retry_after
from tom.llm.provider import ModelRequest, Reply, TextDelta
from tom.testing.simulated_llm import Fault, Script

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P9"), pytest.mark.slow]

REQUEST = ModelRequest("simulated", (user("hi"),))
SHORT = 0.3
"""Seconds of patience where a test waits for it to end."""

EXPECTED = {
    Fault.REFUSE: ("provider_unreachable", True),
    Fault.RESET: ("provider_unreachable", True),
    Fault.UNAUTHORIZED: ("provider_refused", False),
    Fault.NOT_FOUND: ("provider_refused", False),
    Fault.BAD_REQUEST: ("provider_bad_request", False),
    Fault.RATE_LIMITED: ("provider_rate_limited", True),
    Fault.RATE_LIMITED_SILENTLY: ("provider_rate_limited", True),
    Fault.SERVER_ERROR: ("provider_error", True),
    Fault.FLAPPING: ("provider_error", True),
    Fault.SILENCE: ("provider_timeout", True),
    Fault.STALL: ("provider_timeout", True),
    Fault.CUT: ("provider_bad_answer", True),
    Fault.BAD_JSON: ("provider_bad_answer", True),
    Fault.BAD_SSE: ("provider_bad_answer", True),
    Fault.ERROR_EVENT: ("provider_error", True),
    Fault.EMPTY: ("provider_empty", True),
    Fault.HUGE: ("provider_too_large", False),
}
ANSWERED = {Fault.DOUBLED, Fault.DRIP}
"""Faults that a streamed reply survives."""


def no_secret_in(error: ProviderError) -> None:
    told = f"{error} {error.message} {error.details}".lower()
    for canary in ("canary", "sk-", "http", "127.0.0.1", "housellm", "openai", "anthropic", "compatible"):
        assert canary not in told


both = pytest.mark.parametrize("dialect", ["openai", "anthropic"])

ROWS = {name: "anthropic" if name == "anthropic" else "openai" for name in (*KNOWN, "compatible")}
EACH_DIALECT = {"compatible", "anthropic"}
"""Of these rows every fault is tried in the quick tests, too; the others speak one of the two dialects."""


def every_row():
    for row in ROWS:
        for fault in EXPECTED:
            marks = [] if row in EACH_DIALECT else [pytest.mark.slow]
            yield pytest.param(row, fault, marks=marks, id=f"{row}-{fault}")


@pytest.mark.parametrize("plain", [False, True], ids=["streamed", "whole"])
@pytest.mark.parametrize(("row", "fault"), list(every_row()))
async def test_a_fault_is_one_clear_error_in_time_and_heals(endpoint, connect, row, fault, plain):
    provider = connect(timeout=SHORT, provider=row, dialect=ROWS[row])
    endpoint.otherwise(Script.fault(fault, plain=plain, seconds=0, times=1))
    start = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        _ = [item async for item in provider.stream(REQUEST)]
    assert time.monotonic() - start < SHORT + 2
    assert (caught.value.code, caught.value.may_retry) == EXPECTED[fault]
    no_secret_in(caught.value)
    assert row not in f"{caught.value.message} {caught.value.details}".lower()
    endpoint.clear()
    items = [item async for item in provider.stream(REQUEST)]
    assert isinstance(items[-1], Reply)


def test_every_fault_is_tried():
    assert set(EXPECTED) | ANSWERED == set(Fault)


@both
async def test_doubled_chunks_are_heard_once(endpoint, provider):
    endpoint.reply(Script.fault(Fault.DOUBLED, text="one one two"))
    items = [item async for item in provider.stream(REQUEST)]
    assert items[-1].text == "one one two"


@both
async def test_a_doubled_document_is_an_error(endpoint, provider):
    endpoint.reply(Script.fault(Fault.DOUBLED, plain=True))
    with pytest.raises(ProviderError) as caught:
        _ = [item async for item in provider.stream(REQUEST)]
    assert caught.value.code == "provider_bad_answer"


@both
async def test_a_drip_is_no_silence(endpoint, connect):
    endpoint.reply(Script.fault(Fault.DRIP, text="slow", rate=2000))
    items = [item async for item in connect(timeout=SHORT).stream(REQUEST)]
    assert items[-1].text == "slow"


@both
async def test_a_drip_can_be_given_up_at_once(endpoint, provider):
    endpoint.reply(Script.fault(Fault.DRIP, rate=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT):
            _ = [item async for item in provider.stream(REQUEST)]
    assert await endpoint.until(lambda: endpoint.aborted == 1)


@both
async def test_flapping_works_when_it_has_passed(endpoint, provider):
    endpoint.reply(Script.fault(Fault.FLAPPING, times=2))
    for _ in range(2):
        with pytest.raises(ProviderError):
            _ = [item async for item in provider.stream(REQUEST)]
    assert [item async for item in provider.stream(REQUEST)]
    assert endpoint.calls == 3


@both
async def test_closing_the_stream_ends_the_call_at_once(endpoint, provider):
    endpoint.reply(Script.chunks(1000, delay=0.01))
    async with aclosing(provider.stream(REQUEST)) as stream:
        assert isinstance(await anext(stream), TextDelta)
        assert endpoint.open_streams == 1
    assert await endpoint.until(lambda: endpoint.aborted == 1, 1.0)


@both
@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.STALL], ids=str)
async def test_cancelling_the_task_ends_the_call_at_once(endpoint, provider, fault):
    endpoint.reply(Script.fault(fault))

    async def ask() -> None:
        _ = [item async for item in provider.stream(REQUEST)]

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        assert await endpoint.until(lambda: endpoint.open_streams == 1)
        asking.cancel()
    assert await endpoint.until(lambda: endpoint.aborted == 1, 1.0)


@both
async def test_text_that_came_before_a_cut_was_shown(endpoint, provider):
    endpoint.reply(Script.fault(Fault.CUT, text="one two three four", after=2))
    shown = []
    with pytest.raises(ProviderError):
        shown += [item async for item in shown_by(provider, shown)]
    assert "".join(shown) == "one two "


async def shown_by(provider, shown):
    async for item in provider.stream(REQUEST):
        shown.append(item.text)
        yield item


async def head_of(reader) -> list[bytes]:
    lines = []
    while (line := await reader.readline()).strip():
        lines.append(line)
    return lines


async def test_the_connection_is_kept_although_the_transfer_ends_a_little_later(connect):
    clients = []

    async def answer(reader, writer) -> None:
        clients.append(writer)
        body = b'data: {"choices":[{"delta":{"content":"done"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        while length := [line for line in await head_of(reader) if line.lower().startswith(b"content-length")]:
            await reader.readexactly(int(length[0].split()[1]))
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body))
            asyncio.get_running_loop().call_later(0.02, writer.write, b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        provider = connect(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(3):
            assert [item async for item in provider.stream(REQUEST)][-1].text == "done"
        assert len(clients) == 1
        await provider.close()


@pytest.mark.parametrize("ending", ["cut", "silence"])
async def test_an_answer_is_over_when_the_model_says_so_even_if_the_transfer_is_not(connect, ending):
    """Some servers send neither [DONE] nor an end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'data: {"choices":[{"delta":{"content":"done"},"finish_reason":"stop"}]}\n\n'
    held = []

    async def answer(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"%x\r\n%b\r\n" % (len(body), body))
        await writer.drain()
        held.append(writer)
        if ending == "cut":
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        provider = connect(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=30.0)
        async with asyncio.timeout(10):
            items = [item async for item in provider.stream(REQUEST)]
        assert items[-1].text == "done"
        assert items[-1].usage.estimated
        for writer in held:
            writer.close()


@both
async def test_the_model_list_fails_in_the_same_words(endpoint, connect):
    endpoint.otherwise(Script.fault(Fault.REFUSE, seconds=0))
    with pytest.raises(ProviderError) as caught:
        await connect(timeout=SHORT).models()
    assert caught.value.code == "provider_unreachable"


@both
async def test_connecting_has_a_bound(connect):
    """A listener whose queue is full answers no handshake: the packet is dropped, as by a firewall."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        provider = connect(base_url=f"http://127.0.0.1:{port}/v1", connect_timeout=SHORT, timeout=SHORT)
        start = time.monotonic()
        with pytest.raises(ProviderTimeout):
            _ = [item async for item in provider.stream(REQUEST)]
        assert time.monotonic() - start < SHORT * 2 + 1
        for filler in fillers:
            filler.close()


@both
async def test_a_server_that_reads_nothing_is_a_timeout(connect):
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        provider = connect(base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}", connect_timeout=SHORT, timeout=SHORT)
        with pytest.raises(ProviderTimeout):
            large = ModelRequest("simulated", (user("x" * 20_000_000),))
            _ = [item async for item in provider.stream(large)]


@both
async def test_tls_that_is_none_is_unreachable(endpoint, connect):
    provider = connect(base_url=endpoint.url.replace("http", "https"))
    with pytest.raises(ProviderError) as caught:
        _ = [item async for item in provider.stream(REQUEST)]
    assert (caught.value.code, caught.value.may_retry) == ("provider_unreachable", True)
    no_secret_in(caught.value)


@both
async def test_a_certificate_that_nobody_vouches_for_is_unreachable(connect, tmp_path):
    certificate, key = make_pair(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    heard = []

    async def listen(reader, writer) -> None:
        heard.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with server:
        provider = connect(base_url=f"https://localhost:{server.sockets[0].getsockname()[1]}/v1")
        with pytest.raises(ProviderError) as caught:
            _ = [item async for item in provider.stream(REQUEST)]
    assert (caught.value.code, caught.value.may_retry) == ("provider_unreachable", True)
    assert not any(heard), "no key goes to who cannot prove who they are"
    no_secret_in(caught.value)


def make_pair(directory):
    ensure_pair(directory, datetime.now(UTC))
    return directory / "cert.pem", directory / "key.pem"


@both
async def test_something_that_speaks_no_http_is_a_bad_answer(connect):
    async def greet(_, writer) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        provider = connect(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(ProviderError) as caught:
            _ = [item async for item in provider.stream(REQUEST)]
    assert caught.value.code in {"provider_bad_answer", "provider_unreachable"}
    no_secret_in(caught.value)


@pytest.mark.parametrize("address", ["http://", "ftp://x/v1", "http://no-such-host.invalid/v1", "not a url"])
async def test_an_address_that_is_none_is_unreachable(connect, address):
    with pytest.raises(ProviderError) as caught:
        _ = [item async for item in connect(base_url=address).stream(REQUEST)]
    assert caught.value.code == "provider_unreachable"


# --- statuses and what they say


def answered(status: int, body: bytes = b"{}", *headers: tuple[str, str]) -> Script:
    return Script.raw(body, status=status, media="application/json", headers=headers)


async def failure(endpoint, provider, script: Script) -> ProviderError:
    endpoint.reply(script)
    with pytest.raises(ProviderError) as caught:
        _ = [item async for item in provider.stream(REQUEST)]
    return caught.value


@both
@pytest.mark.parametrize(
    ("status", "code", "may_retry"),
    [
        *((status, "provider_refused", False) for status in (301, 302, 307, 401, 402, 403, 404)),
        *((status, "provider_bad_request", False) for status in (400, 405, 409, 413, 415, 422, 451)),
        *((status, "provider_error", True) for status in (408, 500, 502, 503, 504, 529)),
        (429, "provider_rate_limited", True),
    ],
)
async def test_a_status_says_whose_fault_it_is(endpoint, provider, status, code, may_retry):
    error = await failure(endpoint, provider, answered(status, b"", ("Location", "http://127.0.0.1:1/")))
    assert (error.code, error.may_retry, error.details["status"]) == (code, may_retry, status)


@both
async def test_no_credit_left_does_not_pass_by_waiting(endpoint, provider):
    body = b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}'
    error = await failure(endpoint, provider, answered(429, body, ("Retry-After", "1")))
    assert (error.code, error.may_retry) == ("provider_refused", False)


@both
@pytest.mark.parametrize("status", [429, 503])
async def test_how_long_to_wait_is_told(endpoint, provider, status):
    error = await failure(endpoint, provider, answered(status, b"", ("Retry-After", "7")))
    assert error.details["retry_after"] == 7.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 12 "}, 12.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers, seconds):
    assert retry_after(headers, datetime.now(UTC)) == seconds


@pytest.mark.parametrize(("ahead", "seconds"), [(30, 30.0), (-30, 0.0)])
def test_retry_after_may_be_a_date(ahead, seconds):
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    moment = format_datetime(now + timedelta(seconds=ahead), usegmt=True)
    assert retry_after({"Retry-After": moment}, now) == seconds


async def test_the_provider_s_own_words_are_shown_without_what_must_not_be(endpoint, connect):
    key = "housekey-with-no-pattern"
    provider = connect(key=Secret(key), name="basement", headers={"X-Org": "acme-private"})
    body = (
        '{"error":{"message":"basement (OpenAI): maximum context length is 8192 tokens.\\n\\u0007 See '
        f"https://platform.openai.com/docs?key={key} or 10.1.2.3:8080, {endpoint.origin}, key {key}, org acme-private"
        '"}}'
    )
    error = await failure(endpoint, provider, answered(400, body.encode()))
    assert error.message.startswith("The language model's provider rejected the request: ")
    assert "maximum context length is 8192 tokens." in error.message
    for canary in (
        key,
        "http",
        "basement",
        "OpenAI",
        "openai",
        "10.1.2.3",
        "127.0.0.1",
        "acme-private",
        "\n",
        "\u0007",
    ):
        assert canary not in error.message


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-Ab12Cd34Ef56",
        "sk-****************cd34",
        "gsk_0123456789abcdef",
        "Bearer eyJhbGciOi.J9",
        "0f8fad5bd9cb469fa16570867728950e",
    ],
)
async def test_what_looks_like_a_key_is_not_shown_either(endpoint, provider, key):
    body = b'{"error":{"message":"The request with %b is too long."}}' % key.encode()
    error = await failure(endpoint, provider, answered(400, body))
    assert key not in error.message
    assert "is too long." in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b"7", b'{"error":null}', b'{"error":[]}', b'{"error":{"message":null}}',
        b'{"error":{"message":{"a":1},"code":{"b":2},"type":[1]}}', b'[{"error":{"message":"x"}}]', b'{"detail":[{"msg":"x"}]}',
        b'{"message":"x"}', b"\xff\xfe", b'{"error":{"message":"' + b"x " * 100_000 + b'"}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 429, 500])
async def test_any_body_of_an_error_will_do(endpoint, provider, body, status):
    error = await failure(endpoint, provider, answered(status, body))
    assert error.details["status"] == status
    assert len(error.message) < 500


@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=6, max_size=60).filter(lambda text: text.strip() == text),
    before=st.text(max_size=40),
    after=st.text(max_size=40),
)
def test_a_key_is_never_shown(secret, before, after):
    covered = Veil((secret,), ("housellm",)).cover(f"{before}{secret}{after}")
    assert secret not in covered or secret in "the provider [address] ***"
