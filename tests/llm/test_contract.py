"""Every provider does what the seam says."""

from functools import partial

import pytest

from tom.conversation.message import user
from tom.errors import ProviderUnconfigured
from tom.llm.provider import ModelRequest
from tom.llm.scripted import ScriptedModel
from tom.llm.unconfigured import Unconfigured
from tom.testing.llm_contract import ProviderContract, obedient


class TestScriptedModel(ProviderContract):
    model = "scripted"

    @pytest.fixture
    def provider(self):
        return ScriptedModel()


class TestStreamedChat(ProviderContract):
    @pytest.fixture
    def provider(self, endpoint, connect):
        endpoint.otherwise(obedient)
        return connect()


class TestWholeAnswerWhereAStreamWasAskedFor(ProviderContract):
    @pytest.fixture
    def provider(self, endpoint, connect):
        endpoint.otherwise(partial(obedient, plain=True))
        return connect()


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
