"""TOM_DEBUG_LLM: what models are asked and answer is written down for a while, for its owner's eyes."""

import json
import os
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from tom.config.agent import AgentSettings
from tom.conversation.message import Message, Role
from tom.conversation.part import Image, Text
from tom.errors import ProviderUnconfigured
from tom.llm.levels import open_models
from tom.llm.provider import ModelRequest, Reply
from tom.llm.watched import KEPT_SECONDS
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio
KEY = "sk-canary0123456789abcdef"


@pytest.fixture
def clock():
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def ask(tmp_path, clock):
    """``await ask(text, llm=…, debug=…)``: one request to a model of a person whose home is the test's directory."""

    async def one(text, *, llm="scripted", debug=True, end_early=False):
        models = open_models(AgentSettings(user="alice", home=tmp_path, llm=llm, debug_llm=debug), clock)
        request = ModelRequest("m", (Message(Role.USER, (Text(text), Image(b"x" * 90_000, "image/png"))),))
        try:
            async with aclosing(models.provider_of(models.name).stream(request)) as items:
                async for item in items:
                    if end_early or isinstance(item, Reply):
                        return
        finally:
            await models.close()

    return one


def written(home):
    return [json.loads(path.read_text()) for path in sorted((home / "debug").glob("*.json"))]


async def test_request_and_answer_are_written_without_keys(ask, tmp_path):
    await ask(f"My key is {KEY}")
    (told,) = written(tmp_path)
    assert told["llm"] == "scripted"
    assert "My key is ***" in json.dumps(told["request"])
    assert told["answer"]["text"]
    assert "canary" not in json.dumps(told)
    assert len(json.dumps(told)) < 110_000, "a picture is cut"


async def test_nobody_else_can_read_it(ask, tmp_path):
    await ask("Hello")
    (path,) = (tmp_path / "debug").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_an_error_is_written_and_raised(ask, tmp_path):
    with pytest.raises(ProviderUnconfigured):
        await ask("Hello", llm="nobody")
    (told,) = written(tmp_path)
    assert told["error"]["code"] == ProviderUnconfigured.code


async def test_a_reply_that_was_stopped_is_written_as_that(ask, tmp_path):
    await ask("Hello", end_early=True)
    (told,) = written(tmp_path)
    assert told["ended"] == "by whoever asked"


async def test_without_the_setting_nothing_is_written(ask, tmp_path):
    await ask("Hello", debug=False)
    assert not (tmp_path / "debug").exists()


async def test_it_is_gone_after_seven_days_even_when_nobody_looks_any_more(ask, tmp_path, clock):
    await ask("Hello")
    (path,) = (tmp_path / "debug").iterdir()
    os.utime(path, (clock.now().timestamp(),) * 2)
    clock.advance(KEPT_SECONDS - 1)
    await ask("Again", debug=False)
    assert path.exists()
    clock.advance(2)
    await ask("Again", debug=False)
    assert not path.exists()


async def test_a_directory_that_cannot_be_written_costs_no_answer(ask, tmp_path):
    (tmp_path / "debug").write_text("in the way")
    await ask("Hello")
