"""The provider of an installation where a model was wanted and none is usable."""

from collections.abc import AsyncGenerator

from tom.errors import ProviderUnconfigured
from tom.llm.provider import ModelItem, ModelRequest


class Unconfigured:
    """Answers every question with what the operator has to set."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Raises `ProviderUnconfigured`, whatever is asked."""
        _ = request
        raise ProviderUnconfigured
        yield  # makes this a generator

    async def models(self) -> tuple[str, ...]:
        """Raises `ProviderUnconfigured`."""
        raise ProviderUnconfigured

    async def close(self) -> None:
        """Nothing to release."""
