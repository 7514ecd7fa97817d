"""Anthropic messages, streamed."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from tom.clock import Clock
from tom.config.agent import LlmEntry
from tom.errors import ProviderError
from tom.llm.blockassembly import BlockAssembly
from tom.llm.blockrequest import LONGEST_REPLY, encode_messages, forces_tool, may_think
from tom.llm.echoes import Echoes
from tom.llm.line import Line
from tom.llm.provider import ModelItem, ModelRequest
from tom.llm.reading import AnswerReader
from tom.llm.sampling import fit_messages

VERSION = "2023-06-01"
"""The revision of the dialect."""


class AnthropicMessages:
    """A provider that answers ``POST {base_url}/v1/messages``; a ``base_url`` may end with ``/v1`` itself."""

    def __init__(self, entry: LlmEntry, clock: Clock | None = None) -> None:
        """``entry`` says where, with which key and how patiently; ``clock`` dates a Retry-After."""
        self._entry = entry
        key = entry.key.reveal().strip()
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        self._line = Line(entry, entry.base_url.rstrip("/").removesuffix("/v1"), headers, clock)
        self._echoes = Echoes()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Ask once; see `tom.llm.provider.Provider.stream`. Raises `ProviderError`."""
        echo = partial(self._echoes.of, request.model)
        fields, dropped = self._fitted(request)
        body = encode_messages(request, fields, vision=self._entry.vision is not False, echo=echo)
        assembly = BlockAssembly()
        try:
            async with self._line.answer("POST", "/v1/messages", body) as response:
                events = AnswerReader(response.content, assembly, self._line.veil)
                while not events.ended:
                    await events.read()
                    for item in assembly.take():
                        yield item
                await events.drain()
            reply = assembly.reply(request, dropped)
        except ProviderError as error:
            error.tokens = assembly.tokens
            raise
        if reply.tool_calls and (blocks := assembly.echo):
            self._echoes.keep(request.model, reply.tool_calls[0].id, blocks)
        yield reply

    async def models(self) -> tuple[str, ...]:
        """The names that ``GET {base_url}/v1/models`` lists. Raises `ProviderError`."""
        return await self._line.models("/v1/models?limit=1000")

    async def close(self) -> None:
        """Close the HTTP client and its connections."""
        await self._line.close()

    def _fitted(self, request: ModelRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
        wished = {"max_tokens": LONGEST_REPLY, **self._entry.options, **request.options}
        echo = partial(self._echoes.of, request.model)
        thinks = may_think(request.messages, echo) and not forces_tool(wished, request.tools)
        return fit_messages(request.model, wished, may_think=thinks)
