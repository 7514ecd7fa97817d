"""A simulated endpoint and a provider that talks to it."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tom.config.agent import LlmEntry
from tom.config.secret import Secret
from tom.llm.levels import open_provider
from tom.llm.provider import Provider
from tom.testing.simulated_llm import SimulatedLLM

KEY = "sk-canary-9f8e7d6c5b4a"


@pytest.fixture
def endpoint() -> Iterator[SimulatedLLM]:
    with SimulatedLLM() as simulated:
        yield simulated


@pytest.fixture
def dialect() -> str:
    """What `connect` speaks unless it is told otherwise; a test may be parametrized with it."""
    return "openai"


@pytest.fixture
async def connect(endpoint: SimulatedLLM, dialect: str) -> AsyncIterator[Callable[..., Provider]]:
    """``connect(**fields)``: a provider for the endpoint, its entry changed by ``fields``; closed at the end."""
    opened: list[Provider] = []

    def make(clock=None, **fields) -> Provider:
        entry = {
            "name": "housellm",
            "provider": "compatible",
            "dialect": dialect,
            "base_url": endpoint.url,
            "key": Secret(KEY),
            "models": ("simulated",) * 3,
            "timeout": 5.0,
            "connect_timeout": 5.0,
        }
        opened.append(open_provider(LlmEntry(**(entry | fields)), clock))
        return opened[-1]

    yield make
    for provider in opened:
        await provider.close()


@pytest.fixture
def provider(connect) -> Provider:
    return connect()
