"""Every provider does what the seam says."""

from functools import partial

import pytest

from tom.config.providers import KNOWN
from tom.conversation.message import user
from tom.errors import ProviderUnconfigured
from tom.llm.provider import ModelRequest
from tom.llm.scripted import ScriptedModel
from tom.llm.unconfigured import Unconfigured
from tom.testing.llm_contract import ParallelContract, ProviderContract, obedient


class TestScriptedModel(ProviderContract):
    model = "scripted"

    @pytest.fixture
    def provider(self):
        return ScriptedModel()


ROWS = {name: {"provider": name, "dialect": dialect} for name, dialect in {
    "openai": "openai", "groq": "openai", "openrouter": "openai", "anthropic": "anthropic", "gemini": "openai",
    "mistral": "openai", "deepseek": "openai", "ollama": "openai", "compatible": "openai",
}.items()}  # fmt: skip


def test_every_provider_of_the_table_has_a_row():
    assert ROWS.keys() == {*KNOWN, "compatible"}


@pytest.mark.parametrize("plain", [False, True], ids=["streamed", "whole"])
@pytest.mark.parametrize("row", ROWS)
class TestEachProvider(ParallelContract):
    """Streamed, and a whole answer where a stream was asked for."""

    @pytest.fixture
    def provider(self, endpoint, connect, row, plain):
        endpoint.otherwise(partial(obedient, plain=plain))
        return connect(**ROWS[row])


@pytest.mark.anyio
async def test_unconfigured_says_what_to_set():
    provider = Unconfigured()
    with pytest.raises(ProviderUnconfigured) as caught:
        await anext(provider.stream(ModelRequest("any", (user("hi"),))))
    assert caught.value.message == (
        "No chat providers are configured. Set OPENROUTER_KEY or another provider credential before sending chat requests."
    )
    assert (caught.value.code, caught.value.http_status, caught.value.may_retry) == ("provider_error", 502, False)
    with pytest.raises(ProviderUnconfigured):
        await provider.models()
    await provider.close()
