"""What a provider sends becomes the reply it means, however its bytes are cut."""

import asyncio
import importlib.util
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.conversation.message import assistant, user
from tom.conversation.part import ToolCall
from tom.errors import ProviderError, ProviderTooLarge
from tom.llm.assembly import MAX_REPLY, Assembly
from tom.llm.failures import Veil
from tom.llm.provider import ModelRequest, Reply, TextDelta
from tom.llm.reading import AnswerReader
from tom.testing.simulated_llm import Script

pytestmark = pytest.mark.anyio

_spec = importlib.util.spec_from_file_location("answers", Path(__file__).parent / "cases" / "answers.py")
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

REQUEST = ModelRequest("m", (user("hi"),))


class Bytes:
    """Content that arrives in given pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [piece for piece in pieces if piece]

    async def readany(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def at_eof(self) -> bool:
        return not self.pieces


async def read(*pieces: bytes, request: ModelRequest = REQUEST) -> tuple[Reply, str]:
    """The reply, and the text that was shown."""
    assembly = Assembly()
    reader = AnswerReader(Bytes(*pieces), assembly, Veil((), ()))
    shown = ""
    while not reader.ended:
        await reader.read()
        shown += "".join(item.text for item in assembly.take() if isinstance(item, TextDelta))
    return assembly.reply(request), shown


def pieces_of(content: bytes, cuts: list[int]) -> list[bytes]:
    return [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]


def check(reply: Reply, shown: str, expected: dict) -> None:
    calls = expected.get("calls", [])
    assert reply.text == shown == expected.get("text", "")
    assert reply.thinking == expected.get("thinking", "")
    assert [(call.name, call.arguments) for call in reply.tool_calls] == calls
    assert reply.finish_reason == expected.get("finish", "tool_calls" if calls else "stop")
    ids = [call.id for call in reply.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    assert "ids" not in expected or ids == expected["ids"]
    usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.estimated)
    assert "usage" not in expected or usage == expected["usage"]
    assert "estimated" not in expected or (reply.usage.estimated and min(usage[:2]) > 0)


@pytest.mark.parametrize(
    ("body", "expected"), [case[1:] for case in cases.ANSWERS], ids=[case[0] for case in cases.ANSWERS]
)
async def test_an_answer_is_understood(endpoint, provider, body, expected):
    endpoint.otherwise(Script.raw(body.encode()))
    items = [item async for item in provider.stream(REQUEST)]
    check(items[-1], "".join(item.text for item in items if isinstance(item, TextDelta)), expected)


@pytest.mark.parametrize(("body", "code"), [case[1:] for case in cases.BROKEN], ids=[case[0] for case in cases.BROKEN])
@pytest.mark.promise("P9")
async def test_a_broken_answer_is_a_clear_error(endpoint, provider, body, code):
    endpoint.reply(Script.raw(body if isinstance(body, bytes) else body.encode()))
    with pytest.raises(ProviderError) as caught:
        _ = [item async for item in provider.stream(REQUEST)]
    assert caught.value.code == code
    assert caught.value.may_retry == (code != "provider_refused")
    assert [item async for item in provider.stream(REQUEST)], "the provider works again"


@pytest.mark.parametrize("index", range(len(cases.ANSWERS)), ids=[case[0] for case in cases.ANSWERS])
async def test_byte_by_byte_is_the_same(index):
    _, body, expected = cases.ANSWERS[index]
    check(*await read(*(bytes([byte]) for byte in body.encode())), expected)


@given(case=st.sampled_from(cases.ANSWERS), data=st.data())
@settings(max_examples=300, deadline=None)
def test_bytes_cut_anywhere_are_the_same(case, data):
    _, body, expected = case
    content = body.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=12)))
    check(*asyncio.run(read(*pieces_of(content, cuts))), expected)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
@settings(max_examples=300, deadline=None)
def test_rubbish_is_an_error_of_the_provider_and_nothing_else(content, cuts):
    with pytest.raises(ProviderError):
        asyncio.run(read(*pieces_of(content, sorted(cuts))))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_answer_is_a_reply_or_an_error_of_the_provider(data):
    _, body, _ = data.draw(st.sampled_from(cases.ANSWERS))
    content = bytearray(body.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not content:
            break
    try:
        reply, shown = asyncio.run(read(bytes(content)))
    except ProviderError:
        return
    assert reply.text == shown


async def test_an_id_used_earlier_in_the_conversation_is_replaced():
    earlier = assistant("", (ToolCall("x", "f", "{}"),))
    body = cases.calls(cases.call("f", "{}", index=0, id="x")) + cases.CALLED
    reply, _ = await read(body.encode(), request=ModelRequest("m", (user("hi"), earlier, user("again"))))
    assert reply.tool_calls[0].id not in {"x", ""}


async def test_fragments_are_shown_before_the_answer_ends(endpoint, provider):
    endpoint.reply(Script.fault("stall", text="one two three four", after=2))
    async with aclosing(provider.stream(REQUEST)) as stream:
        assert (await anext(stream)).text == "one two "


async def test_an_estimate_counts_prompt_tools_and_reply():
    small, _ = await read((cases.ROLE + cases.HELLO + cases.STOP).encode())
    long = ModelRequest("m", (user("word " * 300),))
    large, _ = await read((cases.ROLE + cases.chunk({"content": "word " * 300}) + cases.STOP).encode(), request=long)
    assert large.usage.prompt_tokens > 400 > 40 > small.usage.prompt_tokens > 0
    assert large.usage.completion_tokens > 400 > 40 > small.usage.completion_tokens > 0


@pytest.mark.parametrize("pieces", [1, 64])
async def test_a_reply_of_more_than_ten_mebibytes_is_refused(pieces):
    text = cases.chunk({"content": "x" * (MAX_REPLY // pieces + 1)})
    with pytest.raises(ProviderTooLarge):
        await read(*[text.encode()] * pieces, cases.STOP.encode())


async def test_a_reply_without_an_end_is_refused_as_soon_as_it_is_too_large():
    class Endless(Bytes):
        sent = 0

        async def readany(self) -> bytes:
            self.sent += 1
            assert self.sent < 300, "it should have given up"
            return piece

    piece = cases.chunk({"content": "x" * 65_536}).encode()
    reader = AnswerReader(Endless(b"."), Assembly(), Veil((), ()))
    with pytest.raises(ProviderTooLarge):
        while True:
            await reader.read()


async def test_ten_mebibytes_are_bytes_and_not_letters():
    text = cases.chunk({"content": "س" * (MAX_REPLY // 128 + 1)})
    with pytest.raises(ProviderTooLarge):
        await read(*[text.encode()] * 64, cases.STOP.encode())


async def test_a_reply_may_travel_in_far_more_bytes_than_it_has():
    text = cases.chunk({"content": "x"}, padding="y" * 100_000)
    reply, _ = await read(*[text.encode()] * 200, cases.STOP.encode())
    assert reply.text == "x" * 200


async def test_an_event_without_an_end_is_refused():
    with pytest.raises(ProviderTooLarge):
        await read(b"data: ", *[b"x" * 65_536] * 200)
