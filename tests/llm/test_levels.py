"""The settings decide which provider answers, and nothing stands in for a real one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tom.config.agent import AgentSettings, LlmEntry
from tom.config.secret import Secret
from tom.conversation.message import user
from tom.errors import ProviderUnconfigured
from tom.llm.levels import open_models
from tom.llm.provider import ModelRequest

pytestmark = pytest.mark.anyio


def entry(name="house", **fields) -> LlmEntry:
    known = {
        "provider": "compatible",
        "base_url": "http://127.0.0.1:9/v1",
        "key": Secret("k"),
        "models": ("s", "m", "l"),
    }
    return LlmEntry(name=name, **(known | fields))


def settings(llm: str, *entries: LlmEntry) -> AgentSettings:
    return AgentSettings(user="alice", home=Path("/nowhere"), llm=llm, llms={each.name: each for each in entries})


@pytest.mark.parametrize(("level", "model"), [(0, "s"), (1, "m"), (2, "l"), (-1, "s"), (7, "l")])
async def test_a_level_selects_a_model(level, model):
    models = open_models(settings("house", entry(options={"temperature": 0.2}, max_retries=4)))
    assert models.name == "house"
    assert models.model_for(level) == model
    assert models.options == {"temperature": 0.2}
    assert models.max_retries == 4
    await models.provider.close()


async def test_the_scripted_model_is_used_when_it_is_named():
    models = open_models(settings("scripted"))
    assert (models.name, models.model_for(2)) == ("scripted", "scripted")
    assert [item async for item in models.provider.stream(ModelRequest("scripted", (user("help"),)))]


@pytest.mark.parametrize("llm", ["unconfigured", "openrouter", ""])
async def test_a_model_that_is_missing_is_not_replaced_by_the_scripted_one(llm):
    models = open_models(settings(llm, entry()))
    assert models.name == "unconfigured"
    with pytest.raises(ProviderUnconfigured):
        await anext(models.provider.stream(ModelRequest(models.model_for(1), (user("hi"),))))


async def test_anthropic_is_asked_where_its_chat_completions_live(endpoint):
    models = open_models(
        settings("claude", entry("claude", provider="anthropic", base_url="https://api.anthropic.com"))
    )
    assert models.provider._address == "https://api.anthropic.com/v1"
    models = open_models(settings("claude", entry("claude", provider="anthropic", base_url=endpoint.url)))
    assert "simulated" in await models.provider.models()
    await models.provider.close()


def test_the_scripted_model_needs_no_http_client():
    code = (
        "import sys; from pathlib import Path; from tom.config.agent import AgentSettings; from tom.llm.levels import open_models;"
        "open_models(AgentSettings(user='a', home=Path('/'))); print('aiohttp' in sys.modules or 'mcp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
