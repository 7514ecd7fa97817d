"""Counting: by the model family's table where one is installed, never fetched, remembered up to a bound."""

import base64
import hashlib
import socket

import pytest
from tiktoken import registry

from tom.agent.counting import CountingStore, load_counter, stamp
from tom.conversation import message as make
from tom.conversation.event import MESSAGE_OVERHEAD
from tom.conversation.message import Message, Role
from tom.conversation.part import Document, Image, Thinking, ToolCall, ToolResult
from tom.conversation.usage import estimate_tokens
from tom.llm import counting
from tom.llm.counting import IMAGE_TOKENS, REMEMBERED, SHORT, TokenCounter, load_table, messages_tokens, table_of
from tom.store.memory import MemoryEventStore
from tom.testing.store_events import asked, called, completed, replied, started

LONG = "a long text of many words " * 10


@pytest.fixture
def nowhere(monkeypatch):
    """No network: whoever tries is found out."""

    def refuse(*_, **__):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A small table in place of the real one: every byte is a token, and ``lo`` and ``or`` are, too."""
    pieces = [bytes([number]) for number in range(256)] + [b"lo", b"or"]
    lines = (f"{base64.b64encode(piece).decode()} {rank}" for rank, piece in enumerate(pieces))
    content = ("\n".join(lines) + "\n").encode()
    file, _ = counting._TABLES["cl100k_base"]
    (tmp_path / file).write_bytes(content)
    monkeypatch.setitem(counting._TABLES, "cl100k_base", (file, hashlib.sha256(content).hexdigest()))
    return tmp_path, file


@pytest.mark.parametrize(
    ("model", "table"),
    [
        ("gpt-4o-mini", "o200k_base"), ("openai/gpt-5", "o200k_base"), ("o3", "o200k_base"), ("GPT-4.1", "o200k_base"),
        ("gpt-4", "cl100k_base"), ("gpt-3.5-turbo", "cl100k_base"), ("claude-sonnet-4", "cl100k_base"),
        ("llama3.2", "cl100k_base"), ("", "cl100k_base"),
    ],
)  # fmt: skip
def test_a_model_s_family_has_its_table(model, table):
    assert table_of(model) == table


@pytest.mark.usefixtures("nowhere")
def test_a_table_is_never_fetched(tmp_path):
    assert load_table("cl100k_base", {}) is None
    assert load_table("o200k_base", {"TIKTOKEN_CACHE_DIR": str(tmp_path)}) is None
    file, _ = counting._TABLES["o200k_base"]
    (tmp_path / file).write_bytes(b"not the table")
    assert load_table("o200k_base", {"TIKTOKEN_CACHE_DIR": str(tmp_path)}) is None
    assert (tmp_path / file).read_bytes() == b"not the table", "and what is there is left alone"


def test_a_table_s_file_is_the_one_that_the_library_reads():
    for name, (file, _) in counting._TABLES.items():
        url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        assert file == hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()


def test_texts_are_counted_once_and_the_newest_are_remembered():
    counted = []

    def count(text):
        counted.append(text)
        return len(text)

    counter = TokenCounter(count)
    assert [counter.count(""), counter.count("abc"), counter.count("abc")] == [0, 3, 3]
    assert counted == ["abc", "abc"], "short texts are counted anew"
    texts = [f"{number:04}" + "x" * SHORT for number in range(REMEMBERED + 1)]
    for text in (*texts, *texts[1:]):
        assert counter.count(text) == len(text)
    assert len(counted) == 2 + len(texts)
    counter.count(texts[0])
    assert len(counted) == 3 + len(texts)
    assert len(counter._known) == REMEMBERED
    counter.use(estimate_tokens)
    assert (counter.count(texts[1]), counter.estimates) == (estimate_tokens(texts[1]), True)


def test_everything_in_a_message_costs_something():
    parts = (make.Text("abc" * 9), Thinking("abc" * 9), Document("a", "abc" * 9), ToolCall("1", "abc", "def"))
    parts = (*parts, Image("image/png"), ToolResult("1", "abc" * 9))
    assert messages_tokens([Message(Role.USER, parts)]) == MESSAGE_OVERHEAD + 4 * 9 + 2 + IMAGE_TOKENS
    assert messages_tokens([make.user("x", 50), make.user("abc")]) == 50 + MESSAGE_OVERHEAD + 1


def test_only_what_may_stand_in_a_prompt_is_counted_again():
    counter = TokenCounter()
    event = asked("r", text=LONG)
    assert stamp(event, counter) is event
    counter.use(len)
    assert stamp(event, counter).token_count == len(LONG) + MESSAGE_OVERHEAD
    reply = replied("r", calls=(ToolCall("1", "add", "{}"),), text="yes")
    assert stamp(reply, counter).token_count == len("yesadd{}") + MESSAGE_OVERHEAD
    assert stamp(called("r"), counter).token_count == 0


@pytest.mark.anyio
async def test_what_is_stored_carries_the_count_of_the_table(table, nowhere, monkeypatch):
    folder, _ = table
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    monkeypatch.setattr(registry, "ENCODING_CONSTRUCTORS", {"cl100k_base": lambda: _small(folder, table[1])})
    monkeypatch.setattr(registry, "ENCODINGS", {})
    counter = TokenCounter()
    store = CountingStore(MemoryEventStore(), counter)
    await load_counter(counter, "llama3")
    assert not counter.estimates
    (event,) = await store.append([asked("r", text="color" * 20)])
    assert event.token_count == 4 * 20 + MESSAGE_OVERHEAD
    await store.append([started("r"), replied("r"), completed("r")])
    assert (await store.tail("c", tokens=1))[-1].type == "run.completed"
    assert [row.id for row in await store.conversations()] == ["c"]
    assert (await store.spent(since=""))[0].runs == 1
    assert store.lease == 1
    assert store.epoch
    assert await store.erase("c", before=2)
    await store.close()


def _small(folder, file):
    from tiktoken.load import load_tiktoken_bpe

    ranks = load_tiktoken_bpe(str(folder / file))
    return {"name": "cl100k_base", "pat_str": r"\w+|\W+", "mergeable_ranks": ranks, "special_tokens": {}}
