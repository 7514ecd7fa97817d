"""OpenAI chat completions, streamed: what most providers and local servers speak.

This is the hot path. One HTTP client per provider, made at the first call; bytes are parsed as they arrive; fragments
that arrive together are shown together.
"""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp

from tom.clock import Clock
from tom.config.agent import LlmEntry
from tom.errors import ProviderBadRequest, ProviderError
from tom.llm.assembly import Assembly
from tom.llm.chatrequest import Manner, encode_request
from tom.llm.dialects import dialect_of, is_about_order
from tom.llm.echoes import Echoes
from tom.llm.line import Line
from tom.llm.provider import ModelItem, ModelRequest
from tom.llm.reading import AnswerReader
from tom.llm.sampling import FORM, SAMPLING, fit_chat

_DROPPABLE = frozenset({*SAMPLING, *FORM, "random_seed", "reasoning_effort", "reasoning", "thinking", "tool_choice"})
"""Options without which a question is still the same question."""
_ASKED_AS = {"reasoning_effort": "thinking", "reasoning": "thinking", "random_seed": "seed"}
"""A provider's own word for an option -> Tom's."""
_UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Gemini 3 takes instead of a signature that is not known: calls of another model, or from before a restart."""


class OpenAIChat:
    """A provider that answers ``POST {base_url}/chat/completions``."""

    def __init__(self, entry: LlmEntry, clock: Clock | None = None) -> None:
        """``entry`` says where, with which key and how patiently; ``clock`` dates a Retry-After."""
        self._entry = entry
        self._dialect = dialect_of(entry.provider, entry.base_url)
        key = entry.key.reveal().strip()
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._line = Line(entry, entry.base_url.rstrip("/"), authorization, clock)
        self._echoes = Echoes()
        self._refused: dict[str, frozenset[str]] = {}
        self._strict: frozenset[str] = frozenset()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Ask once; see `tom.llm.provider.Provider.stream`. Raises `ProviderError`."""
        assembly = Assembly()
        try:
            async with self._answer_to(request) as response:
                events = AnswerReader(response.content, assembly, self._line.veil)
                while not events.ended:
                    await events.read()
                    for item in assembly.take():
                        yield item
                await events.drain()
            reply = assembly.reply(request, self._fitted(request)[1])
        except ProviderError as error:
            error.tokens = assembly.tokens
            raise
        if reply.tool_calls:
            self._remember(request.model, reply.tool_calls[0].id, assembly)
        yield reply

    async def models(self) -> tuple[str, ...]:
        """The names that ``GET {base_url}/models`` lists. Raises `ProviderError`."""
        return await self._line.models("/models")

    async def close(self) -> None:
        """Close the HTTP client and its connections."""
        await self._line.close()

    # --- the question

    @asynccontextmanager
    async def _answer_to(self, request: ModelRequest) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The response to a question; put once more when the refusal says which of its ways the model does not take."""
        async with contextlib.AsyncExitStack() as held:
            try:
                response = await held.enter_async_context(self._post(request))
            except ProviderBadRequest as error:
                if not self._learns(request, error):
                    raise
                response = await held.enter_async_context(self._post(request))
            yield response

    def _post(self, request: ModelRequest) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        dialect = self._dialect
        if request.model in self._strict:
            dialect = replace(dialect, strict_order=True)
        manner = Manner(dialect, self._entry.vision is not False, partial(self._echo, request.model))
        return self._line.answer("POST", "/chat/completions", encode_request(request, self._fitted(request)[0], manner))

    def _fitted(self, request: ModelRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The options as the model takes them, and those of the person's that it does not."""
        wished = {**self._entry.options, **request.options}
        fields, dropped = fit_chat(self._entry.provider, request.model, wished)
        for name in self._refused.get(request.model, ()):
            if fields.pop(name, None) is not None:
                dropped += (_ASKED_AS.get(name, name),)
        return fields, dropped

    def _learns(self, request: ModelRequest, error: ProviderBadRequest) -> bool:
        """Whether the refusal teaches how to put the question instead."""
        model, parameter = request.model, error.details.get("parameter")
        known = self._refused.get(model, frozenset())
        if isinstance(parameter, str) and parameter in _DROPPABLE - known and parameter in self._fitted(request)[0]:
            self._refused[model] = known | {parameter}
            return True
        if is_about_order(error.message) and model not in self._strict and not self._dialect.strict_order:
            self._strict |= {model}
            return True
        return False

    # --- what is wanted back

    def _echo(self, model: str, call_id: str) -> Any:
        echo = self._echoes.of(model, call_id)
        if echo is None and self._dialect.echoes_signatures and "gemini-3" in model:
            return _UNSIGNED
        return echo

    def _remember(self, model: str, call_id: str, assembly: Assembly) -> None:
        if self._dialect.echoes_thinking and assembly.thinking:
            self._echoes.keep(model, call_id, assembly.thinking)
        elif self._dialect.echoes_signatures and assembly.echo:
            self._echoes.keep(model, call_id, assembly.echo)
