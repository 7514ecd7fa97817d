"""The settings decide who may answer, in which order; nothing stands in for a real model."""

import subprocess
import sys
from pathlib import Path

import pytest

from tom.config.agent import AgentSettings, LlmEntry, Price
from tom.config.secret import Secret
from tom.conversation.message import user
from tom.errors import (
    ProviderBadRequest,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnconfigured,
    ProviderUnreachable,
)
from tom.llm.anthropic import AnthropicMessages
from tom.llm.levels import open_models
from tom.llm.openai import OpenAIChat
from tom.llm.provider import ModelRequest
from tom.testing.manual_clock import ManualClock

pytestmark = pytest.mark.anyio


def entry(name="house", **fields) -> LlmEntry:
    known = {
        "provider": "compatible",
        "base_url": "http://127.0.0.1:9/v1",
        "key": Secret("k"),
        "models": ("s", "m", "l"),
    }
    return LlmEntry(name=name, **(known | fields))


def settings(llm: str, *entries: LlmEntry, **fields) -> AgentSettings:
    known = {each.name: each for each in entries}
    return AgentSettings(user="alice", home=Path("/nowhere"), llm=llm, llms=known, **fields)


THREE = (entry("a"), entry("b"), entry("c", models=("cs", "cm", "cl")))


def names(candidates) -> list[str]:
    return [candidate.llm for candidate in candidates]


@pytest.mark.parametrize(("level", "model"), [(0, "s"), (1, "m"), (2, "l"), (-1, "s"), (7, "l")])
async def test_a_level_selects_a_model(level, model):
    prices = (Price(input=1, output=2), Price(input=3, output=4), Price(input=5, output=6))
    by_level = ({"seed": 0}, {"seed": 1}, {"seed": 2, "temperature": 1.0})
    house = entry(
        options={"temperature": 0.2}, options_by_level=by_level, price=prices, max_retries=4, context_tokens=8000,
        max_tokens=99, vision=False, backoff_factor=3,
    )  # fmt: skip
    models = open_models(settings("house", house))
    (candidate,) = models.candidates(level)
    place = min(2, max(0, level))
    assert (models.name, candidate.llm, candidate.model) == ("house", "house", model)
    assert candidate.options == {"temperature": 0.2, **by_level[place]}
    assert candidate.price == prices[place]
    assert (candidate.max_retries, candidate.backoff_factor) == (4, 3)
    assert (candidate.context_tokens, candidate.max_tokens, candidate.vision) == (8000, 99, False)


async def test_the_fallbacks_follow_with_the_same_level():
    models = open_models(settings("a", *THREE, llm_fallbacks=("c", "b")))
    assert [(found.llm, found.model) for found in models.candidates(2)] == [("a", "l"), ("c", "cl"), ("b", "l")]
    assert names(models.candidates(0, "c")) == ["c", "b"], "a named one comes first and is not asked twice"
    assert names(models.candidates(0, "nobody")) == ["a", "c", "b"], "one that is not usable gives way to the default"


async def test_a_model_that_was_wished_for_is_the_first_candidate_s_and_costs_what_its_level_costs():
    prices = tuple(Price(input=level, output=level) for level in range(3))
    models = open_models(settings("a", entry("a", price=prices), entry("b"), llm_fallbacks=("b",)))
    first, second = models.candidates(0, model="l")
    assert (first.model, first.price, second.model) == ("l", prices[2], "s")
    assert models.candidates(0, model="unheard-of")[0].price == prices[2], "unknown counts as the dearest"


# --- who is left out


