"""The agent's settings on their way through the pipe."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tom.config.agent import AgentSettings, ChatSettings, LlmEntry, LogSettings, PersistenceSettings, ServiceEntry
from tom.config.document import LIMIT, decode_agent, encode_agent
from tom.config.secret import Secret


@pytest.fixture
def full(tmp_path):
    return AgentSettings(
        user="alice",
        home=tmp_path / "ä home",
        agent_secret=Secret("s3cret"),
        llm="a",
        llms={
            "a": LlmEntry(
                name="a",
                provider="openai",
                base_url="http://h/v1",
                key=Secret("k€y"),
                models=("x", "y", "z"),
                options={"seed": 1, "stop": ["a"], "deep": {"n": None}},
                headers={"X": "y"},
                timeout=1.5,
            )
        },
        services=(
            ServiceEntry(name="w", url="http://h/mcp", headers={"Authorization": Secret("Bearer t")}),
            ServiceEntry(name="c", command="x", args=("-a", "b"), env={"K": Secret("v")}, classes={"t": "write_own"}),
        ),
        chat=ChatSettings(allow_origins=("null",), streaming=False),
        persistence=PersistenceSettings(type="memory"),
        personal_context='{"likes": "tea"}',
        log=LogSettings(level="DEBUG"),
    )


def test_what_is_sent_is_what_arrives(full):
    assert decode_agent(encode_agent(full)) == full


def test_reading_takes_less_than_two_milliseconds(full):
    document = encode_agent(full)
    decode_agent(document)
    started = time.process_time()
    for _ in range(20):
        decode_agent(document)
    assert time.process_time() - started < 20 * 0.002


def test_more_than_a_mebibyte_is_not_sent(full):
    with pytest.raises(ValueError, match="more than 1048576"):
        encode_agent(replace(full, personal_context="x" * LIMIT))
    with pytest.raises(ValueError, match="more than 1048576"):
        decode_agent(b" " * (LIMIT + 1))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"user": 1}', b'{"user": "canary", "home": 5}', b"\xff"])
def test_anything_else_is_refused_without_being_quoted(text):
    with pytest.raises(ValueError, match="cannot be read") as caught:
        decode_agent(text)
    assert "canary" not in str(caught.value)


def test_an_agent_imports_neither_pydantic_nor_yaml():
    script = "import sys, tom.config.document, tom.config.settings, tom.telemetry.logs\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not {"pydantic", "ruamel.yaml", "typer", "rich", "mcp", "asyncio"} & set(loaded.stdout.split())
