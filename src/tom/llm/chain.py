"""Who is asked next when an attempt fails: the same model again, another LLM's, or nobody.

Pure but for its dice; it waits for nothing and records nothing. Used for turns (`agent/asking.py`) and for asides.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tom.conversation.message import Message
from tom.conversation.tool import ToolDefinition
from tom.conversation.usage import Usage
from tom.errors import ProviderBadRequest, ProviderDeclined, ProviderEmpty, ProviderError, ProviderUnconfigured
from tom.llm.counting import estimate_usage
from tom.llm.levels import Candidate, Models
from tom.llm.prices import priced
from tom.llm.provider import ModelRequest

FIRST_WAIT = 0.3
"""Seconds before the first repetition."""
JITTER = 0.2
"""Part of a wait by which it is longer or shorter, so that many do not come back at once."""
LONGEST_RETRY_AFTER = 30.0
"""Seconds that a provider may ask for; one that wants more is not asked again."""


@dataclass(frozen=True, slots=True)
class Next:
    """What follows a failed attempt: ``wait`` seconds, then ``candidate``; ``fell_from`` is the LLM given up, or empty."""

    candidate: Candidate
    wait: float
    fell_from: str = ""


class Chain:
    """The candidates of one question, from the best to the last."""

    def __init__(
        self, candidates: tuple[Candidate, ...], models: Models, *, dice: Callable[[], float] = random.random
    ) -> None:
        """Begin with the best of ``candidates`` as ``models`` know them now; ``dice`` gives numbers from 0 to 1."""
        self.current, *rest = models.in_order(candidates)
        wanted = next((candidate.llm for candidate in candidates if candidate.wanted), self.current.llm)
        self.passed_over = "" if wanted == self.current.llm else wanted
        """The LLM that was to be asked first and is left out just now; empty: none."""
        self._rest = rest
        self._models = models
        self._dice = dice
        self._retries = 0
        models.asking(self.current.llm)

    def ended_well(self) -> None:
        """The current candidate has answered."""
        self._models.succeeded(self.current.llm)

    def after(self, error: ProviderError) -> Next | None:
        """What follows the failure of the current candidate; None when there is nothing left to try."""
        self._models.failed(self.current.llm, error)
        if isinstance(error, ProviderBadRequest | ProviderUnconfigured):
            return None
        wait = self._wait_before(error)
        if wait is not None:
            self._retries += 1
            return Next(self.current, wait)
        if isinstance(error, ProviderDeclined) or not self._rest:
            return None
        given_up, self.current = self.current, self._rest.pop(0)
        self._retries = 0
        self._models.asking(self.current.llm)
        return Next(self.current, 0.0, given_up.llm)

    def _wait_before(self, error: ProviderError) -> float | None:
        """Seconds until the same model is asked again; None when it is not."""
        once = isinstance(error, ProviderEmpty | ProviderDeclined)
        most = min(1, self.current.max_retries) if once else self.current.max_retries
        if not error.may_retry or self._retries >= most:
            return None
        if self._rest and not self._models.is_closed(self.current.llm):
            return None
        asked = error.details.get("retry_after")
        if isinstance(asked, int | float):
            return float(asked) if asked <= LONGEST_RETRY_AFTER else None
        jitter = 1 + JITTER * (2 * self._dice() - 1)
        return FIRST_WAIT * self.current.backoff_factor**self._retries * jitter


def request_for(
    candidate: Candidate,
    messages: tuple[Message, ...],
    tools: tuple[ToolDefinition, ...],
    options: Mapping[str, Any],
) -> ModelRequest:
    """The question as it is put to ``candidate``: its options, and over them ``options``; never a longer reply."""
    wished = {**candidate.options, **options}
    if candidate.max_tokens and "max_tokens" in options:
        wished["max_tokens"] = min(options["max_tokens"], candidate.max_tokens)
    return ModelRequest(candidate.model, messages, tools, wished)


def spent_on(candidate: Candidate, request: ModelRequest, error: ProviderError, written: str) -> Usage | None:
    """What a failed attempt used, with its cost: as the provider said, else an estimate where it had ``written``.

    None for a provider that neither wrote nor said anything: a call that was refused costs nothing.
    """
    if error.tokens:
        return priced(candidate.price, Usage(*error.tokens))
    return used_until(candidate, request, written) if written else None


def used_until(candidate: Candidate, request: ModelRequest, written: str) -> Usage:
    """What a call has used that was given up when it had ``written`` so much: an estimate, with its cost."""
    return priced(candidate.price, estimate_usage(request, written))
