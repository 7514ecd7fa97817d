"""A provider whose requests and answers are written down, for whoever looks for a fault: `TOM_DEBUG_LLM`.

One file for each request, readable by its owner only, without what looks like a key; gone after seven days.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import msgspec

from tom import ids
from tom.clock import Clock, timestamp
from tom.errors import ProviderError
from tom.llm.provider import ModelItem, ModelRequest, Provider, Reply
from tom.telemetry import logs
from tom.telemetry.redaction import MASK, redact, telling

log = logs.get("llm")

DIRECTORY = "debug"
KEPT_SECONDS = 7 * 86_400.0
LONGEST = 100_000
"""Characters of one text; a picture has more."""


class Watched:
    """`Provider` that asks another one and writes down what passes."""

    def __init__(self, provider: Provider, llm: str, home: Path, clock: Clock) -> None:
        """``llm`` names the provider; the files are below ``home``."""
        self._provider = provider
        self._llm = llm
        self._directory = home / DIRECTORY
        self._clock = clock

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelItem]:
        """Ask once; see `Provider`."""
        asked_at = timestamp(self._clock.now())
        name = f"{asked_at.replace(':', '')}-{ids.ulid()}.json"
        told = {"llm": self._llm, "asked_at": asked_at, "request": request}
        await self._write(name, told)
        outcome: dict[str, Any] = {"ended": "by whoever asked"}
        try:
            async with aclosing(self._provider.stream(request)) as items:
                async for item in items:
                    if isinstance(item, Reply):
                        outcome = {"answer": item}
                    yield item
        except ProviderError as error:
            outcome = {"error": {"code": error.code, "message": error.message}}
            raise
        finally:
            await asyncio.shield(self._write(name, {**told, "ended_at": timestamp(self._clock.now()), **outcome}))

    async def models(self) -> tuple[str, ...]:
        """The names of the models that can be asked."""
        return await self._provider.models()

    async def close(self) -> None:
        """Release connections."""
        await self._provider.close()

    async def _write(self, name: str, document: Mapping[str, Any]) -> None:
        try:
            await asyncio.to_thread(self._put, name, document)
        except OSError as error:
            log.warning("⚠️ A request could not be written down", event="debug_not_written", reason=str(error.strerror))

    def _put(self, name: str, document: Mapping[str, Any]) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        plain = _bared(msgspec.to_builtins(document, enc_hook=str))
        descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(plain, file, ensure_ascii=False, indent=1)
        forget(self._directory.parent, self._clock)


def forget(home: Path, clock: Clock) -> None:
    """Remove what was written down more than seven days ago."""
    oldest = clock.now().timestamp() - KEPT_SECONDS
    for path in (home / DIRECTORY).glob("*.json"):
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
        except FileNotFoundError:
            continue


def _bared(value: Any) -> Any:
    """The same without what looks like a key, and with long texts cut."""
    if isinstance(value, str):
        text = redact(value[:LONGEST])
        return text if len(value) <= LONGEST else f"{text}…(+{len(value) - LONGEST})"
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {key: MASK if telling(key) and isinstance(item, str) else _bared(item) for key, item in named.items()}
    if isinstance(value, list | tuple):
        return [_bared(item) for item in cast("list[Any]", value)]
    return value