@pytest.mark.promise("P9")
async def test_five_failures_in_a_minute_open_the_breaker_and_after_half_a_minute_one_may_try():
    clock = ManualClock()
    models = open_models(settings("a", *THREE, llm_fallbacks=("b",)), clock)
    for _ in range(4):
        models.failed("a", ProviderUnreachable())
    assert names(models.candidates(0)) == ["a", "b"]
    models.failed("a", ProviderError())
    assert names(models.candidates(0)) == ["b", "a"], "it is still there, should the others fail too"
    clock.advance(29.9)
    assert names(models.candidates(0)) == ["b", "a"]
    clock.advance(0.2)
    assert names(models.candidates(0)) == ["a", "b"]
    models.asking("a")
    assert names(models.candidates(0)) == ["b", "a"], "somebody tries it already"
    models.failed("a", ProviderError())
    clock.advance(30.1)
    models.asking("a")
    models.succeeded("a")
    assert names(models.candidates(0)) == ["a", "b"]
    models.failed("a", ProviderError())
    assert names(models.candidates(0)) == ["a", "b"], "it begins anew"


async def test_failures_that_lie_apart_do_not_open_it():
    clock = ManualClock()
    models = open_models(settings("a", *THREE, llm_fallbacks=("b",)), clock)
    for _ in range(20):
        models.failed("a", ProviderError())
        clock.advance(15.1)
    assert names(models.candidates(0)) == ["a", "b"]


async def test_a_refused_key_is_one_failure_like_the_others():
    clock = ManualClock()
    models = open_models(settings("a", *THREE, llm_fallbacks=("b",)), clock)
    for _ in range(4):
        models.failed("a", ProviderRefused(status=401))
    assert names(models.candidates(0)) == ["a", "b"]
    models.failed("a", ProviderRefused(status=403))
    clock.advance(29.9)
    assert names(models.candidates(0)) == ["b", "a"]
    clock.advance(0.2)
    assert names(models.candidates(0)) == ["a", "b"]


@pytest.mark.parametrize("error", [ProviderBadRequest(), ProviderRateLimited(spaced=True)], ids=["bad", "spaced"])
async def test_what_is_not_the_provider_s_fault_does_not_count(error):
    models = open_models(settings("a", *THREE, llm_fallbacks=("b",)), ManualClock())
    for _ in range(9):
        models.failed("a", error)
    assert names(models.candidates(0)) == ["a", "b"]


# --- which adapter


async def test_the_scripted_model_is_used_when_it_is_named_and_is_nobody_s_fallback():
    models = open_models(settings("scripted", *THREE, llm_fallbacks=("a",)))
    (candidate,) = models.candidates(2)
    assert (models.name, candidate.llm, candidate.model) == ("scripted", "scripted", "scripted")
    assert [item async for item in candidate.provider.stream(ModelRequest("scripted", (user("help"),)))]
    assert names(open_models(settings("a", *THREE, llm_fallbacks=("scripted", "b"))).candidates(0)) == ["a", "b"]


@pytest.mark.parametrize("llm", ["unconfigured", "openrouter", ""])
async def test_a_model_that_is_missing_is_not_replaced_by_the_scripted_one(llm):
    models = open_models(settings(llm, entry()))
    (candidate,) = models.candidates(1)
    assert models.name == candidate.llm == "unconfigured"
    with pytest.raises(ProviderUnconfigured):
        await anext(candidate.provider.stream(ModelRequest(candidate.model, (user("hi"),))))


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_each_dialect_has_its_adapter(endpoint, ending):
    models = open_models(settings("c", entry("c", dialect="anthropic", base_url=endpoint.origin + ending), entry("o")))
    assert isinstance(models.provider_of("c"), AnthropicMessages)
    assert isinstance(models.provider_of("o"), OpenAIChat)
    assert models.provider_of("c") is models.candidates(0)[0].provider, "one line for all levels"
    assert "simulated" in await models.provider_of("c").models()
    await models.close()


def test_the_scripted_model_needs_no_http_client():
    code = (
        "import sys; from pathlib import Path; from tom.config.agent import AgentSettings; from tom.llm.levels import open_models;"
        "open_models(AgentSettings(user='a', home=Path('/'))).candidates(0); print('aiohttp' in sys.modules or 'mcp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
